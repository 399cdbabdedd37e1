//! The audit log notices every edit, deletion, reorder and cut, and a verifier that does not is noticed here.

use crate::support;

use counterfoil_server::db::{Db, DbError, Fault, Lasting, Tx};
use counterfoil_server::store::audit::{self, Checkpoint, Finding, Report};
use serde_json::json;
use support::{TestDb, db_test};

const FAMILIES: i64 = 4;

/// A signature by a keyed hash: who writes to the database does not have the key.
fn sign(checkpoint: &Checkpoint) -> Result<String, String> {
    let said = serde_json::to_string(checkpoint).unwrap();
    Ok(format!("{}.{said}", blake3::keyed_hash(&[7; 32], said.as_bytes())))
}

fn check(signature: &str) -> Result<Checkpoint, String> {
    let (mac, said) = signature.split_once('.').ok_or("no signature")?;
    if mac != blake3::keyed_hash(&[7; 32], said.as_bytes()).to_string() {
        return Err("the signature does not hold".to_owned());
    }
    serde_json::from_str(said).map_err(|error| error.to_string())
}

async fn append(db: &Db, family: String, at: i64) {
    db.write("append", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
        audit::append(tx, &family, at, "usr-1", "claimed", &json!({ "title": "sky-raider", "at": at })).await.map(drop)
    })
    .await
    .unwrap();
}

async fn verify(db: &Db) -> Report {
    audit::verify(db, vec![], check).await.unwrap()
}

/// Four chains of six rows, a checkpoint, and two more rows each.
async fn fill(db: &Db) -> String {
    for at in 0..6 {
        for family in 0..FAMILIES {
            append(db, format!("med-{family}"), at).await;
        }
    }
    let (made, signature) = audit::checkpoint(db, 100, sign).await.unwrap().unwrap();
    assert_eq!((made.number, made.entries), (1, FAMILIES));
    for at in 6..8 {
        for family in 0..FAMILIES {
            append(db, format!("med-{family}"), at).await;
        }
    }
    signature
}

db_test!(an_honest_log_verifies, async |db| {
    assert_eq!(verify(&db).await, Report::default());
    let first = fill(&db).await;
    assert!(verify(&db).await.is_clean());
    let (second, exported) = audit::checkpoint(&db, 200, sign).await.unwrap().unwrap();
    assert_eq!(second.prev, check(&first).unwrap().hash());
    assert_eq!(audit::checkpoint(&db, 300, sign).await.unwrap(), None, "nothing has moved since");
    append(&db, "med-1".to_owned(), 9).await;
    let (third, _) = audit::checkpoint(&db, 400, sign).await.unwrap().unwrap();
    assert_eq!((third.number, third.entries), (3, 1));
    let report = audit::verify(&db, vec![first, exported], check).await.unwrap();
    assert_eq!((report.rows, report.families, report.checkpoints, &report.findings[..]), (33, 4, 3, &[][..]));
});

db_test!(many_append_to_one_chain_at_once, async |db| {
    let second = db.second().await;
    let writers = (0..40).map(|n| {
        tokio::spawn({
            let db = if n % 2 == 0 { db.db.clone() } else { second.clone() };
            async move { append(&db, "med-busy".to_owned(), n).await }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let report = verify(&db).await;
    assert_eq!((report.rows, report.is_clean()), (40, true), "{report:?}");
    second.close().await;
});

db_test!(checkpoints_hold_while_others_append, async |db| {
    for family in 0..20 {
        append(&db, format!("med-{family}"), 0).await;
    }
    let writers = (0..200).map(|n| {
        tokio::spawn({
            let db = db.db.clone();
            async move { append(&db, format!("med-{}", n % 20), n).await }
        })
    });
    let writers = writers.collect::<Vec<_>>();
    let mut made = 0;
    for now in 0..6 {
        made += i32::from(audit::checkpoint(&db, now, sign).await.unwrap().is_some());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    made += i32::from(audit::checkpoint(&db, 9, sign).await.unwrap().is_some());
    let report = verify(&db).await;
    assert!(made > 0 && report.is_clean(), "{made} checkpoints: {report:?}");
    assert_eq!(db.number("SELECT count(*) FROM audit_head WHERE checkpoint IS NULL").await, 0);
});

db_test!(a_checkpoint_is_made_at_once_whichever_commit_was_not_answered, async |db| {
    for n in 0..20 {
        append(&db, "usr-1".to_owned(), 1).await;
        db.faults.arm(Fault::CommitAnswer(n), Lasting::Once);
        let made = audit::checkpoint(&db, 100 + n.cast_signed(), sign).await.unwrap();
        let fired = db.faults.fired();
        db.faults.disarm();
        assert!(made.is_some(), "COMMIT {n}: its own beginning taken for somebody else's");
        if fired == 0 {
            assert!(n >= 3, "begun, entered, sealed");
            return assert!(verify(&db).await.is_clean());
        }
    }
    panic!("the fault never ended");
});

db_test!(a_checkpoint_that_its_server_left_is_finished_by_another, async |db| {
    fill(&db).await;
    let failed = audit::checkpoint(&db, 200, |_| Err("the key is locked".to_owned())).await;
    assert!(failed.is_err());
    assert!(verify(&db).await.is_clean(), "unfinished is not broken");
    append(&db, "med-0".to_owned(), 300).await;
    assert_eq!(audit::checkpoint(&db, 300, sign).await.unwrap(), None, "its server may still be at it");
    let (made, _) = audit::checkpoint(&db, 200 + 600_000, sign).await.unwrap().unwrap();
    assert_eq!((made.number, made.entries), (2, FAMILIES));
    assert!(verify(&db).await.is_clean());
});

/// One way to tamper. `seed` chooses what and where.
struct Mutation {
    what: &'static str,
    statements: Vec<(&'static str, Vec<Value>)>,
}

#[derive(Clone)]
enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl<'a> From<&'a Value> for counterfoil_server::db::Value<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Int(x) => (*x).into(),
            Value::Text(x) => x.into(),
            Value::Bytes(x) => x.into(),
        }
    }
}

fn mutation(seed: u64) -> Mutation {
    // Knuth's multiplier spreads the seeds over all places.
    let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let mut below = |limit: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % u64::try_from(limit).unwrap()).unwrap()
    };
    let family = Value::Text(format!("med-{}", below(FAMILIES)));
    let seq = 1 + below(8);
    let at_seq = |extra: Vec<Value>| [extra, vec![family.clone(), Value::Int(seq)]].concat();
    let (what, statements): (_, Vec<(&'static str, Vec<Value>)>) = match seed % 16 {
        0 => ("edit event", vec![("UPDATE audit SET event = 'refused' WHERE family = $1 AND seq = $2", at_seq(vec![]))]),
        1 => ("edit detail", vec![("UPDATE audit SET detail = detail || ' ' WHERE family = $1 AND seq = $2", at_seq(vec![]))]),
        2 => (
            "edit actor",
            vec![(
                "UPDATE audit SET actor = $1 WHERE family = $2 AND seq = $3",
                at_seq(vec![Value::Text(format!("usr-{}", 2 + below(9)))]),
            )],
        ),
        3 => {
            ("edit time", vec![("UPDATE audit SET at = at + $1 WHERE family = $2 AND seq = $3", at_seq(vec![Value::Int(1 + below(1000))]))])
        }
        4 => (
            "edit hash",
            vec![("UPDATE audit SET hash = $1 WHERE family = $2 AND seq = $3", at_seq(vec![Value::Bytes(vec![below(256) as u8; 32])]))],
        ),
        5 => (
            "cut hash short",
            vec![("UPDATE audit SET hash = $1 WHERE family = $2 AND seq = $3", at_seq(vec![Value::Bytes(vec![1, 2, 3])]))],
        ),
        6 => (
            "edit prev",
            vec![("UPDATE audit SET prev = $1 WHERE family = $2 AND seq = $3", at_seq(vec![Value::Bytes(vec![below(256) as u8 | 1; 32])]))],
        ),
        7 => ("delete row", vec![("DELETE FROM audit WHERE family = $1 AND seq = $2", at_seq(vec![]))]),
        8 => (
            "delete row and close the gap",
            vec![
                ("DELETE FROM audit WHERE family = $1 AND seq = $2", at_seq(vec![])),
                ("UPDATE audit SET seq = -seq WHERE family = $1 AND seq > $2", at_seq(vec![])),
                ("UPDATE audit SET seq = -seq - 1 WHERE family = $1 AND seq < 0", vec![family.clone()]),
            ],
        ),
        9 => {
            let other = Value::Int(1 + seq % 8);
            (
                "reorder rows",
                vec![
                    ("UPDATE audit SET seq = -1 WHERE family = $1 AND seq = $2", vec![family.clone(), other.clone()]),
                    ("UPDATE audit SET seq = $1 WHERE family = $2 AND seq = $3", at_seq(vec![other])),
                    ("UPDATE audit SET seq = $1 WHERE family = $2 AND seq = -1", vec![Value::Int(seq), family.clone()]),
                ],
            )
        }
        10 => ("cut the end", vec![("DELETE FROM audit WHERE family = $1 AND seq >= $2", at_seq(vec![]))]),
        11 => {
            // A clean cut behind the checkpoint, head moved to match: only the checkpoint knows.
            let seq = Value::Int(2 + below(5));
            (
                "cut with the head",
                vec![
                    ("DELETE FROM audit WHERE family = $1 AND seq >= $2", vec![family.clone(), seq.clone()]),
                    (
                        "UPDATE audit_head SET checkpoint = NULL, seq = $1, hash = (SELECT hash FROM audit WHERE audit.family = $2 AND audit.seq = $1) WHERE family = $2",
                        vec![
                            Value::Int(match seq {
                                Value::Int(seq) => seq - 1,
                                _ => 0,
                            }),
                            family.clone(),
                        ],
                    ),
                ],
            )
        }
        12 => (
            "delete a family",
            vec![
                ("DELETE FROM audit WHERE family = $1", vec![family.clone()]),
                ("DELETE FROM audit_head WHERE family = $1", vec![family.clone()]),
            ],
        ),
        13 => ("move a row to another family", vec![("UPDATE audit SET family = 'med-x' WHERE family = $1 AND seq = $2", at_seq(vec![]))]),
        14 => (
            "edit an entry",
            vec![("UPDATE audit_checkpoint_entry SET seq = seq - 1 WHERE family = $1 AND number = 1", vec![family.clone()])],
        ),
        _ => ("delete an entry", vec![("DELETE FROM audit_checkpoint_entry WHERE family = $1 AND number = 1", vec![family.clone()])]),
    };
    Mutation { what, statements }
}

/// Tampers, verifies, and rolls back by a copy of the untouched tables.
async fn detected(db: &TestDb, seed: u64) -> (&'static str, bool, Vec<Finding>) {
    let Mutation { what, statements } = mutation(seed);
    let tampered = db
        .write("tamper", "audit", async move |tx: &mut Tx| -> Result<u64, DbError> {
            let mut rows = 0;
            for (sql, values) in &statements {
                let query = values.iter().fold(tx.query(sql), |query, value| query.bind(value));
                rows += query.execute().await?;
            }
            Ok(rows)
        })
        .await
        .unwrap();
    let report = verify(db).await;
    db.write("restore", "audit", async |tx: &mut Tx| -> Result<(), DbError> {
        for sql in RESTORE {
            tx.query(sql).execute().await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    (what, tampered > 0, report.findings)
}

const RESTORE: [&str; 6] = [
    "DELETE FROM audit",
    "DELETE FROM audit_head",
    "DELETE FROM audit_checkpoint_entry",
    "INSERT INTO audit SELECT * FROM good_audit",
    "INSERT INTO audit_head SELECT * FROM good_audit_head",
    "INSERT INTO audit_checkpoint_entry SELECT * FROM good_audit_checkpoint_entry",
];

/// So many mutations with every change, and `COUNTERFOIL_TEST_LONG` times as many by hand.
async fn tampering(db: &TestDb, mutations: u64) {
    let mutations = mutations * std::env::var("COUNTERFOIL_TEST_LONG").map_or(1, |times| times.parse::<u64>().unwrap());
    fill(db).await;
    db.run("CREATE TABLE good_audit AS SELECT * FROM audit").await;
    db.run("CREATE TABLE good_audit_head AS SELECT * FROM audit_head").await;
    db.run("CREATE TABLE good_audit_checkpoint_entry AS SELECT * FROM audit_checkpoint_entry").await;
    for seed in 0..mutations {
        let (what, tampered, findings) = detected(db, seed).await;
        assert!(tampered, "seed {seed}, {what}: nothing was changed");
        assert!(!findings.is_empty(), "seed {seed}, {what}: not noticed");
    }
    assert!(verify(db).await.is_clean(), "the last restoration failed");
}

mod tampering_is_noticed {
    use super::*;
    use support::{Engine, on};

    #[test]
    fn sqlite() {
        on(Engine::Sqlite, |_| (), async |db: TestDb| tampering(&db, 1200).await);
    }

    #[test]
    fn postgres() {
        on(Engine::Postgres, |_| (), async |db: TestDb| tampering(&db, 160).await);
    }
}

db_test!(tampering_with_checkpoints_is_noticed, async |db| {
    let first = fill(&db).await;
    let (_, second) = audit::checkpoint(&db, 200, sign).await.unwrap().unwrap();
    db.run("UPDATE audit_checkpoint SET at = at + 1 WHERE number = 1").await;
    let findings = verify(&db).await.findings;
    assert!(findings.iter().any(|finding| matches!(finding, Finding::CheckpointUnsigned { number: 1, .. })), "{findings:?}");
    db.run("UPDATE audit_checkpoint SET at = at - 1 WHERE number = 1").await;
    assert!(verify(&db).await.is_clean());

    // Who rewrites a chain and everything above it lacks the key.
    db.run("UPDATE audit_checkpoint SET signature = '0.{}' WHERE number = 2").await;
    assert!(!verify(&db).await.is_clean());

    // All traces of the second checkpoint removed, and what it held cut: consistent in itself, and known only by what was kept elsewhere.
    db.run("DELETE FROM audit_checkpoint WHERE number = 2").await;
    db.run("DELETE FROM audit_checkpoint_entry WHERE number = 2").await;
    db.run("DELETE FROM audit WHERE seq > 6").await;
    db.run(
        "UPDATE audit_head SET seq = 6, checkpoint = 1,
             hash = (SELECT hash FROM audit WHERE audit.family = audit_head.family AND audit.seq = 6)",
    )
    .await;
    assert!(verify(&db).await.is_clean(), "this is what a cut after the last checkpoint looks like");
    let report = audit::verify(&db, vec![first, second], check).await.unwrap();
    assert_eq!(report.findings, [Finding::ExportDiffers { number: 2 }]);
    let report = audit::verify(&db, vec!["forged".to_owned()], check).await.unwrap();
    assert!(matches!(report.findings[..], [Finding::ExportUnreadable { .. }]));
});

// The planted bug: a verifier that believes every row's own hash. If the tampering above were only noticed by other checks, this would too.
db_test!(a_verifier_that_skips_the_hash_would_be_caught, async |db| {
    fill(&db).await;
    db.run("UPDATE audit SET event = 'refused' WHERE family = 'med-1' AND seq = 3").await;
    let lazy = audit::verify_with(&db, vec![], check, |_| true).await.unwrap();
    assert!(lazy.is_clean(), "only the hash tells an edit: the broken verifier must miss it, or the test proves nothing");
    let report = verify(&db).await;
    assert_eq!(report.findings, [Finding::Edited { family: "med-1".to_owned(), seq: 3 }]);
});
