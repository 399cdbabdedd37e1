//! Planning for a fleet, measured: one title of 1,000 releases with 10⁵ chunks each, and devices that hold any of them.
//!
//! `cargo test --release -p counterfoil-server --test fleet -- --ignored --nocapture`. Requests are whole: the envelope is opened, the
//! signature verified, facts are read from the database, and the answer is signed. A program of its own: only this one is optimized, and all
//! the tests together would take half an hour to build so.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
#![allow(clippy::disallowed_methods, reason = "it is measured how long plans take")]

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the other tests' part of it")]
mod support;

use std::time::Instant;

use counterfoil_core::wire::{ReportResult, WayKind};
use counterfoil_format::content::{
    ChunkId, ContentKey, Encoder, Kind, Manifest, ManifestBuilder, ManifestRef, OVERHEAD, ObjectName, Release as Document, Run, TAG_LEN,
};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::audit;
use counterfoil_server::store::release::{self as store, Release, ReleaseObject, Said};
use futures_util::StreamExt as _;

use serde_json::json;
use support::catalogue::{TestServer, publisher_key};
use support::released::{noise, status};
use support::terminal::{Terminal, exchange, press, request};
use support::{Engine, TestDb, on, released};

const TITLE: &str = "sky-raider";

const RELEASES: i64 = 1000;
const CHUNKS: u32 = 100_000;
/// Releases share manifests beyond so many: each is some megabytes on disk.
const MANIFESTS: i64 = 25;
const SEALED: u32 = 40_000;
const IN_A_PACK: u32 = 800;
const REPORTS: usize = 4000;
const AT_ONCE: usize = 8;

/// Each release has one chunk in a hundred that the one before has not.
fn manifest(number: i64) -> Manifest {
    let mut builder = ManifestBuilder::new();
    for pack in 0..CHUNKS / IN_A_PACK {
        let mut named = blake3::Hasher::new();
        for index in pack * IN_A_PACK..(pack + 1) * IN_A_PACK {
            let changed = (number + i64::from(index)) / 100;
            let id = *blake3::hash(&[index.to_le_bytes().as_slice(), &changed.to_le_bytes()].concat()).as_bytes();
            named.update(&id);
            builder.chunk(ChunkId(id), SEALED, 64 << 10).unwrap();
        }
        builder.end_pack(ObjectName(*named.finalize().as_bytes())).unwrap();
    }
    builder.file("all.bin", false, &[Run { first: 0, count: CHUNKS }]).unwrap();
    builder.finish().unwrap()
}

fn sealed(manifest: &Manifest, key: &ContentKey) -> (Vec<u8>, ManifestRef) {
    let (plain, keys) = (manifest.encode(), key.chunk_keys());
    let mut sealed = vec![0; plain.len() + OVERHEAD];
    let body = Encoder::new(3).unwrap().encode(&plain, &mut sealed);
    sealed.truncate(body + TAG_LEN);
    let id = keys.id_key().id_of(&sealed[..body]);
    keys.seal_in_place(&id, &mut sealed);
    let reference = ManifestRef { id, object: ObjectName::of(&sealed), length: sealed.len() as u64, size: plain.len() as u64 };
    (sealed, reference)
}

/// The releases after the one that the device was given.
async fn publish_all(server: &TestServer, db: &TestDb) {
    let key = released::content_key(server, TITLE).await;
    let mut made = vec![];
    for number in 0..MANIFESTS {
        let manifest = manifest(number);
        let (bytes, reference) = sealed(&manifest, &key);
        server.put(&server.operator, &format!("/v1/contents/{}", reference.object), bytes).await.expect(201);
        made.push((reference, manifest.size(), manifest.packed_size()));
    }
    let (signer, _) = publisher_key("blue-fox");
    let rows: Vec<(Release, Vec<ReleaseObject>)> = (2..=RELEASES)
        .map(|number| {
            let (manifest, size, packed) = made[(number % MANIFESTS) as usize];
            let version = format!("1.{number}");
            let document = Document {
                title: TITLE.into(),
                version: version.clone(),
                kind: Kind::Game,
                entry: None,
                control: None,
                generation: 1,
                size,
                files: 1,
                manifest,
            };
            // What all packs come to, as one: only the sum counts here.
            let packs = ReleaseObject { object: ObjectName::of(version.as_bytes()), length: packed };
            let row = Release {
                version: version.parse().unwrap(),
                channel: Default::default(),
                number,
                document: document.sign("blue-fox", &signer),
                generation: 1,
                created_at: number,
                said: Said::default(),
                encoder: "zstd 1.5.7 level 3".into(),
            };
            (row, vec![ReleaseObject { object: manifest.object, length: manifest.length }, packs])
        })
        .collect();
    db.write("fleet", format!("/title/{TITLE}"), async move |tx: &mut Tx| -> Result<(), DbError> {
        let title = TITLE.parse().unwrap();
        for (row, objects) in &rows {
            assert!(store::insert(tx, &title, row).await?);
            for object in objects {
                store::insert_object(tx, &title, &row.version, object).await?;
            }
        }
        audit::append(tx, &format!("/title/{TITLE}"), 1, "test", "release.published", &json!({})).await.map(drop)
    })
    .await
    .unwrap();
}

async fn measure(db: TestDb) {
    let server = TestServer::new(&db).await;
    released::title(&server, TITLE).await;
    released::release(&server, TITLE, "1.1", &[("all.bin", noise("all", 900_000))], &[]).await;
    let medium = press(&server, TITLE, 1, json!({})).await.remove(0);
    let desk = Terminal::registered(&server).await;
    let grants = desk.claim(&server, &medium).await.unwrap();
    desk.confirm(&server, &medium, &grants).await.unwrap();
    let grant = &grants[0];
    publish_all(&server, &db).await;
    let asked = |number: i64| {
        let held = status(TITLE, grant.grant_id, Some(&medium), &format!("1.{number}"));
        desk.sealed(&server, &request(&server, desk.report_operation(vec![held])), None)
    };
    let plan = async |number: i64| -> ReportResult { serde_json::from_value(exchange(&server, &asked(number)).await.unwrap()).unwrap() };

    let begun = Instant::now();
    plan(RELEASES).await;
    println!("a title of {RELEASES} releases is read in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    for number in 2..2 + MANIFESTS {
        let result = plan(number).await;
        assert_eq!(result.plans[0].ways.last().unwrap().kind, WayKind::Full);
        assert!(result.plans[0].ways[0].fetch < result.plans[0].ways.last().unwrap().fetch || number % MANIFESTS == RELEASES % MANIFESTS);
    }
    let cold = begun.elapsed().as_secs_f64() / MANIFESTS as f64;
    println!("cold: {:.0} ms for a plan whose manifest of {CHUNKS} chunks nobody has opened yet", cold * 1e3);
    for number in 2..RELEASES {
        plan(number).await;
    }

    // The device goes back and forth here; what it says is news each time, and is noted. So the same one is asked about again.
    let envelopes: Vec<Vec<u8>> = (0..REPORTS).map(|_| asked(7)).collect();
    let begun = Instant::now();
    let mut answers = futures_util::stream::iter(&envelopes).map(|envelope| exchange(&server, envelope)).buffer_unordered(AT_ONCE);
    let mut planned = 0;
    while let Some(answer) = answers.next().await {
        planned += usize::from(answer.is_ok());
    }
    assert_eq!(planned, REPORTS);
    println!("warm: {:.0} plans a second, {AT_ONCE} at once on one server", REPORTS as f64 / begun.elapsed().as_secs_f64());
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("memory: {}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("unknown"));
}

#[test]
#[ignore = "a measurement: bench/run plans"]
fn a5_plans_for_a_fleet_on_sqlite() {
    on(Engine::Sqlite, |_| (), measure);
}

#[test]
#[ignore = "a measurement: bench/run plans"]
fn a5_plans_for_a_fleet_on_postgres() {
    on(Engine::Postgres, |_| (), measure);
}
