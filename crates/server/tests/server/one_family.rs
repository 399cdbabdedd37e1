//! A transaction writes the rows of one family: seen by PostgreSQL itself, row by row, over a medium's whole life.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use catalogue::TestServer;
use counterfoil_server::db::{DbError, Tx};
use serde_json::json;
use support::{Engine, TestDb, on, witness};
use terminal::{Terminal, media};

async fn live(db: &TestDb) {
    let server = TestServer::new(db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let terminal = Terminal::registered(&server).await;
    let grants = terminal.claim(&server, &media[0]).await.unwrap();
    terminal.confirm(&server, &media[0], &grants).await.unwrap();
    Terminal::registered(&server).await.claim(&server, &media[0]).await.unwrap_err();
}

#[test]
fn each_transaction_of_a_mediums_life_writes_one_family() {
    on(
        Engine::Postgres,
        |options| options.batch = 1,
        async |db: TestDb| {
            let client = db.beside().await;
            if !witness::is_everywhere() {
                witness::install(&client).await;
            }
            live(&db).await;
            let (transactions, broken) = witness::seen(&client).await;
            assert!(transactions >= 15, "only {transactions} transactions were seen");
            assert_eq!(broken, Vec::<String>::new());
            client.batch_execute("TRUNCATE witness_row").await.unwrap();

            // What it would see of a use case that writes two users at once.
            let both = async |tx: &mut Tx| -> Result<(), DbError> {
                let sql = "INSERT INTO audit_head (family, seq, hash) VALUES ($1, 1, '')";
                tx.query(sql).bind("usr-1").execute().await?;
                tx.query("INSERT INTO holder (holder_id, kind, state, created_at) VALUES ('key-2', 'card', 'issued', 1)").execute().await?;
                Ok(())
            };
            db.write("planted", "usr-1", both).await.unwrap();
            let (_, broken) = witness::seen(&client).await;
            assert_eq!(broken, ["INSERT audit_head of usr-1 , INSERT holder of key-2 "]);
            client.batch_execute("TRUNCATE witness_row").await.unwrap();
        },
    );
}
