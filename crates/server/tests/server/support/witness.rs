//! Watches, inside PostgreSQL, which families each transaction really writes: what a statement's text promises, its rows must keep.
//!
//! A trigger on each family table notes transaction, table and key. Since each transaction is committed alone while it is watched, one that
//! wrote two families shows, whatever path led there. `COUNTERFOIL_TEST_PARTITIONS` makes every test on PostgreSQL be watched.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

/// Transactions that write rows of many families on purpose: the event in the audit log that names them, the table whose new rows do not count,
/// and why that is no harm. On many machines each is a two-phase commit; they are the operator's, rare, and repeated as a whole.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("media.imported", "medium", "a page of media that nobody can have touched yet enters with the batch that lists it, or not at all"),
    ("cards.issued", "holder", "a page of cards that nobody can have registered yet becomes known together, or not at all"),
];

const NOTES: &str = "CREATE TABLE witness_row (tx TEXT, verb TEXT, relation TEXT, family TEXT, event TEXT);
    CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO witness_row VALUES (pg_current_xact_id()::text, TG_OP, TG_ARGV[0], to_jsonb(COALESCE(NEW, OLD)) ->> TG_ARGV[1],
        CASE WHEN TG_ARGV[0] = 'audit' THEN to_jsonb(NEW) ->> 'event' END);
      RETURN NULL; END $$;";

/// Whether tests are watched that do not ask for it.
pub fn is_everywhere() -> bool {
    std::env::var_os("COUNTERFOIL_TEST_PARTITIONS").is_some()
}

/// From now on every row that is written is noted.
pub async fn install(client: &Client) {
    client.batch_execute(NOTES).await.unwrap();
    for (table, key) in super::schema::families().into_iter().filter(|(_, key)| key != "reference") {
        let sql = format!(
            "CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION witness('{table}', '{key}')"
        );
        client.batch_execute(&sql).await.unwrap();
    }
}

/// Transactions that were noted, and what each of those wrote that wrote more than one family and is no exception.
pub async fn seen(client: &Client) -> (usize, Vec<String>) {
    // A test may have made the database anew.
    if client.query_one("SELECT to_regclass('witness_row') IS NULL", &[]).await.unwrap().get(0) {
        return (0, vec![]);
    }
    let mut transactions = BTreeMap::<String, Vec<[String; 4]>>::new();
    for row in client.query("SELECT tx, verb, relation, family, coalesce(event, '') FROM witness_row", &[]).await.unwrap() {
        transactions.entry(row.get(0)).or_default().push([row.get(1), row.get(2), row.get(3), row.get(4)]);
    }
    let broken = transactions.values().filter_map(|rows| {
        let excepted =
            |relation: &str| EXCEPTIONS.iter().any(|(event, table, _)| *table == relation && rows.iter().any(|row| row[3] == *event));
        let counted: Vec<_> = rows.iter().filter(|[verb, relation, ..]| !(verb == "INSERT" && excepted(relation))).collect();
        let families: BTreeSet<_> = counted.iter().map(|[_, _, family, _]| family).collect();
        let wrote: BTreeSet<String> =
            counted.iter().map(|[verb, relation, family, event]| format!("{verb} {relation} of {family} {event}")).collect();
        (families.len() > 1).then(|| wrote.into_iter().collect::<Vec<_>>().join(", "))
    });
    (transactions.len(), broken.collect())
}

/// What was seen so far does not count: rows were put there by hand, or copied from elsewhere.
pub async fn forget(client: &Client) {
    if is_everywhere() {
        client.batch_execute("TRUNCATE witness_row").await.unwrap();
    }
}

/// Whether a server ran: tests of the facade by itself write what they like.
pub async fn of_an_authority(client: &Client) -> bool {
    let sql = "SELECT to_regclass('key_encryption_key') IS NOT NULL";
    if !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
        return false;
    }
    client.query_one("SELECT EXISTS (SELECT 1 FROM key_encryption_key)", &[]).await.unwrap().get(0)
}
