//! Durable writes from 32 clients: through the facade, and with one commit each by hand over the same SQLite.
//!
//! `cargo bench -p counterfoil-server --bench db`. Only the ratios within one run mean anything: fsync drifts by a factor of ten. With
//! `COUNTERFOIL_TEST_POSTGRES` set, PostgreSQL is measured as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use counterfoil_server::db::{Db, DbError, DbUrl};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};

const CLIENTS: u64 = 32;
const UPSERT: &str = "INSERT INTO held (family, medium, n) VALUES ($1, $2, 1) ON CONFLICT (family, medium) DO UPDATE SET n = held.n + 1";
const MOVE: &str = "UPDATE head SET seq = seq + 1, holder = $1 WHERE family = $2 RETURNING seq";
const TABLES: [&str; 3] = [
    "CREATE TABLE held (family TEXT NOT NULL, medium TEXT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (family, medium))",
    "CREATE TABLE head (family TEXT NOT NULL, seq BIGINT NOT NULL, holder TEXT, PRIMARY KEY (family))",
    "INSERT INTO head (family, seq) SELECT 'family-' || n, 0 FROM numbers",
];

async fn prepare(db: &Db) {
    for sql in [
        "CREATE TABLE numbers (n BIGINT)",
        "INSERT INTO numbers (n) WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 999) SELECT i FROM s",
    ]
    .into_iter()
    .chain(TABLES)
    {
        db.write("prepare", "x", async move |tx| -> Result<u64, DbError> { tx.query(sql).execute().await }).await.expect("prepare");
    }
}

async fn claim(db: &Db, n: u64) {
    let (family, medium) = (format!("family-{}", n % 1000), format!("medium-{}", n % 7));
    db.write("claim", family.clone(), async move |tx| -> Result<(i64,), DbError> {
        tx.query(UPSERT).bind(&family).bind(&medium).execute().await?;
        tx.query(MOVE).bind(&medium).bind(&family).one().await
    })
    .await
    .expect("claim");
}

/// Runs `iterations` claims from all clients and returns the time they took.
async fn clients<F: Future<Output = ()> + Send>(iterations: u64, one: impl Fn(u64) -> F + Send + Sync + Clone + 'static) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    #[expect(clippy::disallowed_methods, reason = "measuring time is what a bench does")]
    let began = Instant::now();
    let running: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, one) = (Arc::clone(&next), one.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= iterations {
                        return;
                    }
                    one(n.wrapping_mul(0x9E37_79B9)).await;
                }
            })
        })
        .collect();
    for client in running {
        client.await.expect("a client panicked");
    }
    began.elapsed()
}

fn facade(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &tokio::runtime::Runtime, name: &str, db: &Db) {
    runtime.block_on(prepare(db));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let db = db.clone();
            runtime.block_on(clients(iterations, move |n| {
                let db = db.clone();
                async move { claim(&db, n).await }
            }))
        });
    });
}

fn durable_writes(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut group = criterion.benchmark_group("durable writes, 32 clients");
    group.throughput(Throughput::Elements(1)).sample_size(15).measurement_time(Duration::from_secs(5));

    let path = directory.path().join("by-hand.db");
    let by_hand = runtime.block_on(Db::open(&DbUrl::sqlite(&path))).expect("SQLite");
    runtime.block_on(prepare(&by_hand));
    let connection = rusqlite::Connection::open(&path).expect("SQLite");
    connection.execute_batch("PRAGMA synchronous = FULL").expect("synchronous");
    let connection = Arc::new(Mutex::new(connection));
    group.bench_function("sqlite, one commit each", |bencher| {
        bencher.iter_custom(|iterations| {
            let connection = Arc::clone(&connection);
            runtime.block_on(clients(iterations, move |n| {
                let connection = Arc::clone(&connection);
                async move {
                    let (family, medium) = (format!("family-{}", n % 1000), format!("medium-{}", n % 7));
                    let run = || -> rusqlite::Result<i64> {
                        let mut connection = connection.lock().expect("no client panics");
                        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                        tx.prepare_cached(UPSERT)?.execute([&family, &medium])?;
                        let seq = tx.prepare_cached(MOVE)?.query_row([&medium, &family], |row| row.get(0))?;
                        tx.commit()?;
                        Ok(seq)
                    };
                    run().expect("claim by hand");
                }
            }))
        });
    });
    let db = runtime.block_on(Db::open(&DbUrl::sqlite(directory.path().join("facade.db")))).expect("SQLite");
    facade(&mut group, &runtime, "sqlite, through the facade", &db);

    if let Ok(cluster) = std::env::var("COUNTERFOIL_TEST_POSTGRES") {
        let beside = |sql: &'static str| {
            let (client, connection) = runtime.block_on(tokio_postgres::connect(&cluster, tokio_postgres::NoTls)).expect("PostgreSQL");
            runtime.spawn(connection);
            runtime.block_on(client.batch_execute(sql)).expect(sql);
        };
        beside("DROP DATABASE IF EXISTS counterfoil_bench WITH (FORCE)");
        beside("CREATE DATABASE counterfoil_bench");
        let (server, _) = cluster.rsplit_once('/').expect("a URL ends with /database");
        let db = runtime.block_on(Db::open(&format!("{server}/counterfoil_bench").parse().expect("URL"))).expect("PostgreSQL");
        facade(&mut group, &runtime, "postgres, through the facade", &db);
        runtime.block_on(db.close());
        beside("DROP DATABASE counterfoil_bench WITH (FORCE)");
    }
    group.finish();
}

criterion_group!(benches, durable_writes);
criterion_main!(benches);
