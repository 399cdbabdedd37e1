//! Every invariant of the auditor is broken on purpose, and it must say which.

use crate::support;
use crate::support::{bought, charged, exchanged, handed_in, reissued};

use bought::BOUGHT;
use counterfoil_core::{CardId, HolderId};
use counterfoil_format::holder::id_of;
use counterfoil_server::auditor;
use support::{TestDb, db_test};

/// A publisher, a title, a batch, two users, one claimed and confirmed medium; everything as it should be.
const GOOD: &[&str] = &[
    "INSERT INTO publisher (publisher_id, name, sign_key, created_at) VALUES ('p', 'P', CAST('k' AS BYTEA), 1)",
    "INSERT INTO title (title_id, publisher_id, name, kind, created_at) VALUES ('t', 'p', 'T', 'game', 1)",
    "INSERT INTO batch (batch_id, publisher_id, name, origin, count, rights, claim_key, created_at)
       VALUES ('bat-1', 'p', '', 'pressed', 10, '{\"copies\":2}', CAST('k' AS BYTEA), 1)",
    "INSERT INTO batch_title (batch_id, position, title_id, version) VALUES ('bat-1', 0, 't', '1')",
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('key-1', 'card', 'usr-1', 'registered', 1)",
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('key-2', 'card', 'usr-2', 'registered', 1)",
    "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
       VALUES ('usr-1', 'key-1', 'card', CAST('s' AS BYTEA), CAST('s' AS BYTEA), 'active', 1)",
    "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
       VALUES ('usr-2', 'key-2', 'card', CAST('s' AS BYTEA), CAST('s' AS BYTEA), 'active', 1)",
    // A user without a card, whose devices hold their own keys: the second of two, and the first was taken out of the entry.
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('key-3', 'device', 'usr-5', 'registered', 1)",
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('{holder}', 'device', 'usr-5', 'registered', 1)",
    "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at)
       VALUES ('usr-5', 'key-3', 'device', CAST('s' AS BYTEA), CAST('s' AS BYTEA), 'active', 1)",
    "INSERT INTO user_device (user_id, device_id, sign_key, seal_key, secret, created_at)
       VALUES ('usr-5', 'dev-1', CAST('d' AS BYTEA), CAST('d' AS BYTEA), CAST('d' AS BYTEA), 1)",
    "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, epoch, created_at) VALUES ('med-1', 'bat-1', 1, 'claimed', 1, 1, 1)",
    "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at, settled_at)
       VALUES ('med-1', 'grt-1', 1, 't', 1, 'usr-1', 'key-1', 'card', 'settled', CAST('k' AS BYTEA), 1, 2)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('med-1', 1, 1, 'usr-1', 'claim.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at)
     VALUES ('usr-1', 'grt-1', 'medium', 'med-1', 't', 'active', 1, 0, 1)",
    // What is found by name: two people, titles, and batches, which have none.
    "INSERT INTO user_info (user_id, name, created_by, created_at) VALUES ('usr-6', 'Zoë Ann', 'x', 1)",
    "INSERT INTO user_info (user_id, name, created_by, created_at) VALUES ('usr-7', '—', 'x', 1)",
    "INSERT INTO person_word (user_id, word) VALUES ('usr-6', 'zoe'), ('usr-6', 'ann')",
    "INSERT INTO catalogue_word (kind, subject, word) VALUES ('title', 't', 't'), ('title', 'u', 'u'), ('title', 'v', 'v')",
    // Somebody who had their data deleted.
    "INSERT INTO user_info (user_id, name, created_by, created_at, erased_at) VALUES ('usr-8', '', 'x', 1, 2)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-8', 1, 2, 'x', 'person.erased', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// What is done to it, and which sentence it breaks.
const PLANTED: &[(&[&str], &str)] = &[
    (
        &["UPDATE medium SET epoch = 2", "UPDATE batch SET refreshes = 1", "UPDATE audit SET event = 'medium.refreshed'", "UPDATE batch SET refreshes = 0"],
        "a medium has proven itself under no claim secret that was not ordered",
    ),
    (&["UPDATE medium SET epoch = 0"], "a medium has proven itself under no claim secret that was not ordered"),
    (
        &["UPDATE batch SET refreshes = 1", "UPDATE medium SET epoch = 2"],
        "a medium is moved on to a claim secret only with its record in the audit log",
    ),
    (&["UPDATE user_info SET name = 'Ada' WHERE user_id = 'usr-8'"], "of an erased person nothing is written down"),
    (&["UPDATE user_info SET address = 'x' WHERE user_id = 'usr-8'"], "of an erased person nothing is written down"),
    (&["DELETE FROM audit WHERE event = 'person.erased'"], "nobody is erased without its record in the audit log"),
    (&["DELETE FROM person_word WHERE word = 'ann'"], "a name is found by its words, and by no others"),
    (&["UPDATE person_word SET word = 'zoé' WHERE word = 'zoe'"], "a name is found by its words, and by no others"),
    (&["INSERT INTO person_word (user_id, word) VALUES ('usr-7', 'ada')"], "a name is found by its words, and by no others"),
    (&["INSERT INTO person_word (user_id, word) VALUES ('usr-8', 'ada')"], "a name is found by its words, and by no others"),
    (&["INSERT INTO person_word (user_id, word) VALUES ('usr-99', 'ada')"], "a name is found by its words, and by no others"),
    (&["INSERT INTO catalogue_word (kind, subject, word) VALUES ('title', 't', 'x')"], "a name is found by its words, and by no others"),
    (&["DELETE FROM catalogue_word WHERE subject = 'u'"], "a name is found by its words, and by no others"),
    (&["INSERT INTO catalogue_word (kind, subject, word) VALUES ('batch', 'bat-9', 'x')"], "a name is found by its words, and by no others"),
    (&["UPDATE batch SET name = 'Autumn' WHERE batch_id = 'bat-1'"], "a name is found by its words, and by no others"),
    (&["UPDATE medium SET copies_claimed = 2"], "a medium counts as many copies as its live grants say"),
    (&["UPDATE medium SET state = 'unclaimed'"], "a medium is claimed exactly when a copy of it is"),
    (&["UPDATE medium SET state = 'lost'"], "a medium is claimed exactly when a copy of it is"),
    (
        &["INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at)
             VALUES ('med-1', 'grt-2', 1, 't', 1, 'usr-2', 'key-2', 'card', 'delivered', CAST('k' AS BYTEA), 1)"],
        "one copy belongs to one user, holder, device and drive",
    ),
    (
        &["INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at)
             VALUES ('med-1', 'grt-2', 1, 't', 1, 'usr-1', 'key-1', 'card', 'delivered', CAST('k' AS BYTEA), 1)"],
        "one copy grants each title of its batch once",
    ),
    (&["UPDATE grants SET settled_at = NULL"], "a grant is settled exactly when it has a time of settlement"),
    (&["UPDATE grants SET state = 'other'"], "a grant is settled exactly when it has a time of settlement"),
    (&["UPDATE audit SET event = 'refused'"], "no key is out without its record in the audit log"),
    (&["UPDATE grants SET user_id = 'usr-3'"], "a grant belongs to a user who is registered"),
    (
        &[
            "DELETE FROM entitlement WHERE source = 'medium'",
            "INSERT INTO outbox (family, operation_id, kind, payload, created_at, due_at, attempts)
               VALUES ('med-1', 'grt-2', 'entitlement', '{}', 1, 1, 0)",
        ],
        "a user is told of every grant, or about to be",
    ),
    (&["UPDATE batch SET rights = '{\"copies\":0}'"], "a medium is claimed as often as its rights allow, at most"),
    (&["DELETE FROM entitlement WHERE source = 'medium'"], "a user is told of every grant, or about to be"),
    (&["UPDATE entitlement SET entitlement_id = 'grt-9' WHERE medium_id = 'med-1'"], "an entitlement from a medium has a grant behind it"),
    (&["UPDATE entitlement SET user_id = 'usr-2' WHERE source = 'medium'"], "an entitlement from a medium has a grant behind it"),
    (&["UPDATE holder SET user_id = 'usr-2'"], "the holder of an entry is that user's, and nobody else's"),
    (&["UPDATE holder SET user_id = 'usr-1' WHERE user_id = 'usr-5'"], "a device in an entry without a card is a holder of that user, and of nobody else"),
    (&["UPDATE user_device SET sign_key = CAST('other' AS BYTEA)"], "a device in an entry without a card is a holder of that user, and of nobody else"),
    (
        &["INSERT INTO feed (title_id, sequence, document, expires_at, updated_at) VALUES ('t', 1, 'd', 2, 1)"],
        "the number of a title's feed only rises, and the one that is there was taken last",
    ),
    (
        &["INSERT INTO status (user_id, device_id, title_id, channel, version, document, reported_at)
             VALUES ('usr-1', 'dev-1', 't', 'stable', '1.0', '{}', 1)"],
        "no release is noted at a device without its record in the audit log",
    ),
    (&["DELETE FROM holder"], "the holder of an entry is that user's, and nobody else's"),
    (
        &[
            "UPDATE medium SET copies_claimed = 3",
            "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at)
               VALUES ('med-1', 'grt-2', 2, 't', 1, 'usr-2', 'key-2', 'card', 'delivered', CAST('k' AS BYTEA), 1)",
            "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at)
               VALUES ('med-1', 'grt-3', 3, 't', 1, 'usr-2', 'key-2', 'card', 'delivered', CAST('k' AS BYTEA), 1)",
        ],
        "a medium is claimed as often as its rights allow, at most",
    ),
];

/// What `GOOD` writes into, those first that stand on others.
const TABLES: &[&str] = &[
    "outbox",
    "status",
    "person_word",
    "catalogue_word",
    "user_info",
    "entitlement",
    "grants",
    "medium",
    "user_device",
    "user_entry",
    "holder",
    "audit",
    "batch_title",
    "batch",
    "feed",
    "title",
    "publisher",
];

fn planted() -> impl Iterator<Item = &'static (&'static [&'static str], &'static str)> {
    PLANTED
        .iter()
        .chain(bought::PLANTED)
        .chain(handed_in::PLANTED)
        .chain(exchanged::PLANTED)
        .chain(reissued::PLANTED)
        .chain(charged::PLANTED)
}

async fn good(db: &TestDb) {
    let statements =
        GOOD.iter().chain(BOUGHT).chain(handed_in::HANDED_IN).chain(exchanged::EXCHANGED).chain(reissued::REISSUED).chain(charged::CHARGED);
    db.run_all(statements.map(|sql| portable(db, sql)).collect()).await;
}

/// SQLite says BLOB where PostgreSQL says BYTEA; the statements are written once. `{holder}` follows from the device's keys.
fn portable(db: &TestDb, sql: &'static str) -> &'static str {
    let sql = sql.replace("{holder}", &HolderId::from_bytes(id_of(b"d", b"d")).to_string());
    let sql = sql.replace("{card}", &CardId::from_bytes([8; 16]).to_string()).replace("{dead}", &HolderId::from_bytes([8; 16]).to_string());
    match db.engine() {
        support::Engine::Postgres => sql.leak(),
        support::Engine::Sqlite => sql.replace("AS BYTEA", "AS BLOB").leak(),
    }
}

db_test!(what_is_as_it_should_be_is_not_complained_of, async |db| {
    good(&db).await;
    assert_eq!(auditor::check(&db).await.unwrap(), []);
});

db_test!(every_invariant_broken_on_purpose_is_named, async |db| {
    good(&db).await;
    let tables = charged::TABLES.iter().chain(reissued::TABLES).chain(exchanged::TABLES).chain(handed_in::TABLES).chain(bought::TABLES);
    let everything: Vec<&'static str> = tables.chain(TABLES).map(|table| &*format!("DELETE FROM {table}").leak()).collect();
    for (damage, sentence) in planted() {
        db.run_all(damage.iter().map(|sql| portable(&db, sql)).collect()).await;
        let found = auditor::check(&db).await.unwrap();
        assert!(found.iter().any(|violation| violation.invariant == *sentence), "{sentence}: {damage:?} gave {found:?}");
        // What outlived this would outlive the next as well: it would stand in the way of what is good, or be named at the end.
        db.run_all(everything.clone()).await;
        good(&db).await;
    }
    assert_eq!(auditor::check(&db).await.unwrap(), []);
    // A sentence that nothing here breaks would be one that nobody has seen fail.
    let broken: std::collections::BTreeSet<_> = planted().map(|(_, sentence)| *sentence).collect();
    assert_eq!(broken.len(), auditor::sentences().count());
});
