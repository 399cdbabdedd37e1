//! Somebody's server is told what happens at the authority: made, tried, failing, killed in between, sent again and ended, by the command line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::world::{Device, scenario, wait_until};

/// A receiver on loopback: what it was sent, and the status that it answers.
struct Receiver {
    url: String,
    told: Arc<Mutex<Vec<(String, Value)>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (told, status) = (Arc::<Mutex<Vec<(String, Value)>>>::default(), Arc::new(AtomicU16::new(200)));
        let (into, answers) = (Arc::clone(&told), Arc::clone(&status));
        // Ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
                let (mut id, mut length) = (String::new(), 0);
                for line in reader.by_ref().lines() {
                    let line = line.unwrap_or_default();
                    let Some((name, value)) = line.split_once(": ") else {
                        if line.is_empty() {
                            break;
                        }
                        continue;
                    };
                    match name.to_ascii_lowercase().as_str() {
                        "webhook-id" => id = value.to_owned(),
                        "content-length" => length = value.parse().expect("a length"),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                // Whoever was killed in the middle has sent nothing.
                if reader.read_exact(&mut body).is_err() || length == 0 {
                    continue;
                }
                let status = answers.load(Ordering::SeqCst);
                into.lock().expect("whole").push((id, serde_json::from_slice(&body).expect("JSON")));
                let _ = write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { url, told, status }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Events by name and subject, each once, in the order in which they came first.
    fn events(&self) -> Vec<(String, String)> {
        let told = self.told.lock().expect("whole").clone();
        let mut seen = vec![];
        let first = told.into_iter().filter(|(id, _)| {
            let new = !seen.contains(id);
            seen.push(id.clone());
            new
        });
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        first.map(|(_, body)| (text(&body["type"]), text(&body["data"]["id"]))).collect()
    }

    fn count(&self) -> usize {
        self.told.lock().expect("whole").len()
    }
}

fn deliveries(who: &Device, webhook: &str) -> Vec<Value> {
    who.run(["webhook", "deliveries", webhook, "--json"]).done().json()["items"].as_array().expect("a list").clone()
}

#[expect(clippy::disallowed_methods, reason = "waits until a webhook is active")]
fn wait_for_active() {
    let made = SystemTime::now();
    wait_until("the webhook is active", || made.elapsed().is_ok_and(|since| since > Duration::from_millis(10_500)));
}

scenario!(a_server_is_told_of_copies_though_it_fails_and_the_authority_is_killed, |world| {
    world.configure("COUNTERFOILD__WEBHOOKS__ALLOW_PRIVATE", "true");
    world.kill();
    world.start();
    let discs = world.discs(2);
    let publisher = world.publisher();
    let receiver = Receiver::start();
    let add = ["webhook", "add", &receiver.url, "--name", "Sales", "--event", "medium.*", "--publisher", "acme", "--json"];
    let made = publisher.run(add).done().json();
    let (id, secret) = (made["webhook"].as_str().expect("an ID"), made["secret"].as_str().expect("a secret"));
    assert!(secret.starts_with("whsec_"));
    publisher.run(["webhook", "add", &receiver.url, "--name", "x", "--event", "medium.claim"]).failed(1, "there is no event");
    assert!(publisher.run(["webhook", "events"]).done().stdout().contains("medium.claimed"));

    // Tried while it fails: seen, and sent again by hand under the same ID.
    receiver.answer(500);
    let test = publisher.run(["webhook", "test", id, "--json"]).done().json();
    let delivery = test["delivery"].as_str().expect("an ID");
    wait_until("it has failed once", || deliveries(&publisher, id)[0]["status"] == 500);
    assert!(publisher.run(["webhook", "show", id]).done().stdout().contains("answered 500, next attempt"));
    receiver.answer(200);
    publisher.run(["webhook", "resend", id, delivery]).done();
    wait_until("it is delivered", || deliveries(&publisher, id)[0]["state"] == "delivered");
    assert!(receiver.count() >= 2 && receiver.events() == [("webhook.test".to_owned(), id.to_owned())]);

    wait_for_active();
    let ben = world.person("ben");
    ben.copy(&discs[0]).done();
    wait_until("the copy is told", || receiver.events().iter().any(|(event, _)| event == "medium.copied"));
    let medium = receiver.events()[1].1.clone();
    assert!(medium.starts_with("med-"), "{medium}");
    let of_first: Vec<_> = receiver.events().into_iter().skip(1).map(|(event, _)| event).collect();
    assert_eq!(of_first, ["medium.claimed", "medium.copied"]);
    let bodies = format!("{:?}", receiver.told.lock().expect("whole"));
    assert!(!bodies.contains("usr-") && !bodies.contains("dev-") && !bodies.contains("crd-"), "a publisher is told of no user");

    // The authority dies while the receiver fails: nothing is lost.
    receiver.answer(503);
    world.person("carl").copy(&discs[1]).done();
    wait_until("it was tried", || receiver.events().len() >= 4);
    world.kill();
    receiver.answer(200);
    world.start();
    wait_until("the second copy is told", || receiver.events().iter().filter(|(event, _)| event == "medium.copied").count() == 2);
    wait_until("all is delivered", || deliveries(&publisher, id).iter().all(|one| one["state"] == "delivered"));
    assert_eq!(deliveries(&publisher, id).len(), 5);

    let rotated = publisher.run(["webhook", "rotate", id, "--json"]).done().json();
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(!publisher.run(["webhook", "list"]).done().stdout().contains("whsec_"));
    publisher.run(["webhook", "remove", id]).done();
    assert!(publisher.run(["webhook", "list"]).done().stdout().contains("there are no webhooks"));
    publisher.run(["webhook", "deliveries", id]).failed(1, "");
});
