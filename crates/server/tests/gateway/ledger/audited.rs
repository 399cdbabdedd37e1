//! The auditor of the books finds what it is there to find: each sentence is broken once.

use counterfoil_core::wire::UndoReason;
use counterfoil_server::clock::Rng;
use counterfoil_server::gateway::vouchers::{self, Batch};

use super::*;
use crate::support::{Engine, TestDb, db_test, on, statements};

/// Something of everything, and a month that is settled.
async fn booked(db: &TestDb) -> AccountId {
    let account = account(db, 1).await;
    for n in [1, 2, 3] {
        top_up(db, account, n, 100, NOVEMBER).await.unwrap();
    }
    for (n, price) in [(1, 60), (2, 60), (3, 30), (4, 20), (5, 10)] {
        reserve(db, account, n, price, price / 3, NOVEMBER).await.unwrap();
    }
    for n in [1, 2, 3] {
        post(db, account, n, NOVEMBER).await.unwrap();
    }
    void(db, account, 4, NOVEMBER).await.unwrap();
    undo(db, account, 3, UndoReason::Refund, NOVEMBER).await.unwrap();
    take_back(db, account, 1, NOVEMBER).await.unwrap();
    for n in [1, 2] {
        undo(db, account, n, UndoReason::Chargeback, NOVEMBER).await.unwrap();
    }
    reserve(db, account, 6, 40, 30, NOVEMBER).await.unwrap();
    post(db, account, 6, NOVEMBER).await.unwrap();
    let batch = Batch { name: "b".into(), money: Money { amount: 77, currency: eur() }, expires_at: None };
    let rng = Rng::seeded(3);
    let code = vouchers::make(db, &batch, 1, NOVEMBER, &rng).await.unwrap().remove(0);
    vouchers::redeem(db, account, &code.to_string(), NOVEMBER, &rng).await.unwrap();
    let november = ledger::Period::of(NOVEMBER);
    settle(db, &november.to_string(), Timestamp(november.end().0 + settlement::GRACE)).await.unwrap();
    clean(db).await;
    account
}

/// What is done to the rows, with triggers and constraints out of the way, and which sentence it breaks.
const PLANTED: &[(&str, &str)] = &[
    ("UPDATE posting SET cash = cash - 1 WHERE kind = 'top_up'", "the entries of a posting come to nothing"),
    // An unguarded update: two charges at once, each from what it read before.
    ("UPDATE balance SET posted = posted + 40", "a balance is what its postings come to, and is never below what is reserved of it"),
    // A reservation that is lost.
    ("UPDATE balance SET reserved = reserved - 10", "a balance is what its postings come to, and is never below what is reserved of it"),
    ("UPDATE balance SET postings = postings + 1", "a balance is what its postings come to, and is never below what is reserved of it"),
    ("DELETE FROM balance", "a balance is what its postings come to, and is never below what is reserved of it"),
    (
        "UPDATE posting SET refers_to = (SELECT r.posting_id FROM posting r WHERE r.number = 4) WHERE kind = 'void'",
        "a posting is answered at most once",
    ),
    ("UPDATE posting SET reserved = reserved + 1 WHERE kind = 'void'", "what is reserved is charged as it was reserved, or voided in full"),
    (
        "UPDATE posting SET operator = operator + 1, gateway = gateway - 1 WHERE kind = 'charge'",
        "what is reserved is charged as it was reserved, or voided in full",
    ),
    ("UPDATE posting SET operator = operator + 1 WHERE kind = 'charge'", "operator and gateway get parts of a price that come to it"),
    ("UPDATE posting SET operator = operator + 1, gateway = gateway - 1 WHERE kind = 'refund'", "a charge is undone in full"),
    ("UPDATE posting SET customer = customer + 1 WHERE kind = 'refund'", "a charge is undone in full"),
    ("DELETE FROM funding", "what is reserved is paid from lots of its account and currency that come to it"),
    ("DELETE FROM lot WHERE remaining > 0", "every top-up is a lot, and every lot is a top-up"),
    ("UPDATE lot SET amount = amount + 1", "every top-up is a lot, and every lot is a top-up"),
    ("UPDATE lot SET remaining = remaining - 1 WHERE remaining > 0", "a lot holds what was not paid from it"),
    ("UPDATE lot SET remaining = remaining - 1 WHERE remaining > 0", "the lots of an account hold what can be charged to it"),
    ("UPDATE lot SET ended_at = 1, remaining = 0", "a lot has ended exactly when the bank has taken it back, or its card was let go"),
    (
        "UPDATE posting SET cash = cash - 5, customer = customer + 5 WHERE kind = 'chargeback' AND exchange_id IS NOT NULL",
        "the bank got back what was left of its lots, and what they had paid for and was undone",
    ),
    (
        "UPDATE posting SET exchange_id = '00000000-0000-0000-0000-000000000001' WHERE kind = 'reserve'",
        "an exchange is reserved once, for one account",
    ),
    ("DELETE FROM exchange WHERE state = 'charged'", "nothing is charged without its exchange"),
    ("UPDATE exchange SET state = 'charged' WHERE state = 'undone'", "an exchange is booked as far as it has come, at its price"),
    ("UPDATE exchange SET state = 'voided' WHERE state = 'reserved'", "an exchange is booked as far as it has come, at its price"),
    ("UPDATE exchange SET operator_part = operator_part + 1", "an exchange is booked as far as it has come, at its price"),
    ("UPDATE voucher SET amount = 78", "a voucher is booked once it is taken, for what it is worth, and for nobody else"),
    ("DELETE FROM voucher", "a voucher is booked once it is taken, for what it is worth, and for nobody else"),
    ("UPDATE posting SET booked_at = 4000000000000 WHERE kind = 'charge'", "nothing is booked into a month after it was closed"),
    ("UPDATE statement SET closing = closing + 1", "a statement is what the journal comes to"),
    ("UPDATE posting SET note = 'another' WHERE kind = 'refund'", "a statement is what the journal comes to"),
    ("UPDATE settlement SET part = part + 1 WHERE party = 'operator'", "a settlement is what the journal comes to"),
    ("UPDATE posting SET period = '2026-10' WHERE kind = 'charge'", "a settlement is what the journal comes to"),
];

fn planted_on_sqlite(path: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    unprotected(&connection);
    connection.execute_batch(sql).unwrap();
}

fn unprotected(connection: &rusqlite::Connection) {
    let sql = "SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'
               UNION ALL SELECT 'DROP INDEX ' || name FROM sqlite_schema WHERE type = 'index' AND sql LIKE '%UNIQUE%'";
    let mut statement = connection.prepare(sql).unwrap();
    let drops: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    drops.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    // The table's own unique constraint cannot be dropped, only written out of its definition.
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (account_id, refers_to),', '') WHERE name = 'posting';
             DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_posting_3';
             PRAGMA writable_schema = RESET",
        )
        .unwrap();
}

// proves: C17
#[test]
fn c17_whatever_is_wrong_with_the_books_is_found() {
    on(Engine::Sqlite, of_a_gateway, async |db: TestDb| {
        booked(&db).await;
        let directory = tempfile::tempdir().unwrap();
        for (number, (sql, sentence)) in PLANTED.iter().enumerate() {
            let path = directory.path().join(format!("{number}.db"));
            let from = rusqlite::Connection::open(db.path()).unwrap();
            from.execute("VACUUM INTO $1", [path.to_str().unwrap()]).unwrap();
            planted_on_sqlite(&path, sql);
            let url = counterfoil_server::db::DbUrl::sqlite(&path);
            let planted = Db::open_with(&url, DbOptions { schema: Schema::Gateway, ..DbOptions::default() }).await.unwrap();
            let found: Vec<_> = books::check(&planted).await.unwrap().into_iter().map(|found| found.invariant).collect();
            assert!(found.contains(sentence), "{sql}: {found:?}");
            planted.close().await;
        }
    });
}

// proves: C17
db_test!(c17_what_is_booked_is_not_changed, |options| of_a_gateway(options), async |db: TestDb| {
    booked(&db).await;
    for sql in [
        "UPDATE posting SET note = 'x'",
        "DELETE FROM posting",
        "UPDATE funding SET amount = 1",
        "DELETE FROM funding",
        "UPDATE statement SET closing = 0",
        "DELETE FROM statement",
        "UPDATE settlement SET part = 0",
        "DELETE FROM settlement",
        "UPDATE balance SET posted = -1",
        "UPDATE balance SET reserved = posted + 1",
        "UPDATE lot SET remaining = amount + 1",
    ] {
        let result = db.write("test", "test", async move |tx: &mut Tx| -> Result<u64, DbError> { tx.query(sql).execute().await }).await;
        assert!(result.is_err(), "{sql}: {result:?}");
    }
    clean(&db).await;
});

// Every statement of the gateway is parsed by both engines, as those of the authority are.
#[test]
fn statements_of_the_gateway_are_understood_by_both_engines() {
    let all: Vec<_> = ["src/gateway", "src/commands/gateway"]
        .into_iter()
        .filter(|directory| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).is_dir())
        .flat_map(statements::below)
        .collect();
    assert!(all.len() >= 30, "only {} statements were found", all.len());
    let mut broken = Vec::new();
    on(Engine::Sqlite, of_a_gateway, async |db: TestDb| {
        let connection = rusqlite::Connection::open(db.path()).unwrap();
        for statement in &all {
            if let Err(error) = connection.prepare(&statement.sql) {
                broken.push(format!("SQLite, {}: {error}\n    {}", statement.file.display(), statement.sql));
            }
        }
    });
    on(Engine::Postgres, of_a_gateway, async |db: TestDb| {
        let client = db.beside().await;
        for statement in &all {
            match client.prepare(&statement.sql).await {
                Ok(prepared) => {
                    let known = ["int8", "text", "bytea", "bool", "int4"];
                    for column in prepared.columns().iter().filter(|column| !known.contains(&column.type_().name())) {
                        broken.push(format!("PostgreSQL, {}: {} is {}", statement.file.display(), column.name(), column.type_()));
                    }
                }
                Err(error) => broken.push(format!("PostgreSQL, {}: {error:?}\n    {}", statement.file.display(), statement.sql)),
            }
        }
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
