//! One process at a time does the jobs: real processes on one database, killed, stopped and continued. What leads says `/readyz`.

use crate::support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use counterfoil_core::{GrantId, MediumId, Timestamp, TitleId, UserId};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::lease::Lease;
use counterfoil_server::store::{lease, outbox};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Engine, TestDb, db_test, on};

/// Longest that the next one may take to lead.
const TAKEN_OVER: Duration = Duration::from_secs(15);

/// A server process, and where it can be asked.
struct Process {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Process {
    fn start(data: &Path, name: &str) -> Self {
        let (ready, log) = (data.join(format!("{name}.ready")), data.join(format!("{name}.log")));
        let _ = std::fs::remove_file(&ready);
        let out = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).arg("--ready-file").arg(&ready);
        // A commit for each transaction, so that PostgreSQL can tell one from another.
        serve.env("COUNTERFOILD__DATABASE__BATCH", "1");
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        let mut child = serve.spawn().unwrap();
        let mut url = String::new();
        wait("a server starts", Duration::from_secs(60), || {
            assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
            let text = std::fs::read(&ready).unwrap_or_default();
            let Ok(ready) = serde_json::from_slice::<Value>(&text) else { return false };
            url = ready["url"].as_str().unwrap().to_owned();
            true
        });
        Self { child, url, log }
    }

    fn get(&self, path: &str) -> String {
        ureq::get(format!("{}{path}", self.url)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    fn jobs(&self) -> String {
        let ready: Value = serde_json::from_str(&self.get("/readyz")).unwrap();
        ready["jobs"].as_str().unwrap().to_owned()
    }

    fn leads(&self) -> bool {
        self.jobs() == "here"
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.get("/metrics").lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until it is so; says how long that took.
#[track_caller]
fn wait(what: &str, limit: Duration, mut so: impl FnMut() -> bool) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "limits how long a test waits, and measures what it is about")]
    let now = Instant::now;
    let begun = now();
    while !so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    begun.elapsed()
}

fn init(db: &TestDb, data: &Path) {
    let mut init = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
    init.args(["init", "--data"]).arg(data);
    if db.engine() == Engine::Postgres {
        init.arg("--database").arg(db.address());
    }
    let made = init.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A user without a card, whom the auditor objects to.
async fn user(db: &TestDb, user: UserId) {
    db.write("test", user.to_string(), async move |tx: &mut Tx| -> Result<u64, DbError> {
        tx.query(
            "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
             VALUES ($1, 'key-none', 'card', $2, $2, 'active', 1)",
        )
        .bind(user.to_string())
        .bind([1u8; 32])
        .execute()
        .await
    })
    .await
    .unwrap();
}

/// A message such as a claim leaves behind, for a user of its own.
async fn enqueue(db: &TestDb, number: u8) {
    db.run("INSERT INTO publisher (publisher_id, name, created_at) VALUES ('p', 'P', 1) ON CONFLICT DO NOTHING").await;
    db.run("INSERT INTO title (title_id, publisher_id, name, kind, created_at) VALUES ('sky-raider', 'p', 'T', 'game', 1) ON CONFLICT DO NOTHING")
        .await;
    user(db, UserId::from_bytes([number; 16])).await;
    let (grant, user) = (GrantId::from_bytes([number; 16]), UserId::from_bytes([number; 16]));
    let medium = MediumId::pressed(counterfoil_core::BatchId([number; 8]), 1);
    let title: TitleId = "sky-raider".parse().unwrap();
    let payload = json!({ "user": user, "grant": grant, "medium": medium, "title": title, "at": Timestamp(1) }).to_string();
    db.write("test", medium.as_str().to_owned(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        outbox::enqueue(tx, medium.as_str(), &grant.to_string(), counterfoil_server::jobs::ENTITLEMENT, &payload, 1, 1).await
    })
    .await
    .unwrap();
}

async fn delivered(db: &TestDb, count: i64) -> bool {
    db.number("SELECT count(*) FROM entitlement").await == count && db.number("SELECT count(*) FROM outbox").await == 0
}

async fn wait_delivered(db: &TestDb, count: i64) {
    for _ in 0..400 {
        if delivered(db, count).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let waiting = db.read("test", async |tx: &mut Tx| outbox_errors(tx).await).await;
    panic!("{count} messages are not delivered within 20 s: {waiting:?}");
}

/// Returns once whoever leads on PostgreSQL has renewed the lease so often.
async fn wait_renewed(db: &TestDb, times: i64) {
    let beat = async || db.number("SELECT COALESCE(max(beat), 0) FROM lease").await;
    let from = beat().await;
    for _ in 0..600 {
        if beat().await >= from + times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the lease was not renewed {times} times within 30 s");
}

async fn outbox_errors(tx: &mut Tx) -> Result<Vec<(Option<String>,)>, DbError> {
    tx.query("SELECT last_error FROM outbox").all().await
}

/// Two processes on PostgreSQL; the one that leads comes first.
fn two(db: &TestDb, data: &Path) -> [Process; 2] {
    init(db, data);
    let first = Process::start(data, "first");
    wait("the first leads", TAKEN_OVER, || first.leads());
    let second = Process::start(data, "second");
    assert_eq!(second.jobs(), "elsewhere");
    [first, second]
}

// proves: D11
#[test]
fn d11_a_killed_leader_is_replaced_within_15_seconds_and_nothing_is_left_undelivered() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let data = tempfile::tempdir().unwrap();
            let [mut first, second] = two(&db, data.path());
            enqueue(&db, 1).await;
            wait_delivered(&db, 1).await;
            assert!(!second.leads() && second.figure("counterfoil_leads") != Some(1.0));
            first.child.kill().unwrap();
            first.child.wait().unwrap();
            enqueue(&db, 2).await;
            let taken = wait("the second leads", TAKEN_OVER, || second.leads());
            eprintln!("a killed leader was replaced after {taken:?}");
            wait_delivered(&db, 2).await;
            assert_eq!(second.figure("counterfoil_leads"), Some(1.0));
        },
    );
}

// proves: D11
#[test]
fn d11_a_leader_that_stood_still_has_lost_when_it_wakes() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let data = tempfile::tempdir().unwrap();
            let [first, second] = two(&db, data.path());
            first.signal(Signal::STOP);
            enqueue(&db, 1).await;
            let taken = wait("the second leads", TAKEN_OVER, || second.leads());
            eprintln!("a leader that stood still was replaced after {taken:?}");
            wait_delivered(&db, 1).await;
            // So that it wakes long after.
            wait_renewed(&db, 4).await;
            first.signal(Signal::CONT);
            assert_eq!(first.jobs(), "elsewhere", "its first word after it woke");
            enqueue(&db, 2).await;
            wait_delivered(&db, 2).await;
            assert!(second.leads() && !first.leads());
            wait("the first has noticed", Duration::from_secs(5), || first.log().contains("leads no more"));
            assert!(!second.log().contains("leads no more"));
        },
    );
}

#[test]
fn a_leader_that_is_told_to_end_hands_over_at_once() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let data = tempfile::tempdir().unwrap();
            let [mut first, second] = two(&db, data.path());
            first.signal(Signal::TERM);
            let taken = wait("the second leads", Duration::from_secs(5), || second.leads());
            eprintln!("a leader that was told to end was replaced after {taken:?}");
            assert!(first.child.wait().unwrap().success());
        },
    );
}

#[test]
fn on_sqlite_a_killed_server_leads_again_as_soon_as_it_is_started() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let data = tempfile::tempdir().unwrap();
            init(&db, data.path());
            let mut first = Process::start(data.path(), "first");
            wait("it leads", Duration::from_secs(5), || first.leads());
            let beside = Process::start(data.path(), "beside");
            assert_eq!(beside.jobs(), "elsewhere");
            drop(beside);
            first.child.kill().unwrap();
            first.child.wait().unwrap();
            let again = Process::start(data.path(), "again");
            wait("it leads again", Duration::from_secs(5), || again.leads());
        },
    );
}

#[test]
fn the_auditor_runs_by_itself_says_what_it_found_and_not_again_after_a_restart() {
    on(
        Engine::Postgres,
        |_| (),
        async |db: TestDb| {
            let data = tempfile::tempdir().unwrap();
            init(&db, data.path());
            user(&db, UserId::from_bytes([1; 16])).await;
            let mut first = Process::start(data.path(), "first");
            let found = "counterfoil_audit_findings";
            wait("the auditor has run", Duration::from_secs(30), || first.figure(found).is_some());
            assert_eq!(first.figure(found), Some(1.0));
            assert!(first.log().contains("the holder of an entry is that user's"), "{}", first.log());
            wait("the log is signed", Duration::from_secs(30), || first.log().contains("the audit log was signed"));
            let doctor = Command::new(env!("CARGO_BIN_EXE_counterfoild")).arg("doctor").arg("--data").arg(data.path()).output().unwrap();
            let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
            assert!(doctor.status.code() == Some(3) && said.contains("WRONG    audit          1 found"), "{said}");
            assert!(said.contains("jobs           done by "), "{said}");

            first.signal(Signal::TERM);
            first.child.wait().unwrap();
            let again = Process::start(data.path(), "again");
            // What was found is told by whoever leads next, and nobody looks again before the day is over.
            wait("what was found is shown", Duration::from_secs(15), || again.figure(found) == Some(1.0));
            // What is overdue begins within 5 s, and a lease is renewed every 3.
            wait_renewed(&db, 3).await;
            assert!(!again.log().contains("the auditor has looked"), "{}", again.log());
            drop(again);
        },
    );
}

db_test!(a_lease_is_taken_as_it_was_seen_or_not_at_all, async |db: TestDb| {
    let seen = async |db: &TestDb| db.read("test", async |tx: &mut Tx| lease::find(tx, "x").await).await.unwrap();
    let take = async |seen: Option<Lease>, me: &'static str| {
        db.write("test", lease::FAMILY, async move |tx: &mut Tx| lease::take(tx, "x", seen.as_ref(), me).await).await.unwrap()
    };
    let renew =
        async |me: &'static str| db.write("test", lease::FAMILY, async move |tx: &mut Tx| lease::renew(tx, "x", me).await).await.unwrap();
    assert_eq!(seen(&db).await, None);
    assert!(take(None, "one").await && !take(None, "two").await);
    let first = seen(&db).await;
    assert_eq!(first, Some(Lease { holder: Some("one".to_owned()), beat: 1 }));
    assert!(renew("one").await && !renew("two").await);
    assert!(!take(first, "two").await, "it has moved since");
    let second = seen(&db).await;
    assert!(take(second.clone(), "two").await && !take(second, "three").await);
    assert!(!renew("one").await, "who lost it cannot renew");
    let release =
        async |me: &'static str| db.write("test", lease::FAMILY, async move |tx: &mut Tx| lease::release(tx, "x", me).await).await.unwrap();
    assert!(!release("one").await && release("two").await);
    let free = seen(&db).await;
    assert_eq!(free.as_ref().unwrap().holder, None);
    assert!(take(free, "three").await);
});
