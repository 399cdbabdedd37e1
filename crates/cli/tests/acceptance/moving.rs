//! An operator outgrows one machine: the authority is moved from SQLite to PostgreSQL while terminals and publishers go on working (D11).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use counterfoil_core::Code;
use serde_json::{Value, json};

use crate::world::{Device, Engine, Outcome, World, outcome, wait_until};

/// One publisher made for each number, again and again until it is acknowledged, with the same key each time.
fn make_publisher(world: &World, number: u32) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let sent = agent
        .post(format!("{}/v1/publishers", world.url))
        .header("authorization", format!("Bearer {}", world.token))
        .header("idempotency-key", format!("publisher-number-{number:04}"))
        .send_json(json!({ "id": format!("pub-{number:04}"), "name": "A publisher" }));
    match sent {
        Ok(mut response) => (response.status().as_u16(), response.body_mut().read_json().unwrap_or(Value::Null)),
        Err(_) => (0, Value::Null),
    }
}

/// Many media hold the same title; each is claimed all the same.
fn copy(person: &Device, disc: &Path) -> Outcome {
    let library = person.library.as_os_str();
    person.run([OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), library, OsStr::new("--again")])
}

/// What was acknowledged, and what was not.
#[derive(Default)]
struct Told {
    copied: Mutex<Vec<(usize, PathBuf)>>,
    failed: Mutex<Vec<(usize, PathBuf)>>,
    publishers: Mutex<BTreeMap<u32, Value>>,
    codes: Mutex<Vec<String>>,
}

fn work(world: &World, people: &[Device], discs: &[PathBuf], told: &Told) {
    let moved = AtomicBool::new(false);
    let moved = &moved;
    std::thread::scope(|scope| {
        for (place, person) in people.iter().enumerate() {
            let mine: Vec<_> = discs.iter().skip(place).step_by(people.len()).collect();
            scope.spawn(move || {
                let last = mine.len() - 1;
                for (number, disc) in mine.into_iter().enumerate() {
                    // However quick they are, something is left to be tried where nobody takes it any more.
                    if number == last {
                        wait_until("the database is moved", || moved.load(Ordering::Acquire));
                    }
                    let done = copy(person, disc).output.status.success();
                    let list = if done { &told.copied } else { &told.failed };
                    list.lock().expect("no panic").push((place, disc.clone()));
                }
            });
        }
        scope.spawn(|| {
            for number in 0.. {
                let (status, answer) = make_publisher(world, number);
                if status == 200 || status == 201 {
                    told.publishers.lock().expect("no panic").insert(number, answer);
                } else if let Some(code) = answer["code"].as_str() {
                    told.codes.lock().expect("no panic").push(code.to_owned());
                    if code == "store_moved" {
                        break;
                    }
                }
            }
        });
        wait_until("terminals are at work", || told.copied.lock().expect("no panic").len() >= people.len());
        let mut moving = world.operator(["migrate-store", "--json", "--from"]);
        moving.arg(format!("sqlite:{}", world.path("server/counterfoil.db").display())).args(["--to", world.database()]);
        let moving = outcome(moving).done().json();
        moved.store(true, Ordering::Release);
        assert!(moving["tables"].as_array().is_some_and(|tables| tables.len() > 20), "{moving}");
    });
}

// proves: D11
#[test]
fn d11_a_running_authority_is_moved_and_nothing_acknowledged_is_lost() {
    let limits = [("COUNTERFOILD__LIMITS__REQUESTS_PER_SECOND", "0"), ("COUNTERFOILD__LIMITS__TOKEN_REQUESTS_PER_SECOND", "0")];
    let mut world = World::with_settings(Engine::Sqlite, &limits);
    let discs = world.discs(24);
    let people: Vec<Device> = ["anna", "ben", "carl"].iter().map(|name| world.person(name)).collect();
    let target = world.make_database();
    let told = Told::default();
    let (untouched, discs) = discs.split_last().expect("there are some");
    work(&world, &people, discs, &told);
    let (copied, failed) = (told.copied.into_inner().expect("no panic"), told.failed.into_inner().expect("no panic"));
    let (publishers, codes) = (told.publishers.into_inner().expect("no panic"), told.codes.into_inner().expect("no panic"));
    assert!(!copied.is_empty() && !publishers.is_empty(), "nothing was acknowledged before the move: {codes:?}");
    assert!(!failed.is_empty(), "nothing was tried after the move");
    let moving = ["store_moving", "store_moved", "unavailable"];
    assert!(codes.iter().all(|code| moving.contains(&code.as_str())), "{codes:?}");
    assert_eq!(codes.last().map(String::as_str), Some("store_moved"));

    // The old database says where the new one is, to servers too.
    world.kill();
    let started = outcome(world.operator(["serve", "--listen", "127.0.0.1:0"]));
    started.failed(3, "was moved to postgres://");

    world.configure("COUNTERFOILD__DATABASE__URL", &target);
    world.start();
    // Who was told yes has what was promised; the medium knows it, whoever asks.
    for (place, disc) in &copied {
        people[*place].plays_all("sky-raider", &world.small_tree());
        let other = &people[(place + 1) % people.len()];
        copy(other, disc).refused(Code::MediumSpent);
    }
    // Who was told nothing repeats it at the same address, and gets it.
    for (place, disc) in &failed {
        copy(&people[*place], disc).done();
    }
    // A request that was answered before is known after: same answer, no second effect.
    for (number, answer) in &publishers {
        let (status, again) = make_publisher(&world, *number);
        assert!(status < 300 && again == *answer, "{number}: {status} {again}");
    }
    let audit = outcome(world.operator(["audit", "verify", "--json"])).done().json();
    assert_eq!(audit["clean"], true, "{audit}");
    let newcomer = world.person("dora");
    copy(&newcomer, untouched).done();
}
