//! The operator's command line as a person has it: the binary, its output, its exit status.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoild"));
        command.args(arguments).arg("--data").arg(self.data()).env_remove("COUNTERFOILD_CONFIG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Fails with this status, a fact and a remedy.
    #[track_caller]
    fn fails(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains("\nhint: "), "{said}");
        said
    }
}

/// A server that is ended with the test.
struct Served(Child);

impl Served {
    /// Starts it and waits for the line that names its address.
    fn start(place: &Place) -> (Self, String) {
        let mut child = place.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (url, _) = line.strip_prefix("listening on ").unwrap().split_once(", serving ").unwrap();
        (Self(child), url.to_owned())
    }

    /// SIGTERM, and the exit status.
    fn end(mut self) -> Option<i32> {
        Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// GET over plain HTTP, with a token.
fn get(url: &str, path: &str, token: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[test]
fn from_init_to_restore() {
    let place = Place::new();
    let made = place.json(&["init"]);
    let token = made["token"].as_str().unwrap();
    assert!(!place.data().join(".counterfoild.toml.partial").exists());
    #[cfg(unix)]
    for file in ["root.key", "counterfoil.db"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(place.data().join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    // Nothing is overwritten.
    let before = std::fs::read(place.data().join("root.key")).unwrap();
    assert!(place.fails(&["init"], 1).contains("is there already"));
    assert_eq!(std::fs::read(place.data().join("root.key")).unwrap(), before);
    place.json(&["doctor"]);

    let (served, url) = Served::start(&place);
    assert_eq!(get(&url, "/healthz", "").0, 200);
    assert_eq!(get(&url, "/v1/whoami", token).0, 200);
    // Beside the running server: tokens, keys, backup, audit.
    let nobodys = place.fails(&["token", "new", "--role", "publisher", "--tenant", "blue-fox", "--name", "press"], 1);
    assert!(nobodys.contains("there is no publisher blue-fox"), "{nobodys}");
    let new = place.json(&["token", "new", "--role", "support", "--name", "desk"]);
    let (id, desk) = (new["id"].as_str().unwrap(), new["token"].as_str().unwrap());
    assert!(get(&url, "/v1/whoami", desk).1.contains("desk"));
    let rotated = place.json(&["keys", "rotate"]);
    assert_eq!(rotated.as_array().unwrap().len(), 8, "five key-encryption keys, signing, sealing, root");
    assert_ne!(std::fs::read(place.data().join("root.key")).unwrap(), before);
    let backup = place.0.path().join("backup.db");
    place.json(&["backup", "--out", backup.to_str().unwrap()]);
    place.fails(&["backup", "--out", backup.to_str().unwrap()], 1);
    place.json(&["token", "revoke", id]);
    assert_eq!(get(&url, "/v1/whoami", desk).0, 401);
    let checkpoint = place.0.path().join("checkpoint");
    place.json(&["audit", "checkpoint", "--out", checkpoint.to_str().unwrap()]);
    assert_eq!(place.json(&["audit", "verify", "--checkpoint", checkpoint.to_str().unwrap()])["clean"], true);
    assert!(place.run(&["audit", "show", "/tokens"]).status.success());
    place.fails(&["audit", "show", "nobody"], 1);
    assert_eq!(served.end(), Some(0));

    // The backup is from before the revocation, and the checkpoint from after it tells.
    place.fails(&["restore", backup.to_str().unwrap()], 1);
    place.json(&["restore", backup.to_str().unwrap(), "--replace"]);
    let listed = place.json(&["token", "list"]);
    assert!(listed.as_array().unwrap().iter().all(|token| token["revoked_at"].is_null()));
    assert!(!place.run(&["audit", "verify", "--checkpoint", checkpoint.to_str().unwrap()]).status.success(), "what was cut is missed");
    assert_eq!(place.json(&["migrate"])["applied"], serde_json::json!([]));
    place.json(&["doctor"]);
}

#[cfg(unix)]
#[test]
fn a_root_key_is_for_one_reader_or_a_credential_of_the_unit() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.json(&["init"]);
    let credentials = tempfile::tempdir().unwrap();
    let key = credentials.path().join("root-key");
    std::fs::copy(place.data().join("root.key"), &key).unwrap();
    let doctor = |mode: u32, directory: &Path| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut doctor = place.command(&["doctor"]);
        doctor.env("COUNTERFOILD__ROOT_KEY__FILE", &key).env("CREDENTIALS_DIRECTORY", directory).output().unwrap().status.code()
    };
    assert_eq!(doctor(0o400, place.0.path()), Some(0));
    assert_eq!(doctor(0o440, place.0.path()), Some(3), "a group's, in a directory of no unit");
    assert_eq!(doctor(0o440, credentials.path()), Some(0));
    assert_eq!(doctor(0o444, credentials.path()), Some(3), "everybody's");
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    assert!(place.fails(&["doctor"], 3).contains("no configuration"));
    place.json(&["init", "--tls-self-signed"]);
    let checks = place.json(&["doctor"]);
    assert!(checks.as_array().unwrap().iter().any(|check| check["what"] == "certificate" && check["verdict"] == "good"), "{checks}");
    let wrong = |what: &str| {
        let output = place.command(&["doctor"]).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let check = checks.iter().find(|check| check["what"] == what && check["verdict"] == "wrong");
        check.unwrap_or_else(|| panic!("{what} is not among {checks:?}"))["remedy"].as_str().unwrap().to_owned()
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = place.data().join("root.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(wrong("root key").starts_with("chmod 600"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(place.data().join("tls/server.pem"), "not a certificate").unwrap();
    wrong("certificate");
    std::fs::remove_dir_all(place.data().join("contents")).unwrap();
    wrong("contents");
    std::fs::rename(place.data().join("counterfoil.db"), place.data().join("gone")).unwrap();
    assert!(wrong("database").contains("restore"));
    assert!(!place.data().join("counterfoil.db").exists(), "looking makes nothing");
}

#[test]
fn without_tls_it_serves_loopback_only_unless_told() {
    let place = Place::new();
    place.json(&["init"]);
    assert!(place.fails(&["serve", "--listen", "0.0.0.0:0"], 1).contains("not loopback"));
    let text = std::fs::read_to_string(place.data().join("counterfoild.toml")).unwrap();
    std::fs::write(place.data().join("counterfoild.toml"), text.replace("body_bytes", "body_bites")).unwrap();
    assert!(place.fails(&["serve"], 2).contains("body_bites"));
    assert_eq!(place.run(&["no-such-command"]).status.code(), Some(2));
    assert!(Path::new(&place.data()).is_dir());
}
