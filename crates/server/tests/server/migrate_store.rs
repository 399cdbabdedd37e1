//! Moving an operator from SQLite to PostgreSQL with `counterfoild migrate-store`: killed anywhere, lied to by the target, run again.

use crate::support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use counterfoil_server::db::{Db, DbError, DbUrl, Tx};
use support::{Engine, TestDb, on, witness};

/// An authority of its own with rows enough that a move takes a while.
struct Old {
    directory: tempfile::TempDir,
}

impl Old {
    fn new(rows: u32) -> Self {
        let old = Self { directory: tempfile::tempdir().unwrap() };
        let init = old.command(&["init", "--json"]).output().unwrap();
        assert!(init.status.success(), "{}", said(&init));
        let source = old.source();
        source
            .execute_batch(&format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
                 INSERT INTO request SELECT 'usr-' || (n % 977), 'r' || n, x'00ff', 200, randomblob(n % 300), n, 9000000000000000 FROM n;
                 INSERT INTO holder SELECT 'key-' || family || request_id, 'card', NULL, answer, NULL, 'issued', created_at FROM request;
                 INSERT INTO outbox (family, operation_id, kind, payload, created_at, due_at, attempts)
                   SELECT family, request_id, 'x', 'grün ✓', created_at, 1, 1 FROM request WHERE created_at < 50;
                 INSERT INTO publisher SELECT 'p' || created_at, 'P', NULL, 1 FROM request WHERE created_at < 10;"
            ))
            .unwrap();
        old
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("counterfoil.db")
    }

    fn source(&self) -> rusqlite::Connection {
        let source = rusqlite::Connection::open(self.path()).unwrap();
        source.busy_timeout(Duration::from_secs(20)).unwrap();
        source.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        source
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
        command.arg("--data").arg(self.directory.path()).args(arguments).stdin(Stdio::null());
        command
    }

    fn moving(&self, to: &TestDb) -> Command {
        let from = format!("sqlite:{}", self.path().display());
        let mut command = self.command(&["migrate-store", "--from", &from, "--to"]);
        command.arg(to.address());
        command
    }

    /// What a server does meanwhile: rows come, change and go.
    fn change(&self, round: usize) {
        let source = self.source();
        source
            .execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 INSERT INTO request SELECT 'new', 'r' || {round} || request_id, digest, status, answer, 1, 2 FROM request LIMIT 7;
                 UPDATE holder SET state = 's{round}' WHERE holder_id IN (SELECT holder_id FROM holder LIMIT 9 OFFSET 100);
                 DELETE FROM request WHERE (family, request_id) IN (SELECT family, request_id FROM request WHERE family <> 'new' LIMIT 5 OFFSET {round});
                 COMMIT"
            ))
            .unwrap();
    }

    fn moved_to(&self) -> Option<String> {
        self.source().query_row("SELECT value FROM setting WHERE name = 'moved_to'", [], |row| row.get(0)).ok()
    }

    /// Whether anybody can write: the lock goes with the process that held it.
    fn is_open(&self) -> bool {
        self.moved_to().is_none() && self.source().execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    }
}

fn said(output: &Output) -> String {
    format!("{}\n{}\n{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every table on both sides, as texts, by this test's own means.
async fn assert_same(old: &Old, new: &TestDb) {
    let (source, target) = (old.source(), new.beside().await);
    for table in support::schema::of_sqlite(&old.path()).tables.keys() {
        let moved = if table == "setting" { " WHERE name NOT LIKE 'mov%'" } else { "" };
        let mut statement = source.prepare(&format!("SELECT * FROM {table}{moved}")).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let as_text = |name: &String| format!("coalesce(CAST({name} AS TEXT), 'NULL')");
        let hexed = |name: &String| match support::schema::of_sqlite(&old.path()).tables[table].columns[name].0.as_str() {
            "BYTEA" => (
                format!("CASE WHEN {name} IS NULL THEN 'NULL' ELSE lower(hex({name})) END"),
                format!("coalesce(encode({name}, 'hex'), 'NULL')"),
            ),
            _ => (as_text(name), as_text(name)),
        };
        let (ours, theirs): (Vec<_>, Vec<_>) = names.iter().map(hexed).unzip();
        let sql = |columns: Vec<String>| format!("SELECT {} FROM {table}{moved}", columns.join(" || '|' || "));
        statement = source.prepare(&sql(ours)).unwrap();
        let mut before: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let mut after: Vec<String> = target.query(&sql(theirs), &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        before.sort();
        after.sort();
        assert_eq!(before.len(), after.len(), "{table}");
        assert!(before == after, "{table} differs");
    }
}

#[test]
fn a_move_that_is_killed_anywhere_is_gone_on_with() {
    on(
        Engine::Postgres,
        |_| (),
        async |new: TestDb| {
            let old = Old::new(30_000);
            let mut killed = 0;
            for (round, milliseconds) in [30, 120, 250, 400, 600, 900].into_iter().enumerate() {
                let mut moving = old.moving(&new).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                killed += usize::from(kill_after(&mut moving, Duration::from_millis(milliseconds)));
                if old.moved_to().is_some() {
                    break;
                }
                assert!(old.is_open());
                old.change(round);
            }
            // And in the two moments that the clock may not hit: closed, and closed and compared.
            for words in ["closed for writes", "same on both sides"] {
                let mut moving = old.moving(&new).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
                let lines = BufReader::new(moving.stderr.take().unwrap()).lines();
                assert!(lines.map_while(Result::ok).any(|line| line.contains(words)), "{words}");
                moving.kill().unwrap();
                moving.wait().unwrap();
                killed += 1;
                assert!(old.is_open(), "{words}");
                let half = new.check_not_moved().await;
                assert!(matches!(&half, Err(DbError::HalfMoved(from)) if from.contains("counterfoil.db")), "{half:?}");
                old.change(10 + killed);
            }
            assert!(killed >= 4, "only {killed} were killed");

            let moved = old.moving(&new).arg("--json").output().unwrap();
            assert!(moved.status.success(), "{}", said(&moved));
            let told: serde_json::Value = serde_json::from_slice(&moved.stdout).unwrap();
            assert!(told["copied"]["rows"].as_u64().unwrap() > 60_000, "{told}");
            let fresh = told["copied"]["inserted"].as_u64().unwrap();
            assert!(fresh < 1000, "it went on where it was, and did not begin anew: {told}");
            assert_same(&old, &new).await;
            new.check_not_moved().await.unwrap();
            assert!(old.moved_to().is_some());

            // Killed between the two last steps, it has only the last one left.
            new.run("INSERT INTO setting (name, value) SELECT 'moving_from', 'sqlite:' || 'x' FROM setting LIMIT 1").await;
            let path = old.path().canonicalize().unwrap().display().to_string();
            let client = new.beside().await;
            client.execute("UPDATE setting SET value = $1 WHERE name = 'moving_from'", &[&format!("sqlite:{path}")]).await.unwrap();
            let again = old.moving(&new).arg("--json").output().unwrap();
            assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("already"), "{}", said(&again));
            new.check_not_moved().await.unwrap();
            witness::forget(&new.beside().await).await;
        },
    );
}

/// False when it ended by itself before.
fn kill_after(child: &mut Child, time: Duration) -> bool {
    // The time is where it is killed, and nothing is waited for.
    std::thread::park_timeout(time);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn a_target_that_alters_or_loses_rows_is_noticed() {
    let lies = [
        // One row of many is altered on its way in.
        "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.created_at := NEW.created_at + 1; RETURN NEW; END $$;
         CREATE TRIGGER lie BEFORE INSERT OR UPDATE ON request FOR EACH ROW WHEN (NEW.request_id = 'r1234') EXECUTE FUNCTION lie()",
        // One row is dropped.
        "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER lie BEFORE INSERT ON holder FOR EACH ROW WHEN (NEW.created_at = 77) EXECUTE FUNCTION lie()",
        // A whole table is forgotten.
        "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER lie BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION lie()",
    ];
    for (lie, table) in lies.into_iter().zip(["request", "holder", "outbox"]) {
        on(
            Engine::Postgres,
            |_| (),
            async |new: TestDb| {
                let old = Old::new(3000);
                new.beside().await.batch_execute(lie).await.unwrap();
                let moved = old.moving(&new).output().unwrap();
                let text = said(&moved);
                assert_eq!(moved.status.code(), Some(1), "{text}");
                assert!(text.contains(&format!("error: the table {table} differs")) && text.contains("\nhint: "), "{text}");
                assert!(old.is_open(), "{text}");
                assert!(matches!(new.check_not_moved().await, Err(DbError::HalfMoved(_))));
                // Mended, it goes on.
                new.beside().await.batch_execute("DROP FUNCTION lie() CASCADE").await.unwrap();
                let moved = old.moving(&new).output().unwrap();
                assert!(moved.status.success(), "{}", said(&moved));
                assert_same(&old, &new).await;
                witness::forget(&new.beside().await).await;
            },
        );
    }
}

#[test]
fn a_source_that_the_auditor_objects_to_is_not_moved() {
    on(
        Engine::Postgres,
        |_| (),
        async |new: TestDb| {
            let old = Old::new(10);
            old.source().execute_batch("UPDATE audit SET actor = 'nobody' WHERE seq = 1").unwrap();
            let moved = old.moving(&new).output().unwrap();
            assert_eq!(moved.status.code(), Some(1), "{}", said(&moved));
            assert!(said(&moved).contains("the auditor objects"), "{}", said(&moved));
            assert!(old.is_open());
            witness::forget(&new.beside().await).await;
        },
    );
}

#[test]
fn what_cannot_be_moved_is_refused_with_a_hint() {
    on(
        Engine::Postgres,
        |_| (),
        async |new: TestDb| {
            let refused = |command: &mut Command, status: i32, words: &str| {
                let output = command.output().unwrap();
                let text = said(&output);
                assert_eq!(output.status.code(), Some(status), "{text}");
                assert!(text.contains(words) && text.contains("\nhint: "), "no {words:?} in {text}");
            };
            let (old, other) = (Old::new(10), Old::new(10));
            let address = new.address();
            refused(
                &mut old.command(&["migrate-store", "--from", "sqlite:nowhere.db", "--to", &address]),
                3,
                "there is no file nowhere.db",
            );
            assert!(!Path::new("nowhere.db").exists());
            refused(&mut old.command(&["migrate-store", "--from", &address, "--to", &address]), 2, "itself");
            refused(&mut old.command(&["migrate-store", "--from", &address, "--to", "sqlite:x.db"]), 2, "not to SQLite");
            refused(&mut old.command(&["migrate-store", "--from", "sqlite:x", "--to", "mysql://x"]), 2, "cannot move");

            new.run("INSERT INTO publisher (publisher_id, name, created_at) VALUES ('p', 'P', 1)").await;
            refused(&mut old.moving(&new), 1, "its table publisher has rows");
            new.run("DELETE FROM publisher").await;

            // Tables, and no sign that they are this program's.
            new.run("ALTER TABLE refinery_schema_history RENAME TO somebody_elses").await;
            refused(&mut old.moving(&new), 1, "belongs to something else");
            new.run("ALTER TABLE somebody_elses RENAME TO refinery_schema_history").await;

            // A table that this version does not know cannot be forgotten: it stops the move.
            old.source().execute_batch("CREATE TABLE planted (planted_id TEXT NOT NULL PRIMARY KEY) STRICT").unwrap();
            refused(&mut old.moving(&new), 3, "planted");
            old.source().execute_batch("DROP TABLE planted; DELETE FROM refinery_schema_history WHERE version > 1").unwrap();
            refused(&mut old.moving(&new), 3, "counterfoild migrate");
            assert!(other.moving(&new).output().unwrap().status.success());
            refused(&mut other.command(&["token", "new", "--role", "operator", "--name", "late"]), 3, "moved to postgres://");
            refused(&mut other.command(&["serve", "--listen", "127.0.0.1:0"]), 3, "moved to postgres://");
            let doctor = other.command(&["doctor"]).output().unwrap();
            assert!(doctor.status.code() == Some(3) && said(&doctor).contains("it was moved to postgres://"), "{}", said(&doctor));
            witness::forget(&new.beside().await).await;
        },
    );
    on(
        Engine::Postgres,
        |_| (),
        async |new: TestDb| {
            let (old, other) = (Old::new(10), Old::new(10));
            new.run("INSERT INTO setting (name, value) VALUES ('moving_from', 'sqlite:/elsewhere.db')").await;
            let output = old.moving(&new).output().unwrap();
            assert!(
                output.status.code() == Some(1) && said(&output).contains("half of another database, sqlite:/elsewhere.db"),
                "{}",
                said(&output)
            );
            let serve =
                other.command(&["serve", "--listen", "127.0.0.1:0"]).env("COUNTERFOILD__DATABASE__URL", new.address()).output().unwrap();
            assert!(serve.status.code() == Some(3) && said(&serve).contains("only a part of sqlite:/elsewhere.db"), "{}", said(&serve));
        },
    );
}

#[test]
fn writes_say_that_the_database_is_being_moved_and_where_it_went() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let old = Old::new(10);
        let db = Db::open(&DbUrl::sqlite(old.path())).await.unwrap();
        let write = async || -> Result<u64, DbError> {
            db.write("test", "test", async |tx: &mut Tx| -> Result<u64, DbError> {
                tx.query("UPDATE holder SET state = 'x' WHERE holder_id = 'none'").execute().await
            })
            .await
        };
        write().await.unwrap();
        // Somebody else's lock is waited for; a note without a lock means nothing.
        let mover = old.source();
        mover.execute_batch("INSERT INTO setting (name, value) VALUES ('moving_to', 'postgres://new/books')").unwrap();
        write().await.unwrap();
        mover.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (one, two) = tokio::join!(write(), write());
        for refused in [one, two] {
            assert!(
                matches!(&refused, Err(error @ DbError::Moving(to)) if to == "postgres://new/books" && error.try_later()),
                "{refused:?}"
            );
        }
        mover.execute_batch("ROLLBACK").unwrap();
        write().await.unwrap();
        db.check_not_moved().await.unwrap();

        mover.execute_batch("INSERT INTO setting (name, value) VALUES ('moved_to', 'postgres://new/books')").unwrap();
        let (one, two) = tokio::join!(write(), write());
        for refused in [one, two] {
            assert!(matches!(&refused, Err(DbError::Moved(to)) if to == "postgres://new/books"), "{refused:?}");
        }
        assert!(matches!(db.check_not_moved().await, Err(DbError::Moved(_))));
        db.close().await;
    });
}
