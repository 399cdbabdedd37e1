//! Places every table on a Citus cluster: reference tables on all nodes, the rows of a family together on one.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::super::error::DbError;
use super::super::url::Target as Address;
use super::super::{Db, postgres};
use super::cannot;
use super::families::{Placement, foreign_keys, in_order, placements};

/// Citus versions whose functions these are, and which were read for this.
const KNOWN: std::ops::RangeInclusive<u32> = 11..=14;

/// What was declared, or is to be.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Distribution {
    /// Version of the extension; none where it is missing, which only a dry run survives.
    pub citus: Option<String>,
    /// The statements, in order.
    pub statements: Vec<String>,
    /// Tables that were placed before.
    pub already: Vec<String>,
}

/// Declares what is not declared yet. Each statement stands by itself, so that a run that was cut short is gone on with by the next.
pub(in crate::db) async fn distribute(db: &Db, dry_run: bool) -> Result<Distribution, DbError> {
    let Address::Postgres(target) = db.target() else {
        return Err(DbError::Migration("only PostgreSQL can be distributed".to_owned()));
    };
    let client = postgres::connect(&target.primary(), db.settings()).await?;
    let extension = client.query_opt("SELECT extversion FROM pg_extension WHERE extname = 'citus'", &[]).await.map_err(cannot)?;
    let citus: Option<String> = extension.map(|row| row.get(0));
    match &citus {
        None if !dry_run => return Err(DbError::Migration("the extension citus is not in this database".to_owned())),
        Some(version) => known(version)?,
        None => {}
    }
    let placed = if citus.is_some() { placed(&client).await? } else { BTreeMap::new() };
    let order = order(&client).await?;
    let mut statements = declarations(&order, &placed)?;
    if !dry_run {
        // Nothing here is quick where there are rows.
        client.batch_execute("SET statement_timeout = 0").await.map_err(cannot)?;
        run(&client, &statements).await?;
    }
    let leftovers = leftovers(&client, &order).await?;
    if !dry_run {
        run(&client, &leftovers).await?;
    }
    statements.extend(leftovers);
    Ok(Distribution { citus, statements, already: placed.into_keys().collect() })
}

fn known(version: &str) -> Result<(), DbError> {
    let major: Option<u32> = version.split(['.', '-']).next().and_then(|major| major.parse().ok());
    match major {
        Some(major) if KNOWN.contains(&major) => Ok(()),
        _ => Err(DbError::Migration(format!(
            "Citus {version} is not one of the versions {} to {} that this was made for",
            KNOWN.start(),
            KNOWN.end()
        ))),
    }
}

/// What Citus knows of our tables already. A table that it keeps on the coordinator alone is not placed yet.
async fn placed(client: &Client) -> Result<BTreeMap<String, Placement>, DbError> {
    let sql = "SELECT c.relname::text, p.repmodel = 't', column_to_column_name(p.logicalrelid, p.partkey)
        FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = current_schema() AND (p.partkey IS NOT NULL OR p.repmodel = 't')";
    let rows = client.query(sql, &[]).await.map_err(cannot)?;
    let place = |column: Option<String>| column.map_or(Placement::Reference, Placement::Family);
    Ok(rows.iter().map(|row| (row.get(0), place(row.get(2)))).collect())
}

/// Reference tables first, since any table may point to them; each table after those that it points to.
async fn order(client: &Client) -> Result<Vec<(String, Placement)>, DbError> {
    let known = placements();
    let points_to: Vec<_> = foreign_keys(client).await.map_err(cannot)?;
    let points_to: Vec<_> = points_to.into_iter().filter(|(from, to)| known.contains_key(from) && known.contains_key(to)).collect();
    let names: Vec<String> = known.keys().cloned().collect();
    let (references, families): (Vec<_>, Vec<_>) = in_order(&names, &points_to)?
        .into_iter()
        .filter_map(|name| known.get(&name).cloned().map(|placement| (name, placement)))
        .partition(|(_, placement)| *placement == Placement::Reference);
    Ok([references, families].concat())
}

fn declarations(order: &[(String, Placement)], placed: &BTreeMap<String, Placement>) -> Result<Vec<String>, DbError> {
    // A local table that points to a reference table would be made Citus' own on the way, and its rows be copied three times.
    let mut statements = vec!["SET citus.enable_local_reference_table_foreign_keys = off".to_owned()];
    let is_placed_family = |(name, _): &&(String, Placement)| matches!(placed.get(name), Some(Placement::Family(_)));
    let mut together: Option<&str> = order.iter().find(is_placed_family).map(|(name, _)| name.as_str());
    for (name, wanted) in order {
        match (placed.get(name), wanted) {
            (Some(found), wanted) if found == wanted => {}
            (Some(found), _) => return Err(DbError::Migration(format!("{name} is placed as {found:?}, and must be {wanted:?}"))),
            (None, Placement::Reference) => statements.push(format!("SELECT create_reference_table('{name}')")),
            (None, Placement::Family(column)) => {
                let with = together.unwrap_or("none");
                statements.push(format!("SELECT create_distributed_table('{name}', '{column}', colocate_with => '{with}')"));
                together.get_or_insert(name);
            }
        }
    }
    if statements.len() == 1 {
        statements.clear();
    }
    Ok(statements)
}

/// Rows that a table had before it was placed are copied to the nodes, and stay where they were, unseen, until they are cleared away.
async fn leftovers(client: &Client, order: &[(String, Placement)]) -> Result<Vec<String>, DbError> {
    let mut statements = Vec::new();
    // Children first: what is pointed to cannot be cleared before.
    for (name, _) in order.iter().rev() {
        let sql = "SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint FROM pg_partition_tree($1::text::regclass)";
        let bytes: i64 = client.query_one(sql, &[name]).await.map_err(cannot)?.get(0);
        if bytes > 0 {
            statements.push(format!("SELECT truncate_local_data_after_distributing_table('{name}')"));
        }
    }
    Ok(statements)
}

async fn run(client: &Client, statements: &[String]) -> Result<(), DbError> {
    for statement in statements {
        tracing::info!(%statement, "distribute");
        client.batch_execute(statement).await.map_err(|error| match cannot(error) {
            DbError::Migration(message) => DbError::Migration(format!("{statement}: {message}")),
            other => other,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str) -> (String, Placement) {
        (name.to_owned(), Placement::Family("id".to_owned()))
    }

    #[test]
    fn what_is_placed_is_left_alone_and_the_rest_joins_it() {
        let order = [("r".to_owned(), Placement::Reference), family("a"), family("b")];
        let all = declarations(&order, &BTreeMap::new()).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[2], "SELECT create_distributed_table('a', 'id', colocate_with => 'none')");
        assert_eq!(all[3], "SELECT create_distributed_table('b', 'id', colocate_with => 'a')");
        let half = BTreeMap::from([("r".to_owned(), Placement::Reference), family("b")]);
        assert_eq!(declarations(&order, &half).unwrap()[1..], ["SELECT create_distributed_table('a', 'id', colocate_with => 'b')"]);
        let done = BTreeMap::from([("r".to_owned(), Placement::Reference), family("a"), family("b")]);
        assert!(declarations(&order, &done).unwrap().is_empty());
        assert!(declarations(&order, &BTreeMap::from([("a".to_owned(), Placement::Reference)])).is_err());
    }

    #[test]
    fn only_versions_that_were_read_are_used() {
        for (version, good) in [("11.0-1", true), ("13.0-1", true), ("14.0", true), ("10.2-5", false), ("15.0-1", false), ("", false)] {
            assert_eq!(known(version).is_ok(), good, "{version}");
        }
    }
}
