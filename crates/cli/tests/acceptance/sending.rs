//! A title sent to another device, whose agent does it and tells how far it is; paused, held back, at a pace, and by itself (A2, A5).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use counterfoil_core::Code;
use serde_json::Value;

use crate::household::{TITLE, desk, laptop, sell, with_library};
use crate::world::{Device, World, noise, scenario, set_mode, wait_until, write};

fn publish(world: &World, version: &str, bytes: usize) {
    let tree = world.path(&format!("tree-{version}"));
    write(&tree.join("bin/game"), format!("#!/bin/sh\necho {version}\n").as_bytes());
    set_mode(&tree.join("bin/game"), 0o755);
    write(&tree.join("data/level"), &noise(3, bytes));
    world.publish(TITLE, version, &tree, &["--entry", "bin/game", "--kind", "game"]).done();
}

fn on_sale(world: &World, bytes: usize) {
    publish(world, "1.0.0", bytes);
    sell(world, "devices = 2\n");
}

/// An agent that is ended with the test.
struct Agent {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Agent {
    fn start(device: &Device, options: &[&str]) -> Self {
        let mut child = device.command(with_library(device, &[&["agent", "--json"], options].concat()));
        let mut child = child.stdout(Stdio::piped()).spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut agent = Self { child, lines };
        agent.until("started");
        agent
    }

    /// What it says until an event; the event.
    #[track_caller]
    fn until(&mut self, name: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "it ended before {name}");
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if event["event"] == name {
                return event;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended is fine as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// proves: A2
scenario!(a2_a_title_is_sent_to_another_device_whose_agent_installs_and_updates_it, |world| {
    on_sale(world, 300_000);
    let desk = desk(world);
    let laptop = laptop(world, &desk);
    let mut agent = Agent::start(&laptop, &[]);
    let sent = desk.run(["send", TITLE, "--to", "laptop", "--wait", "--json"]).done().json();
    assert!(sent["done_at"].is_string() && sent["failed"].is_null(), "{sent}");
    assert_eq!(agent.until("installed")["release"], "1.0.0");
    laptop.run(with_library(&laptop, &["run", TITLE])).done();

    publish(world, "1.1.0", 300_000);
    desk.run(["send", TITLE, "--to", "laptop", "--wait"]).done();
    let updated = agent.until("updated");
    assert_eq!((updated["from"].as_str(), updated["to"].as_str()), (Some("1.0.0"), Some("1.1.0")), "{updated}");
    assert!(laptop.run(with_library(&laptop, &["run", TITLE])).done().stdout().contains("1.1.0"));
    let list = desk.run(["send", "--list", "--json"]).done().json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(2), "{list}");
    // What the user has for no more devices is sent to none, and nobody sends to a stranger.
    let third = world.person("eve");
    desk.run(["send", TITLE, "--to", "tablet"]).failed(2, "none of your devices");
    third.run(["send", TITLE, "--to", &laptop_id(&third)]).refused(Code::NothingToSend);
});

fn laptop_id(device: &Device) -> String {
    let devices = device.run(["devices", "--json"]).done().json();
    devices["devices"][0]["id"].as_str().expect("an ID").to_owned()
}

// proves: A5
scenario!(a5_an_agent_brings_everything_up_to_date_at_its_time_and_waits_while_it_is_paused, |world| {
    on_sale(world, 300_000);
    let desk = desk(world);
    desk.run(with_library(&desk, &["install", TITLE])).done();
    publish(world, "1.1.0", 300_000);
    desk.run(["agent", "pause"]).done();
    let mut agent = Agent::start(&desk, &["--update", "hourly"]);
    let status = desk.run(["agent", "status", "--json"]).done().json();
    assert_eq!((&status["running"], &status["paused"], status["held"].as_str()), (&true.into(), &true.into(), Some("paused")), "{status}");
    // One agent works for a home.
    desk.run(with_library(&desk, &["agent"])).failed(3, "another agent");
    desk.run(["agent", "resume"]).done();
    agent.until("released");
    assert_eq!(agent.until("updated")["to"], "1.1.0");
    wait_until("the next turn is known", || desk.run(["agent", "status", "--json"]).done().json()["next_update"].is_string());
    drop(agent);
    assert_eq!(desk.run(["agent", "status", "--json"]).done().json()["running"], false);
    // Its turn was taken: nothing is due before the next one.
    publish(world, "1.2.0", 300_000);
    desk.run(with_library(&desk, &["agent", "--once", "--update", "hourly"])).done();
    assert!(desk.run(with_library(&desk, &["run", TITLE])).done().stdout().contains("1.1.0"));
    // In hours in which nothing is to be downloaded, nothing is.
    desk.run(["send", TITLE, "--to", "desk"]).done();
    desk.run(with_library(&desk, &["agent", "--once", "--not-between", "00:00-12:00", "--not-between", "12:00-00:00"])).done();
    assert!(desk.run(with_library(&desk, &["run", TITLE])).done().stdout().contains("1.1.0"));
    desk.run(with_library(&desk, &["agent", "--once"])).done();
    assert!(desk.run(with_library(&desk, &["run", TITLE])).done().stdout().contains("1.2.0"));
});

#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn now() -> Instant {
    Instant::now()
}

// proves: A2
scenario!(a2_downloads_keep_to_the_rate_and_a_pause_stops_them_where_they_are, |world| {
    on_sale(world, 2_000_000);
    let desk = desk(world);
    desk.run(["send", TITLE, "--to", "desk"]).done();
    let begun = now();
    desk.run(with_library(&desk, &["agent", "--once", "--limit", "1MB/s"])).done();
    let took = now() - begun;
    assert!(took >= Duration::from_millis(1500), "2 MB at 1 MB/s took {took:?}");

    let laptop = laptop(world, &desk);
    let mut agent = Agent::start(&laptop, &["--limit", "200kB/s"]);
    desk.run(["send", TITLE, "--to", "laptop"]).done();
    agent.until("installing");
    wait_until("it is under way, which is told", || {
        let list = desk.run(["send", "--list", "--json"]).done().json();
        list["jobs"][0]["progress"]["done"].as_u64().is_some_and(|done| done > 0)
    });
    laptop.run(["agent", "pause"]).done();
    agent.until("interrupted");
    drop(agent);
    laptop.run(["agent", "resume"]).done();
    laptop.run(with_library(&laptop, &["agent", "--once"])).done();
    laptop.run(with_library(&laptop, &["run", TITLE])).done();
});
