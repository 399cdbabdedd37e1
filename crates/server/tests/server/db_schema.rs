//! One schema, two engines, and the rules that let it be spread over many machines one day.

use crate::support;

use std::collections::BTreeSet;

use counterfoil_server::db::{Db, DbError, Tx};
use support::schema::{self, Families, Foreign, Schema, Table};
use support::{Engine, TestDb, db_test, on, statements};

async fn schema_of(db: &TestDb) -> Schema {
    match db.engine() {
        Engine::Sqlite => schema::of_sqlite(&db.path()),
        Engine::Postgres => schema::of_postgres(&db.beside().await).await,
    }
}

#[test]
fn both_engines_have_the_same_schema() {
    let mut schemas = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        on(engine, |_| (), async |db: TestDb| schemas.push(schema_of(&db).await));
    }
    let [sqlite, postgres] = schemas.try_into().unwrap();
    assert!(sqlite.tables.len() >= 6);
    for (name, table) in &sqlite.tables {
        assert_eq!(Some(table), postgres.tables.get(name), "SQLite's and PostgreSQL's {name}");
    }
    assert_eq!(sqlite, postgres);
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| -> BTreeSet<_> {
        let directory = format!("{}/src/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

db_test!(the_schema_keeps_to_families, async |db| {
    assert_eq!(schema::broken_rules(&schema_of(&db).await, &schema::families()), Vec::<String>::new());
});

#[test]
fn a_schema_that_leaves_its_family_is_noticed() {
    let families: Families =
        [("a", "a_id"), ("b", "b_id"), ("r", "reference")].map(|(table, key)| (table.to_owned(), key.to_owned())).into();
    let columns = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), ("TEXT".to_owned(), true))).collect();
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let good = |key: &str| Table { columns: columns(&[key, "x"]), primary_key: texts(&[key, "x"]), ..Table::default() };
    let schema = Schema {
        tables: [("a", good("a_id")), ("b", good("b_id")), ("r", good("r_id"))].map(|(name, table)| (name.to_owned(), table)).into(),
        triggers: vec![],
    };
    assert_eq!(schema::broken_rules(&schema, &families), Vec::<String>::new());

    let broken = |break_it: &dyn Fn(&mut Schema)| {
        let mut schema = schema.clone();
        break_it(&mut schema);
        schema::broken_rules(&schema, &families).len()
    };
    let a = |change: &dyn Fn(&mut Table)| broken(&|schema| change(schema.tables.get_mut("a").unwrap()));
    let points = |from: &str, table: &str, to: &str| Foreign { columns: texts(&[from]), table: table.to_owned(), target: texts(&[to]) };
    assert_eq!(a(&|table| table.primary_key.reverse()), 1);
    assert_eq!(a(&|table| assert!(table.unique.insert(texts(&["x"])))), 1);
    assert_eq!(a(&|table| assert!(table.unique.insert(texts(&["x", "a_id"])))), 0);
    assert_eq!(a(&|table| assert!(table.foreign.insert(points("x", "b", "b_id")))), 1);
    assert_eq!(a(&|table| assert!(table.foreign.insert(points("x", "r", "r_id")))), 0);
    assert_eq!(a(&|table| drop(table.columns.insert("f".to_owned(), ("REAL".to_owned(), false)))), 1);
    assert_eq!(broken(&|schema| schema.triggers.push("t".to_owned())), 1);
    assert_eq!(broken(&|schema| drop(schema.tables.insert("new".to_owned(), good("x")))), 1);
    assert_eq!(broken(&|schema| drop(schema.tables.remove("b"))), 1);
}

#[test]
fn statements_keep_to_what_both_engines_know() {
    let families = schema::families();
    let all = statements::in_sources();
    assert!(all.len() >= 25, "only {} statements were found", all.len());
    let broken: Vec<String> = all
        .iter()
        .flat_map(|statement| {
            let rules = statements::broken_rules(&statement.sql, &families);
            rules.into_iter().map(move |rule| format!("{}: {rule}\n    {}", statement.file.display(), statement.sql))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

// Every statement of the program is parsed and planned by both engines, whether or not a test runs it.
#[test]
fn statements_are_understood_by_both_engines() {
    let all = statements::in_sources();
    assert!(all.len() >= 25, "only {} statements were found", all.len());
    let mut broken = Vec::new();
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let connection = rusqlite::Connection::open(db.path()).unwrap();
            for statement in &all {
                if let Err(error) = connection.prepare(&statement.sql) {
                    broken.push(format!("SQLite, {}: {error}\n    {}", statement.file.display(), statement.sql));
                }
            }
        },
    );
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let client = db.beside().await;
            for statement in &all {
                match client.prepare(&statement.sql).await {
                    Ok(prepared) => {
                        let known = ["int8", "text", "bytea", "bool", "int4"];
                        for column in prepared.columns().iter().filter(|column| !known.contains(&column.type_().name())) {
                            let (name, kind) = (column.name(), column.type_());
                            broken.push(format!(
                                "PostgreSQL, {}: {name} is {kind}, CAST it\n    {}",
                                statement.file.display(),
                                statement.sql
                            ));
                        }
                    }
                    Err(error) => {
                        let error = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
                        broken.push(format!("PostgreSQL, {}: {error}\n    {}", statement.file.display(), statement.sql));
                    }
                }
            }
        },
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn statements_that_break_a_rule_are_noticed() {
    let families: Families = [("t", "family"), ("r", "reference")].map(|(table, key)| (table.to_owned(), key.to_owned())).into();
    let good = [
        "SELECT a FROM t WHERE b = $1",
        "INSERT INTO t (family, a) VALUES ($1, $2) ON CONFLICT (family) DO UPDATE SET a = excluded.a RETURNING a",
        "UPDATE t SET a = $1 WHERE family = $2 AND a = $3",
        "DELETE FROM t WHERE family = $1",
        "UPDATE r SET a = $1 WHERE b = $2",
        "WITH x AS (SELECT 1) SELECT * FROM x",
    ];
    for sql in good {
        assert_eq!(statements::broken_rules(sql, &families), Vec::<String>::new(), "{sql}");
    }
    let bad = [
        "SELECT now()",
        "SELECT random()",
        "SELECT a FROM t WHERE a ILIKE $1",
        "SELECT a FROM t WHERE a = ANY($1)",
        "SELECT a::text FROM t",
        "SELECT a ->> 'b' FROM t",
        "SELECT a FROM t WHERE family = $1\n  FOR UPDATE",
        "SELECT a FROM t WHERE family = ?1",
        "WITH up AS (UPDATE t SET a = 1 WHERE family = $1 RETURNING a) SELECT a FROM up",
        "INSERT OR IGNORE INTO t (family) VALUES ($1)",
        "INSERT INTO t (a) VALUES ($1)",
        "INSERT INTO unknown (family) VALUES ($1)",
        "UPDATE t SET a = $1",
        "UPDATE t SET family = $1 WHERE a = $2",
        "DELETE FROM t WHERE a = $1 OR family > $2",
    ];
    for sql in bad {
        assert!(!statements::broken_rules(sql, &families).is_empty(), "{sql}");
    }
    let source = "let a = \"SELECT 1\"; // \"SELECT 2\"\nlet b = '\"'; let c = r#\"SELECT \"x\" \"#; let d = \"SELECT \\\n    3\";";
    assert_eq!(statements::literals(source), ["SELECT 1", "SELECT \"x\" ", "SELECT 3"]);
}

db_test!(migrating_twice_changes_nothing, async |db| {
    let status = db.migration_status().await.unwrap();
    assert!(status.database >= 1 && status.pending.is_empty());
    status.check().unwrap();
    assert_eq!(db.migrate().await.unwrap(), status);
});

db_test!(a_newer_schema_is_refused, async |db| {
    let program = db.migration_status().await.unwrap().program;
    db.run("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) SELECT 9999, 'future', applied_on, checksum FROM refinery_schema_history WHERE version = 1").await;
    let status = db.migration_status().await.unwrap();
    assert!(matches!(status.check(), Err(DbError::SchemaNewer { database: 9999, program: known }) if known == program));
    assert!(matches!(db.migrate().await, Err(DbError::SchemaNewer { .. })));
});

#[test]
fn an_empty_database_is_older() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("new.db").display()).parse().unwrap();
        let db = Db::open(&url).await.unwrap();
        let status = db.migration_status().await.unwrap();
        assert!(matches!(status.check(), Err(DbError::SchemaOlder { database: 0, .. })));
        assert_eq!(status.pending.len(), usize::try_from(status.program).unwrap());
        db.migrate().await.unwrap().check().unwrap();
    });
}

// An old migration that was edited afterwards would leave servers with different schemas under one version.
db_test!(an_edited_migration_is_noticed, async |db| {
    db.run("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1").await;
    let result = db.migrate().await;
    assert!(matches!(result, Err(DbError::Migration(_))), "{result:?}");
});

#[test]
fn several_servers_may_migrate_at_once() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            db.run("DROP SCHEMA public CASCADE").await;
            db.run("CREATE SCHEMA public").await;
            let servers = (0..4).map(|_| {
                tokio::spawn({
                    let db = db.db.clone();
                    async move { db.migrate().await }
                })
            });
            for server in servers.collect::<Vec<_>>() {
                server.await.unwrap().unwrap().check().unwrap();
            }
            let count = async |tx: &mut Tx| -> Result<i64, DbError> {
                Ok(tx.query("SELECT count(*) FROM refinery_schema_history").one::<(i64,)>().await?.0)
            };
            assert_eq!(db.read("count", count).await.unwrap(), db.migration_status().await.unwrap().program);
        },
    );
}

/// Key columns whose collation is not the one of bytes.
async fn in_another_order(db: &TestDb) -> Vec<String> {
    let sql = "SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
        JOIN information_schema.key_column_usage k ON k.table_name = c.table_name AND k.column_name = c.column_name AND k.table_schema = c.table_schema
        WHERE c.table_schema = 'public' AND c.data_type = 'text' AND c.collation_name IS DISTINCT FROM 'C' AND c.table_name <> 'refinery_schema_history'";
    db.beside().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn keys_are_ordered_by_their_bytes_on_postgres() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            assert_eq!(in_another_order(&db).await, Vec::<String>::new());
            // What a table made without it would look like.
            db.run("CREATE TABLE planted (planted_id TEXT NOT NULL PRIMARY KEY)").await;
            assert_eq!(in_another_order(&db).await, ["planted.planted_id"]);
        },
    );
}

#[test]
fn partitions_change_nothing_but_where_rows_lie() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            db.run("DROP SCHEMA public CASCADE").await;
            db.run("CREATE SCHEMA public").await;
            db.migrate().await.unwrap();
            let before = schema_of(&db).await;
            let families = schema::families();
            let wanted: Vec<&String> = families.iter().filter(|(_, key)| *key != "reference").map(|(table, _)| table).collect();
            assert_eq!(db.partition(3).await.unwrap().iter().collect::<Vec<_>>(), wanted);
            assert_eq!(schema_of(&db).await, before);
            assert_eq!(db.partition(3).await.unwrap(), Vec::<String>::new(), "the second time there is nothing to do");
            let sql = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'";
            let partitions: i64 = db.beside().await.query_one(sql, &[]).await.unwrap().get(0);
            assert_eq!(usize::try_from(partitions).unwrap(), 3 * wanted.len());
        },
    );
}

#[test]
fn a_table_with_rows_is_not_cut() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            db.run("DROP SCHEMA public CASCADE").await;
            db.run("CREATE SCHEMA public").await;
            db.migrate().await.unwrap();
            db.run("INSERT INTO audit_head (family, seq, hash) VALUES ('x', 1, '')").await;
            let refused = db.partition(3).await;
            assert!(matches!(&refused, Err(DbError::Migration(why)) if why.contains("audit_head")), "{refused:?}");
            assert_eq!(db.number("SELECT count(*) FROM audit_head").await, 1);
        },
    );
}

// There is no Citus here. What is sent to it is understood by PostgreSQL, given functions with the names and arguments that Citus documents.
#[test]
fn the_distribution_names_every_table_once_and_parents_first() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let distribution = db.distribute(true).await.unwrap();
            assert_eq!(distribution.citus, None);
            let client = db.beside().await;
            client
                .batch_execute(
                    "CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE sql AS '';
                     CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
                       colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL) RETURNS void LANGUAGE sql AS '';
                     CREATE FUNCTION truncate_local_data_after_distributing_table(function_name regclass) RETURNS void LANGUAGE sql AS '';",
                )
                .await
                .unwrap();
            let schema = schema_of(&db).await;
            let mut placed: Vec<String> = Vec::new();
            for statement in &distribution.statements[1..] {
                client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
                let name = statement.split('\'').nth(1).unwrap().to_owned();
                if statement.contains("truncate_local") {
                    continue;
                }
                let key = &schema::families()[&name];
                assert_eq!(statement.contains("create_reference_table"), key == "reference", "{statement}");
                assert!(key == "reference" || statement.contains(&format!("'{name}', '{key}', colocate_with => ")), "{statement}");
                for foreign in &schema.tables[&name].foreign {
                    assert!(placed.contains(&foreign.table) || foreign.table == name, "{name} before {}", foreign.table);
                }
                assert!(!placed.contains(&name), "{name} twice");
                placed.push(name);
            }
            placed.sort();
            assert_eq!(placed, schema.tables.keys().cloned().collect::<Vec<_>>());
            let refused = db.distribute(false).await;
            assert!(matches!(&refused, Err(DbError::Migration(why)) if why.contains("citus")), "{refused:?}");
        },
    );
}
