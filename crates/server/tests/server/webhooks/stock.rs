//! A stock library of Standard Webhooks takes what is sent, and refuses what was changed on the way.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::json;

use super::*;
use crate::support::{Engine, on};

/// Run by scripts/interop, which says where Python with the library is.
#[test]
#[ignore = "needs the libraries of scripts/interop"]
fn a_stock_library_takes_what_is_sent() {
    let python = std::env::var("COUNTERFOIL_INTEROP_PYTHON").expect("scripts/interop says where the Python with standardwebhooks is");
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let server = TestServer::with(&db, |config| config.webhooks.allow_private = true).await;
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests-interop/webhooks.py");
            let mut receiver = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
            let mut next = || lines.next().unwrap().unwrap();
            let hook = Hook::new(&server, &server.operator, &next(), &["medium.claimed"]).await;
            let mut told = receiver.stdin.take().unwrap();
            writeln!(told, "{}", hook.secret).unwrap();
            // The library compares with its own clock.
            #[expect(clippy::disallowed_methods, reason = "what the library compares with")]
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let discs = media(&server, "sky-raider", 1, json!({})).await;
            Terminal::registered(&server).await.claim(&server, &discs[0]).await.unwrap();
            server.app.clock.set(Timestamp(now.as_millis().try_into().unwrap()));
            assert_eq!(lead(&server).await, 1);
            let said: Value = serde_json::from_str(&next()).unwrap();
            assert_eq!((&said["verified"]["type"], &said["verified"]["data"]["id"]), (&json!("medium.claimed"), &json!(discs[0].id)));
            assert_eq!(said["forged"], json!(["body", "id", "timestamp", "secret"]), "each of these is noticed");
            // With a new secret, signed by both: still taken by whoever knows the old one.
            server.post(&server.operator, &hook.path("/rotate"), &json!({})).await.expect(200);
            server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
            assert_eq!(lead(&server).await, 1);
            let said: Value = serde_json::from_str(&next()).unwrap();
            assert_eq!(said["verified"]["type"], "webhook.test");
            drop(told);
            assert!(receiver.wait().unwrap().success());
        },
    );
}
