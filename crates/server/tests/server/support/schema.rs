//! The schema as each engine tells it, in one shape, and the rules that it must keep.

use std::collections::{BTreeMap, BTreeSet};

/// What a migrated database consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub tables: BTreeMap<String, Table>,
    pub triggers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Name to type (of PostgreSQL) and whether NULL is refused.
    pub columns: BTreeMap<String, (String, bool)>,
    pub primary_key: Vec<String>,
    pub unique: BTreeSet<Vec<String>>,
    pub foreign: BTreeSet<Foreign>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    pub columns: Vec<String>,
    pub table: String,
    pub target: Vec<String>,
}

const HISTORY: &str = "refinery_schema_history";

pub fn of_sqlite(path: &std::path::Path) -> Schema {
    let db = rusqlite::Connection::open(path).unwrap();
    let texts = |sql: &str, of: &str| -> Vec<Vec<String>> {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        let parameters: &[&dyn rusqlite::ToSql] = if sql.contains("?1") { &[&of] } else { &[] };
        let read = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default)).collect()
        };
        statement.query_map(parameters, read).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut schema = Schema::default();
    for name in texts("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", "").concat() {
        if name == HISTORY {
            continue;
        }
        let mut table = Table::default();
        let mut key = BTreeMap::new();
        for column in texts("SELECT name, type, CAST(\"notnull\" AS TEXT), CAST(pk AS TEXT) FROM pragma_table_info(?1)", &name) {
            let kind = match column[1].as_str() {
                "INTEGER" => "BIGINT",
                "BLOB" => "BYTEA",
                other => other,
            };
            let place: u32 = column[3].parse().unwrap();
            table.columns.insert(column[0].clone(), (kind.to_owned(), column[2] == "1" || place > 0));
            if place > 0 {
                key.insert(place, column[0].clone());
            }
        }
        table.primary_key = key.into_values().collect();
        for index in texts("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND origin <> 'pk'", &name).concat() {
            table.unique.insert(texts("SELECT name FROM pragma_index_info(?1) ORDER BY seqno", &index).concat());
        }
        let mut foreign = BTreeMap::<String, Foreign>::new();
        for row in texts("SELECT CAST(id AS TEXT), \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq", &name) {
            let empty = Foreign { columns: vec![], table: row[1].clone(), target: vec![] };
            let entry = foreign.entry(row[0].clone()).or_insert(empty);
            entry.columns.push(row[2].clone());
            entry.target.push(row[3].clone());
        }
        table.foreign = foreign.into_values().collect();
        schema.tables.insert(name, table);
    }
    schema.triggers = texts("SELECT name FROM sqlite_master WHERE type = 'trigger'", "").concat();
    schema
}

pub async fn of_postgres(db: &tokio_postgres::Client) -> Schema {
    let mut schema = Schema::default();
    let sql = "SELECT table_name::text, column_name::text, upper(data_type), is_nullable = 'NO'
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'witness_row'
          AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition)";
    for row in db.query(sql, &[]).await.unwrap() {
        let (table, column, kind, not_null) = (row.get::<_, String>(0), row.get(1), row.get(2), row.get(3));
        if table != HISTORY {
            schema.tables.entry(table).or_default().columns.insert(column, (kind, not_null));
        }
    }
    // Unique indexes that no constraint stands for count as well.
    let sql = "SELECT t.relname::text, i.indisprimary,
            array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (n, o) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.n ORDER BY o)
        FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = 'public' AND i.indisunique";
    for row in db.query(sql, &[]).await.unwrap() {
        let Some(table) = schema.tables.get_mut(row.get::<_, &str>(0)) else { continue };
        let columns: Vec<String> = row.get(2);
        if row.get(1) {
            table.primary_key = columns;
        } else {
            table.unique.insert(columns);
        }
    }
    let sql = "SELECT t.relname::text, f.relname::text,
            array(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (n, o) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.n ORDER BY o),
            array(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k (n, o) JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k.n ORDER BY o)
        FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid WHERE c.contype = 'f' AND c.conparentid = 0";
    for row in db.query(sql, &[]).await.unwrap() {
        if let Some(table) = schema.tables.get_mut(row.get::<_, &str>(0)) {
            table.foreign.insert(Foreign { table: row.get(1), columns: row.get(2), target: row.get(3) });
        }
    }
    let sql = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgname <> 'witness'";
    schema.triggers = db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    schema
}

/// Table to the column that its family is known by, or `reference`.
pub type Families = BTreeMap<String, String>;

pub fn families() -> Families {
    toml::from_str(include_str!("../../../src/db/families.toml")).unwrap()
}

/// Everything in which the schema breaks the rule of families, in words.
pub fn broken_rules(schema: &Schema, families: &Families) -> Vec<String> {
    let mut broken: Vec<String> = schema.triggers.iter().map(|name| format!("trigger {name}")).collect();
    for name in families.keys().filter(|name| !schema.tables.contains_key(*name)) {
        broken.push(format!("{name} is in families.toml and not in the schema"));
    }
    for (name, table) in &schema.tables {
        for (column, (kind, _)) in &table.columns {
            if !["BIGINT", "TEXT", "BYTEA"].contains(&kind.as_str()) {
                broken.push(format!("{name}.{column} is {kind}"));
            }
        }
        if table.primary_key.is_empty() {
            broken.push(format!("{name} has no primary key"));
        }
        let Some(key) = families.get(name) else {
            broken.push(format!("{name} is not in families.toml"));
            continue;
        };
        if key == "reference" {
            for foreign in table.foreign.iter().filter(|foreign| families.get(&foreign.table).is_none_or(|key| key != "reference")) {
                broken.push(format!("{name} is a reference table and points to {}", foreign.table));
            }
            continue;
        }
        if table.primary_key.first() != Some(key) {
            broken.push(format!("the primary key of {name} does not begin with {key}"));
        }
        for unique in table.unique.iter().filter(|columns| !columns.contains(key)) {
            broken.push(format!("{name}: unique {unique:?} does not contain {key}"));
        }
        for foreign in &table.foreign {
            let target = families.get(&foreign.table).map(String::as_str);
            let same_family = foreign.columns.iter().zip(&foreign.target).any(|(from, to)| from == key && Some(to.as_str()) == target);
            if target != Some("reference") && !same_family {
                broken.push(format!("{name}: foreign key {:?} leaves the family to {}", foreign.columns, foreign.table));
            }
        }
    }
    broken
}
