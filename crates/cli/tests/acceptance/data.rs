//! Data that is brought in, taken out and deleted, by the operator's commands (B1, D1).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::{Device, Engine, Outcome, World, files_with, outcome, scenario, wait_until, write};

/// An operator's command, with a file.
fn with(operator: &Device, arguments: &[&str], file: &Path, more: &[&str]) -> Outcome {
    let mut command = operator.command(arguments);
    command.arg(file).args(more);
    outcome(command)
}

/// Customers as another shop has written them down.
fn customers(world: &World, count: usize) -> PathBuf {
    let mut table = "reference,name,email,address\r\n".to_owned();
    for number in 0..count {
        let _ = write!(table, "{number},Person {number},person{number}@example.org,\"{number} Street\nTown\"\r\n");
    }
    let path = world.path("customers.csv");
    write(&path, table.as_bytes());
    path
}

/// How many people the export of everything has.
fn people(operator: &Device, out: &Path) -> Vec<Value> {
    let mut command = operator.command(["export", "--what", "people", "--out"]);
    command.arg(out);
    outcome(command).done();
    let lines = fs::read_to_string(out.join("people.jsonl")).expect("written");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

// proves: D1
scenario!(d1_customers_are_brought_in_checked_and_an_import_that_was_cut_is_repeated, |world| {
    let operator = world.publisher();
    let table = customers(world, 6000);
    let checked = with(&operator, &["import", "users", "--json"], &table, &["--dry-run"]).done().json();
    assert_eq!((&checked["lines"], &checked["dry_run"]), (&json!(6000), &json!(true)));
    let wrong = world.path("wrong.csv");
    write(&wrong, b"name,email\nAda,ada@example.org\nBen,nowhere\n,x@example.org\n");
    let refused = with(&operator, &["import", "users"], &wrong, &[]).failed(1, "2 lines are wrong, and nothing was written");
    assert!(refused.stderr().contains("line 3, column email: one address"), "{}", refused.stderr());
    assert!(refused.stderr().contains("line 4, column name: it is missing"), "{}", refused.stderr());
    let unknown = world.path("unknown.csv");
    write(&unknown, b"name,surname\nAda,L\n");
    with(&operator, &["import", "users"], &unknown, &[]).failed(1, "no column \"surname\"");
    with(&operator, &["import", "users"], &world.path("no-such.csv"), &[]).failed(3, "cannot read");
    assert_eq!(people(&operator, &world.path("none")).len(), 0);

    // The server dies after the first of them, and the command says so.
    let mut running = operator.command(["import", "users"]);
    let running = running.arg(&table).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until("some are written", || {
        let (status, records) = world.api("GET", "/v1/audit?family=/imports", None);
        status == 200 && records["items"].as_array().is_some_and(|items| !items.is_empty())
    });
    world.kill();
    let cut = running.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(cut.status.code() == Some(3) && said.contains("Repeat the command"), "{said}");
    world.start();
    let operator = world.publisher();
    let out = world.path("ids.csv");
    let done = with(&operator, &["import", "users", "--json", "--out", &out.display().to_string()], &table, &[]).done().json();
    assert_eq!(done["new"].as_u64().zip(done["there_already"].as_u64()).map(|(new, there)| new + there), Some(6000), "{done}");
    assert!(done["there_already"].as_u64().is_some_and(|there| there >= 1000), "{done}");
    let found = people(&operator, &world.path("after"));
    assert_eq!(found.len(), 6000);
    assert!(found.iter().any(|row| row["name"] == "Person 17" && row["address"] == "17 Street\nTown"), "a cell of two lines");
    let ids = fs::read_to_string(&out).expect("results");
    assert_eq!(ids.lines().count(), 6001);
    let first = ids.lines().nth(1).and_then(|line| line.split(',').nth(1)).expect("a user ID");
    assert!(found.iter().any(|row| row["user_id"] == first && row["name"] == "Person 0"), "{first}");
    let again = with(&operator, &["import", "users", "--json"], &table, &[]).done().json();
    assert_eq!((&again["new"], &again["there_already"]), (&json!(0), &json!(6000)));
});

// proves: B1
scenario!(b1_media_are_brought_in_from_a_table_and_by_standard_input, |world| {
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &["--kind", "game"]).done();
    let operator = world.publisher();
    let (status, batch) = world.api("POST", "/v1/batches", Some(json!({ "titles": [{ "title": "sky-raider" }], "imported": true })));
    assert_eq!(status, 201, "{batch}");
    let batch = batch["batch"].as_str().expect("an ID").to_owned();
    let table = world.path("serials.csv");
    write(&table, b"made,medium_id\n2026,DISC-1\n2026,DISC-2\n");
    let done = with(&operator, &["import", "media", "--json"], &table, &["--batch", &batch]).done().json();
    assert_eq!((&done["new"], &done["lines"]), (&json!(2), &json!(2)));
    let bad = world.path("bad.csv");
    write(&bad, b"medium_id\nDISC-3\nx\n");
    with(&operator, &["import", "media"], &bad, &["--batch", &batch]).failed(1, "line 3, column medium_id");
    let mut command = operator.command(["import", "media", "-", "--json", "--batch", &batch]);
    with(&operator, &["import", "media", "-", "--batch", &batch], Path::new(""), &[]).failed(2, "");
    command.args(["--format", "jsonl"]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = running.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, b"{\"medium_id\":\"DISC-2\"}\n{\"medium_id\":\"DISC-4\"}\n").expect("taken");
    drop(input);
    let done: Value = serde_json::from_slice(&running.wait_with_output().expect("it ends").stdout).expect("JSON");
    assert_eq!((&done["new"], &done["there_already"]), (&json!(1), &json!(1)), "{done}");
    let (_, counted) = world.api("GET", &format!("/v1/batches/{batch}"), None);
    assert_eq!(counted["count"], 3);
});

scenario!(what_is_exported_is_whole_holds_no_secret_and_can_be_imported, |world| {
    let operator = world.publisher();
    let person = world.person("ada");
    let disc = world.discs(1).remove(0);
    person.copy(&disc).done();
    with(&operator, &["import", "users"], &customers(world, 30), &[]).done();
    let out = world.path("export");
    let exported = with(&operator, &["export", "--json", "--out"], &out, &[]).done().json();
    let files = exported["files"].as_array().expect("files");
    assert!(files.len() > 40 && exported["left_out"].as_array().is_some_and(|left| !left.is_empty()));
    for file in files {
        let bytes = fs::read(out.join(file["file"].as_str().expect("a name"))).expect("there");
        assert_eq!(file["blake3"], blake3::hash(&bytes).to_hex().to_string().as_str(), "{file}");
        assert_eq!(file["rows"].as_u64(), Some(bytes.iter().filter(|byte| **byte == b'\n').count() as u64));
    }
    assert_eq!(files_with(&out, world.token.as_bytes()), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(&out).expect("there").count(), files.len() + 1, "files, and what says what they are");
    let mut command = operator.command(["export", "--format", "csv", "--what", "people", "--out"]);
    command.arg(&out);
    outcome(command).done();
    // Somewhere else.
    for file in ["people.jsonl", "people.csv"] {
        let elsewhere = World::new(Engine::Sqlite);
        let there = elsewhere.publisher();
        let done = with(&there, &["import", "users", "--json"], &out.join(file), &[]).done().json();
        assert_eq!((&done["lines"], &done["new"]), (&json!(30), &json!(30)), "{file}: {done}");
        let told = |operator: &Device, to: &Path| -> Vec<Value> {
            let rows = people(operator, to);
            rows.into_iter().map(|row| json!([row["user_id"], row["name"], row["email"], row["address"]])).collect()
        };
        assert_eq!(told(&there, &elsewhere.path("out")), told(&operator, &world.path("own")));
    }
    let mut command = operator.command(["export", "--what", "keys", "--out"]);
    command.arg(&out);
    outcome(command).failed(2, "nothing called \"keys\"");
});

scenario!(an_erased_person_keeps_what_they_own, |world| {
    let operator = world.publisher();
    let person = world.person("ada");
    let discs = world.discs(2);
    person.copy(&discs[0]).done();
    let out = world.path("users");
    with(&operator, &["export", "--what", "users", "--out"], &out, &[]).done();
    let users = fs::read_to_string(out.join("users.jsonl")).expect("written");
    let row: Value = serde_json::from_str(users.lines().next().expect("one user")).expect("JSON");
    let user = row["user_id"].as_str().expect("an ID").to_owned();
    let held = world.path("held.json");
    let mut command = operator.command(["person", "export", &user, "--out"]);
    command.arg(&held);
    outcome(command).done();
    let document: Value = serde_json::from_slice(&fs::read(&held).expect("written")).expect("JSON");
    assert_eq!((&document["user_id"], document["devices"].as_array().map(Vec::len)), (&json!(user), Some(1)));
    let piped = operator.run(["person", "export", &user]).done();
    assert_eq!(piped.json()["entitlements"], document["entitlements"]);

    let ask = [OsStr::new("person"), OsStr::new("erase"), OsStr::new(&user), OsStr::new("--reason"), OsStr::new("asked for by letter")];
    operator.run(ask).failed(1, "nothing was deleted");
    let erased = operator.run(ask.into_iter().chain([OsStr::new("--yes"), OsStr::new("--json")])).done().json();
    assert_eq!(erased["user_id"], user.as_str());
    person.plays_all("sky-raider", &world.small_tree());
    let copy = [OsStr::new("copy"), discs[1].as_os_str(), OsStr::new("--library"), person.library.as_os_str(), OsStr::new("--again")];
    person.run(copy).done();
    let (_, known) = world.api("GET", &format!("/v1/users/{user}"), None);
    assert_eq!((&known["person"], known["devices"][0]["name"].is_null()), (&Value::Null, true));
    operator.run(["person", "erase", "usr-x", "--reason", "x", "--yes"]).failed(2, "usr-x");
});
