//! The program itself with contents in a real S3 server: memory, start without the store, moving contents there and back.

use crate::support::s3;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use counterfoil_format::content::ObjectName;
use counterfoil_server::blobs::Blobs;
use futures_util::stream;
use s3::{OwnS3, Settings};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// `length` bytes that no other seed has.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The program itself, with a store of its own.
struct Place {
    directory: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Place {
    fn new(s3: &OwnS3) -> Self {
        let Settings { endpoint, bucket, access_key, secret_key, .. } = &s3.settings;
        let settings = [
            ("COUNTERFOILD__CONTENTS__URL", format!("s3://{bucket}/p")),
            ("COUNTERFOILD__LIMITS__REQUESTS_PER_SECOND", "0".to_owned()),
            ("AWS_ENDPOINT_URL", endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        Self { directory: tempfile::tempdir().unwrap(), settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
        command.args(arguments).arg("--data").arg(self.directory.path().join("data")).env_remove("COUNTERFOILD_CONFIG");
        command.envs(self.settings.iter().cloned());
        command
    }

    /// Status, what it printed as JSON, and what it said.
    fn run(&self, arguments: &[&str]) -> (i32, Value, String) {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }
}

struct Served(Child);

impl Served {
    fn start(place: &Place) -> (Self, String) {
        let mut child = place.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned())
    }

    /// The most memory that the process ever had, in bytes.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_object_of_200_mb_passes_through_a_server_in_little_memory() {
    let s3 = OwnS3::start();
    let place = Place::new(&s3);
    let (status, made, said) = place.run(&["init"]);
    assert_eq!(status, 0, "{said}");
    let (served, url) = Served::start(&place);
    let token = made["token"].as_str().unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let content = |length: u64| blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().take(length);
    let through = |length: u64| {
        let name = blake3::Hasher::new().update_reader(content(length)).unwrap().finalize().to_string();
        let put = agent.put(format!("{url}/v1/contents/{name}")).header("authorization", format!("Bearer {token}"));
        let put = put.header("content-length", length.to_string()).send(ureq::SendBody::from_owned_reader(content(length)));
        assert_eq!(put.unwrap().status(), 201);
        let mut answer = agent.get(format!("{url}/contents/{name}")).call().unwrap();
        let body = answer.body_mut().with_config().limit(u64::MAX).reader();
        assert_eq!(blake3::Hasher::new().update_reader(body).unwrap().finalize().to_string(), name);
    };
    through(1000);
    let before = served.peak();
    through(200_000_000);
    let more = served.peak() - before;
    println!("{} MiB more than before, {} MiB in all", more / MIB, served.peak() / MIB);
    assert!(more < 64 * MIB, "{} MiB", more / MIB);
}

#[test]
fn a_server_starts_without_its_store() {
    let mut s3 = OwnS3::start();
    let place = Place::new(&s3);
    s3.kill();
    assert_eq!(place.run(&["init"]).0, 0);
    let (_served, url) = Served::start(&place);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| {
        let mut answer = agent.get(format!("{url}{path}")).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap())
    };
    let (status, ready) = get("/readyz");
    assert_eq!((status, &ready["status"], &ready["missing"]), (200, &"degraded".into(), &serde_json::json!(["contents"])));
    assert_eq!(get(&format!("/contents/{}", "0".repeat(64))).1["code"], "contents_unavailable");
    let (status, checks, _) = place.run(&["doctor"]);
    let contents = checks.as_array().unwrap().iter().find(|check| check["what"] == "contents").unwrap();
    assert_eq!((status, contents["verdict"].as_str()), (3, Some("wrong")), "{contents}");
    assert!(s3.run());
    assert_eq!(get("/readyz").1["status"], "ok");
    assert_eq!(get(&format!("/contents/{}", "0".repeat(64))).1["code"], "not_found");
    assert_eq!(place.run(&["doctor"]).0, 0);
}

#[test]
fn contents_are_moved_there_and_back_and_what_is_damaged_is_named() {
    let s3 = OwnS3::start();
    let place = Place::new(&s3);
    let here = place.directory.path().join("contents");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blobs = Blobs::open(&here).unwrap();
    let objects: Vec<_> =
        [0, 10, 1000, 300_000, 9 * MIB, 20 * MIB].into_iter().zip(0..).map(|(length, seed)| noise(length, seed)).collect();
    let mut total = 0;
    for bytes in &objects {
        let pieces = stream::iter([Ok::<_, String>(Bytes::copy_from_slice(bytes))]);
        runtime.block_on(blobs.put(ObjectName::of(bytes), pieces)).unwrap();
        total += bytes.len();
    }
    std::fs::write(here.join("unfinished/x"), b"half").unwrap();
    std::fs::create_dir_all(here.join("ab/cd")).unwrap();
    std::fs::write(here.join("ab/cd/readme"), b"nobody's object").unwrap();
    let path = |root: &std::path::Path, bytes: &[u8]| {
        let name = ObjectName::of(bytes).to_string();
        root.join(&name[..2]).join(&name[2..4]).join(name)
    };
    let (from, to) = (format!("dir:{}", here.display()), format!("s3://{}/p", s3.settings.bucket));
    let there = s3.root.path().join(&s3.settings.bucket).join("p");

    let (status, moved, said) = place.run(&["migrate-store", "--from", &from, "--to", &to]);
    assert_eq!((status, &moved["copied"], &moved["bytes"]), (0, &Value::from(6), &Value::from(total)), "{said}");
    assert_eq!((&moved["from"]["digest"], &moved["to"]["objects"]), (&moved["to"]["digest"], &Value::from(6)));
    for bytes in &objects {
        assert!(std::fs::read(path(&there, bytes)).unwrap() == *bytes);
    }
    // Killed half-way, a run leaves objects out, and never a part of one; a part is what somebody else may have made of it.
    std::fs::remove_file(path(&there, &objects[3])).unwrap();
    std::fs::write(path(&there, &objects[4]), b"short").unwrap();
    let (status, moved, _) = place.run(&["migrate-store", "--from", &from, "--to", &to]);
    assert_eq!((status, &moved["copied"]), (0, &Value::from(2)));
    assert!(std::fs::read(path(&there, &objects[4])).unwrap() == objects[4]);
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &to]).1["copied"], 0);

    // And back, with damage of the same length on the way.
    let back = place.directory.path().join("back");
    let damaged = path(&there, &objects[5]);
    let mut bytes = objects[5].clone();
    bytes[7 * MIB] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    let home = format!("dir:{}", back.display());
    let (status, moved, said) = place.run(&["migrate-store", "--from", &to, "--to", &home]);
    assert_eq!((status, &moved["copied"]), (1, &Value::from(5)), "{said}");
    assert_eq!(moved["damaged"], serde_json::json!([ObjectName::of(&objects[5]).to_string()]));
    assert!(said.contains("\"hint\""), "{said}");
    assert!(damaged.exists() && !path(&back, &objects[5]).exists());
    std::fs::write(&damaged, &objects[5]).unwrap();
    let (status, moved, _) = place.run(&["migrate-store", "--from", &to, "--to", &home]);
    assert_eq!((status, &moved["copied"], &moved["from"]["digest"]), (0, &Value::from(1), &moved["to"]["digest"]));
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &from]).0, 2);
    assert_eq!(place.run(&["migrate-store", "--from", "dir:/nowhere", "--to", &to]).0, 3);
    drop(s3);
    assert_eq!(place.run(&["migrate-store", "--from", &from, "--to", &to]).0, 3);
}
