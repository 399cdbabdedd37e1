//! Cuts every family table into partitions by the hash of its key, with all keys, indexes and foreign keys as they were.

use tokio_postgres::Client;

use super::super::error::DbError;
use super::super::url::Target as Address;
use super::super::{Db, postgres};
use super::cannot;
use super::families::{Placement, placements};
use super::rows::quoted;

/// What must be on the new table as on the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    /// Primary key, unique constraints and checks: name and definition.
    constraints: Vec<(String, String)>,
    /// Foreign keys: name and definition.
    foreign: Vec<(String, String)>,
    /// Definitions of the indexes that no constraint stands for.
    indexes: Vec<String>,
    /// Name, type, collation and whether NULL is refused, in order.
    columns: Vec<String>,
}

/// Partitions the family tables that are not partitioned yet, all or none; says which.
pub(in crate::db) async fn partition(db: &Db, partitions: u32) -> Result<Vec<String>, DbError> {
    let Address::Postgres(target) = db.target() else {
        return Err(DbError::Migration("only PostgreSQL has partitions".to_owned()));
    };
    let mut client = postgres::connect(&target.primary(), db.settings()).await?;
    let mut tables = Vec::new();
    for (name, placement) in placements() {
        let Placement::Family(key) = placement else { continue };
        let sql = "SELECT relkind::text = 'r' FROM pg_class WHERE oid = $1::text::regclass";
        if !client.query_one(sql, &[&name]).await.map_err(cannot)?.get::<_, bool>(0) {
            continue;
        }
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&name));
        if client.query_one(&sql, &[]).await.map_err(cannot)?.get(0) {
            return Err(DbError::Migration(format!("{name} has rows: only an empty table can be partitioned")));
        }
        tables.push((name, key));
    }
    let transaction = client.transaction().await.map_err(cannot)?;
    let mut shapes = Vec::new();
    for (name, _) in &tables {
        shapes.push(shape(transaction.client(), name).await?);
    }
    let run = async |sql: String| transaction.batch_execute(&sql).await.map_err(cannot);
    for ((name, _), shape) in tables.iter().zip(&shapes) {
        for (constraint, _) in &shape.foreign {
            run(format!("ALTER TABLE {} DROP CONSTRAINT {}", quoted(name), quoted(constraint))).await?;
        }
    }
    for ((name, key), shape) in tables.iter().zip(&shapes) {
        run(remade(name, key, shape, partitions)).await?;
    }
    for ((name, _), shape) in tables.iter().zip(&shapes) {
        for (constraint, definition) in &shape.foreign {
            run(format!("ALTER TABLE {} ADD CONSTRAINT {} {definition}", quoted(name), quoted(constraint))).await?;
        }
    }
    for ((name, _), before) in tables.iter().zip(&shapes) {
        let after = self::shape(transaction.client(), name).await?;
        if after != *before {
            return Err(DbError::Migration(format!("{name} would be {after:?}, and was {before:?}")));
        }
    }
    transaction.commit().await.map_err(cannot)?;
    Ok(tables.into_iter().map(|(name, _)| name).collect())
}

fn remade(name: &str, key: &str, shape: &Shape, partitions: u32) -> String {
    let (table, new) = (quoted(name), quoted(&format!("{name}_new")));
    let mut sql = format!("CREATE TABLE {new} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE) PARTITION BY HASH ({});\n", quoted(key));
    sql += &format!("DROP TABLE {table};\nALTER TABLE {new} RENAME TO {table};\n");
    for (constraint, definition) in &shape.constraints {
        sql += &format!("ALTER TABLE {table} ADD CONSTRAINT {} {definition};\n", quoted(constraint));
    }
    for index in &shape.indexes {
        sql += &format!("{index};\n");
    }
    for place in 0..partitions {
        let partition = quoted(&format!("{name}_p{place}"));
        sql += &format!("CREATE TABLE {partition} PARTITION OF {table} FOR VALUES WITH (MODULUS {partitions}, REMAINDER {place});\n");
    }
    sql
}

async fn shape(client: &Client, name: &str) -> Result<Shape, DbError> {
    let pairs = async |sql: &str| -> Result<Vec<(String, String)>, DbError> {
        let rows = client.query(sql, &[&name]).await.map_err(cannot)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let constraints = pairs(
        "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u', 'c') ORDER BY conname",
    )
    .await?;
    let foreign = pairs(
        "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = $1::text::regclass AND contype = 'f' AND conparentid = 0 ORDER BY conname",
    )
    .await?;
    // Of a partitioned table, the definition says that it stands for the table alone; its partitions have theirs.
    let indexes = pairs(
        "SELECT c.relname::text, replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = $1::text::regclass AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u'))
         ORDER BY c.relname",
    )
    .await?;
    let columns = pairs(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) || ' ' || a.attcollation::regcollation::text || ' ' || a.attnotnull::text
         FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .await?;
    Ok(Shape {
        constraints,
        foreign,
        indexes: indexes.into_iter().map(|(_, definition)| definition).collect(),
        columns: columns.into_iter().map(|(name, kind)| format!("{name} {kind}")).collect(),
    })
}
