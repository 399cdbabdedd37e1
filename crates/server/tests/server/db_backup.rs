//! A backup of PostgreSQL taken and put back by the operator's commands, with PostgreSQL's own tools.

use crate::support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::connect;

fn counterfoild(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_counterfoild"))
        .args(arguments)
        .args(["--json", "--data"])
        .arg(data)
        // Of another database; must not be mixed in.
        .env("PGDATABASE", "elsewhere")
        .env("PGHOST", "nowhere.invalid")
        .output()
        .unwrap()
}

#[track_caller]
fn done(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
}

fn tokens(data: &Path) -> usize {
    done(counterfoild(data, &["token", "list"])).as_array().unwrap().len()
}

#[tokio::test]
async fn a_backup_brings_back_what_was_there_and_keeps_what_it_replaced() {
    let cluster = support::cluster();
    let admin = connect(&cluster).await;
    let name = format!("counterfoil_backup_{}", std::process::id());
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let url = support::with_database(&cluster, &name);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    done(counterfoild(&data, &["init", "--database", &url]));
    let before = tokens(&data);

    let dump = directory.path().join("first.dump");
    let dump = dump.to_str().unwrap();
    let made = done(counterfoild(&data, &["backup", "--out", dump]));
    assert!(made["bytes"].as_u64().unwrap() > 1000);
    assert_eq!(std::fs::metadata(dump).unwrap().permissions().mode() & 0o777, 0o600);
    refused(counterfoild(&data, &["backup", "--out", dump]), "there already");

    done(counterfoild(&data, &["token", "new", "--role", "operator", "--name", "later"]));
    assert_eq!(tokens(&data), before + 1);
    refused(counterfoild(&data, &["restore", dump]), "tables");
    let holding = connect(&format!("{url}?application_name=counterfoild")).await;
    refused(counterfoild(&data, &["restore", dump, "--replace"]), "use");
    assert_eq!(holding.query_one("SELECT 1", &[]).await.unwrap().len(), 1);
    drop(holding);
    // A session takes a moment to leave.
    let beside = connect(&url).await;
    while beside.query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()", &[]).await.unwrap().get::<_, i64>(0)
        > 1
    {}

    // What is no dump changes nothing; what breaks half-way brings back what was there.
    let garbage = directory.path().join("garbage.dump");
    std::fs::write(&garbage, "not a dump").unwrap();
    assert_eq!(counterfoild(&data, &["restore", garbage.to_str().unwrap(), "--replace"]).status.code(), Some(3));
    let cut = directory.path().join("cut.dump");
    std::fs::write(&cut, &std::fs::read(dump).unwrap()[..1000]).unwrap();
    assert_eq!(counterfoild(&data, &["restore", cut.to_str().unwrap(), "--replace"]).status.code(), Some(3));
    assert_eq!(tokens(&data), before + 1);

    let restored = done(counterfoild(&data, &["restore", dump, "--replace"]));
    assert_eq!(tokens(&data), before);
    done(counterfoild(&data, &["audit", "verify"]));
    let kept = restored["kept"].as_str().unwrap();
    let aside = beside.query_one(&format!("SELECT count(*) FROM {kept}.token"), &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(usize::try_from(aside).unwrap(), before + 1, "what was replaced is kept");

    // And into an empty database, where what was set aside does not come along.
    let second = directory.path().join("second.dump");
    done(counterfoild(&data, &["backup", "--out", second.to_str().unwrap()]));
    drop(beside);
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let restored = done(counterfoild(&data, &["restore", second.to_str().unwrap()]));
    assert_eq!((tokens(&data), &restored["kept"]), (before, &Value::Null));
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}
