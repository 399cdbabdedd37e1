//! One test body on both engines: a migrated database for each test, and the handles to break it.
//!
//! `use crate::support::db_test;` and then
//! `db_test!(name, async |db| { … });` or `db_test!(name, |options| options.batch = 4, async |db| { … });`
//! make the tests `name::sqlite` and `name::postgres`. PostgreSQL comes from `COUNTERFOIL_TEST_POSTGRES`; without it the test fails.

pub mod bought;
pub mod breaking;
pub mod browser;
pub mod captured;
pub mod catalogue;
pub mod charged;
pub mod cluster;
pub mod exchanged;
pub mod handed_in;
pub mod licensing;
pub mod providing;
pub mod reissued;
pub mod released;
pub mod s3;
pub mod sales;
pub mod schema;
pub mod smtp;
pub mod statements;
pub mod terminal;
pub mod uploading;
pub mod witness;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_server::db::{Db, DbError, DbOptions, DbUrl, Faults, Schema, Tx};

/// A database of one test. Its faults are there to be armed; its file or database goes with it.
pub struct TestDb {
    pub db: Db,
    pub url: DbUrl,
    pub faults: Arc<Faults>,
    options: DbOptions,
    place: Place,
}

enum Place {
    Directory(tempfile::TempDir),
    Database { cluster: String, name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Deref for TestDb {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

impl TestDb {
    pub fn engine(&self) -> Engine {
        match self.place {
            Place::Directory(_) => Engine::Sqlite,
            Place::Database { .. } => Engine::Postgres,
        }
    }

    /// A fresh database on the same engine, with the tables of a gateway. [`Self::gone`] takes it away.
    #[allow(dead_code, reason = "only the tests of gateways have two databases")]
    pub async fn of_a_gateway(&self) -> TestDb {
        let faults = Arc::new(Faults::default());
        let options = DbOptions { schema: Schema::Gateway, faults: Some(Arc::clone(&faults)), ..self.options.clone() };
        let (url, place) = match &self.place {
            Place::Directory(_) => {
                let directory = tempfile::tempdir().unwrap();
                (DbUrl::sqlite(directory.path().join("test.db")), Place::Directory(directory))
            }
            Place::Database { cluster, .. } => {
                let name = fresh_database(cluster, Schema::Gateway).await;
                (with_database(cluster, &name).parse().unwrap(), Place::Database { cluster: cluster.clone(), name })
            }
        };
        let db = Db::open_with(&url, options.clone()).await.unwrap();
        db.migrate().await.unwrap();
        TestDb { db, url, faults, options, place }
    }

    /// Closes a database that a test has made beside its own, and takes it away.
    #[allow(dead_code, reason = "only the tests of gateways have two databases")]
    pub async fn gone(self) {
        self.db.close().await;
        if let Place::Database { cluster, name } = &self.place {
            connect(cluster).await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
        }
    }

    /// Another process's view: the same database, opened once more.
    pub async fn second(&self) -> Db {
        Db::open_with(&self.url, DbOptions { faults: None, ..self.options.clone() }).await.unwrap()
    }

    /// The same database of PostgreSQL by another way: through a pooler, or with other options. `server` is a URL; its database does not count.
    pub async fn by(&self, server: &str, configure: impl FnOnce(&mut DbOptions)) -> Result<TestDb, DbError> {
        let Place::Database { name, .. } = &self.place else { panic!("SQLite has no other way") };
        let (url, mut options) = (with_database(server, name).parse()?, DbOptions { faults: None, ..self.options.clone() });
        configure(&mut options);
        let db = Db::open_with(&url, options.clone()).await?;
        Ok(TestDb {
            db,
            url,
            faults: Arc::clone(&self.faults),
            options,
            place: Place::Database { cluster: server.to_owned(), name: name.clone() },
        })
    }

    /// Runs one statement by itself.
    pub async fn run(&self, sql: &'static str) -> u64 {
        self.write("test", "test", async move |tx: &mut Tx| -> Result<u64, DbError> { tx.query(sql).execute().await }).await.unwrap()
    }

    /// Runs statements in one transaction.
    pub async fn run_all(&self, statements: Vec<&'static str>) {
        let run = async move |tx: &mut Tx| -> Result<(), DbError> {
            for sql in &statements {
                tx.query(sql).execute().await?;
            }
            Ok(())
        };
        self.write("test", "test", run).await.unwrap();
    }

    /// Breaks something in several families at once, which nothing but a test does.
    pub async fn break_all(&self, sql: &'static str) {
        self.run(sql).await;
        if self.engine() == Engine::Postgres {
            witness::forget(&self.beside().await).await;
        }
    }

    /// Reads one number.
    pub async fn number(&self, sql: &'static str) -> i64 {
        self.read("test", async move |tx: &mut Tx| -> Result<i64, DbError> { Ok(tx.query(sql).one::<(i64,)>().await?.0) }).await.unwrap()
    }

    /// A connection beside the facade, to look and to break.
    pub async fn beside(&self) -> tokio_postgres::Client {
        match &self.place {
            Place::Database { cluster, name } => connect(&with_database(cluster, name)).await,
            Place::Directory(_) => panic!("SQLite has no other connection"),
        }
    }

    /// Its whole address, as an operator would write it.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Database { cluster, name } => with_database(cluster, name),
            Place::Directory(_) => format!("sqlite:{}", self.path().display()),
        }
    }

    pub fn path(&self) -> std::path::PathBuf {
        match &self.place {
            Place::Directory(directory) => directory.path().join("test.db"),
            Place::Database { .. } => panic!("PostgreSQL has no file"),
        }
    }
}

/// Runs a test body over a fresh, migrated database.
pub fn on(engine: Engine, configure: impl FnOnce(&mut DbOptions), body: impl AsyncFnOnce(TestDb)) {
    match engine {
        Engine::Postgres => on_cluster(&cluster(), configure, body),
        Engine::Sqlite => run(configure, body, async |options| {
            let directory = tempfile::tempdir().unwrap();
            let url = DbUrl::sqlite(directory.path().join("test.db"));
            let db = Db::open_with(&url, options).await.unwrap();
            db.migrate().await.unwrap();
            (db, url, Place::Directory(directory))
        }),
    }
}

/// Runs a test body over a fresh, migrated database of this PostgreSQL.
pub fn on_cluster(cluster: &str, configure: impl FnOnce(&mut DbOptions), body: impl AsyncFnOnce(TestDb)) {
    let fresh = async |options: DbOptions| {
        let name = fresh_database(cluster, options.schema).await;
        let url = with_database(cluster, &name).parse().unwrap();
        (Db::open_with(&url, options).await.unwrap(), url, Place::Database { cluster: cluster.to_owned(), name })
    };
    run(configure, body, fresh);
}

fn run(configure: impl FnOnce(&mut DbOptions), body: impl AsyncFnOnce(TestDb), fresh: impl AsyncFnOnce(DbOptions) -> (Db, DbUrl, Place)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let faults = Arc::new(Faults::default());
        let mut options = DbOptions { faults: Some(Arc::clone(&faults)), ..DbOptions::default() };
        if witness::is_everywhere() {
            // A commit for each transaction, so that PostgreSQL can tell one from another.
            options.batch = 1;
        }
        configure(&mut options);
        let (db, url, place) = fresh(options.clone()).await;
        let database = match &place {
            Place::Database { cluster, name } => Some((cluster.clone(), name.clone())),
            Place::Directory(_) => None,
        };
        let watched = match &database {
            // A gateway's database has no families on several nodes.
            Some((cluster, name)) if witness::is_everywhere() && options.schema == Schema::Authority => {
                Some(connect(&with_database(cluster, name)).await)
            }
            _ => None,
        };
        let closing = db.clone();
        body(TestDb { db, url, faults, options, place }).await;
        closing.close().await;
        if let Some(client) = &watched
            && witness::of_an_authority(client).await
        {
            assert_eq!(witness::seen(client).await.1, Vec::<String>::new(), "a transaction wrote more than one family");
        }
        if let Some((cluster, name)) = database {
            let admin = connect(&cluster).await;
            admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
        }
    });
}

macro_rules! db_test {
    ($(#[$meta:meta])* $name:ident, |$options:ident| $configure:expr, $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "what the body names comes from the file")]
            use super::*;
            use $crate::support::{Engine, on};

            #[test]
            $(#[$meta])*
            fn sqlite() {
                on(Engine::Sqlite, |$options| $configure, $body);
            }

            #[test]
            $(#[$meta])*
            fn postgres() {
                on(Engine::Postgres, |$options| $configure, $body);
            }
        }
    };
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $crate::support::db_test!($(#[$meta])* $name, |_options| (), $body);
    };
}
pub(crate) use db_test;

pub fn cluster() -> String {
    std::env::var("COUNTERFOIL_TEST_POSTGRES").expect(
        "COUNTERFOIL_TEST_POSTGRES is not set: it must be the URL of a superuser of a running PostgreSQL; \
         run `export COUNTERFOIL_TEST_POSTGRES=$(scripts/postgres start)` or ./test",
    )
}

pub fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, String::new()), |(address, query)| (address, format!("?{query}")));
    let (server, _) = address.rsplit_once('/').expect("a PostgreSQL URL ends with /database");
    format!("{server}/{name}{query}")
}

pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Copies the migrated template, which whoever comes first makes; its name changes with the migrations.
async fn fresh_database(cluster: &str, schema: Schema) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let partitions: Option<u32> = std::env::var("COUNTERFOIL_TEST_PARTITIONS").ok().map(|number| number.parse().expect("a number"));
    let template = format!("counterfoil_template_{:016x}_{}_watched", migrations_hash(schema), partitions.unwrap_or(0));
    let name = format!("counterfoil_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = connect(cluster).await;
    admin.batch_execute("SELECT pg_advisory_lock(7351)").await.unwrap();
    let known = admin.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&template]).await.unwrap();
    if known.is_none() {
        // Under another name until it is complete, so that a killed test leaves no half template.
        admin.batch_execute("DROP DATABASE IF EXISTS counterfoil_template_new WITH (FORCE)").await.unwrap();
        admin.batch_execute("CREATE DATABASE counterfoil_template_new").await.unwrap();
        let url = with_database(cluster, "counterfoil_template_new").parse().unwrap();
        let db = Db::open_with(&url, DbOptions { schema, ..DbOptions::default() }).await.unwrap();
        db.migrate().await.unwrap();
        if let Some(partitions) = partitions.filter(|_| schema == Schema::Authority) {
            assert!(!db.partition(partitions).await.unwrap().is_empty());
            witness::install(&connect(&with_database(cluster, "counterfoil_template_new")).await).await;
        }
        db.close().await;
        // A session of the migration may still be on its way out; it would keep the template from being renamed.
        admin
            .batch_execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'counterfoil_template_new'")
            .await
            .unwrap();
        admin.batch_execute(&format!("ALTER DATABASE counterfoil_template_new RENAME TO {template}")).await.unwrap();
    }
    admin.batch_execute("SELECT pg_advisory_unlock(7351)").await.unwrap();
    // A test process of this number that was killed earlier may have left one.
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")).await.unwrap();
    name
}

fn migrations_hash(schema: Schema) -> u64 {
    let mut hasher = DefaultHasher::new();
    let directory = match schema {
        Schema::Authority => concat!(env!("CARGO_MANIFEST_DIR"), "/src/migrations/postgres"),
        Schema::Gateway => concat!(env!("CARGO_MANIFEST_DIR"), "/src/gateway/migrations/postgres"),
    };
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        path.file_name().unwrap().hash(&mut hasher);
        std::fs::read(&path).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}
