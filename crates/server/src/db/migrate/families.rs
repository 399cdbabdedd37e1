//! Which table belongs to which families: `families.toml`, as the commands read it that place tables on machines.

use std::collections::BTreeMap;

use super::super::error::DbError;

/// What `families.toml` says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::db) enum Placement {
    /// Small, read by every family: a copy on every node.
    Reference,
    /// Its rows lie where the hash of this column says.
    Family(String),
}

/// Every table with its placement.
pub(in crate::db) fn placements() -> BTreeMap<String, Placement> {
    let table: BTreeMap<String, String> =
        toml::from_str(include_str!("../families.toml")).expect("families.toml is part of the program, and a test reads it");
    let place = |column: String| if column == "reference" { Placement::Reference } else { Placement::Family(column) };
    table.into_iter().map(|(name, column)| (name, place(column))).collect()
}

/// Tables in an order in which each comes after those that its foreign keys point to.
///
/// # Errors
/// `Migration`, where they point in a circle.
pub(in crate::db) fn in_order(tables: &[String], points_to: &[(String, String)]) -> Result<Vec<String>, DbError> {
    let mut waiting: Vec<&String> = tables.iter().collect();
    let mut ordered: Vec<String> = Vec::with_capacity(tables.len());
    while !waiting.is_empty() {
        let (ready, later): (Vec<_>, Vec<_>) = waiting
            .iter()
            .partition(|table| points_to.iter().filter(|(from, to)| from == **table && to != from).all(|(_, to)| ordered.contains(to)));
        if ready.is_empty() {
            return Err(DbError::Migration(format!("the foreign keys of {later:?} point in a circle")));
        }
        ordered.extend(ready.into_iter().cloned());
        waiting = later;
    }
    Ok(ordered)
}

/// The foreign keys of a PostgreSQL database: from which table to which.
pub(in crate::db) async fn foreign_keys(client: &tokio_postgres::Client) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    // Constraints that a partition inherits have a parent, and are its table's.
    let sql = "SELECT DISTINCT t.relname::text, f.relname::text FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
        JOIN pg_class f ON f.oid = c.confrelid JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE c.contype = 'f' AND c.conparentid = 0 AND n.nspname = current_schema()";
    Ok(client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_what_they_point_to() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let points = |pairs: &[(&str, &str)]| pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect::<Vec<_>>();
        let tables = names(&["a", "b", "c"]);
        assert_eq!(in_order(&tables, &points(&[("a", "b"), ("b", "c"), ("c", "c")])).unwrap(), names(&["c", "b", "a"]));
        assert!(in_order(&tables, &points(&[("a", "b"), ("b", "a")])).is_err());
    }
}
