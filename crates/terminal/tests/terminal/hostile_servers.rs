//! Servers that never come to an end, or say what cannot be.

use crate::common;

use common::authority::{Link, NOW};
use common::*;
use counterfoil_core::wire::AuthorityDocument;
use counterfoil_format::secret::SystemRandom;
use counterfoil_terminal::clock::FixedClock;
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::transport::{HttpTransport, Part, Timeouts, Transport, TransportError};
use counterfoil_terminal::{Connect, Parts, Terminal, download, store};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers to everything with a failure whose reason comes a byte at a time, until nobody listens any more; tells how many bytes it got rid of.
fn trickling() -> (HttpTransport, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&sent);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1000000\r\n\r\n").unwrap();
            // Slower than anybody has to wait for, and never silent for long.
            while stream.write_all(b" ").is_ok() {
                *counted.lock().unwrap() += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let timeouts = Timeouts { connect: Duration::from_secs(5), exchange: Duration::from_millis(400) };
    (HttpTransport::new(vec![url], None, timeouts).unwrap(), sent)
}

/// proves: A5
#[test]
fn a5_a_failure_that_is_explained_for_ever_is_not_listened_to() {
    let (transport, sent) = trickling();
    let fetched = transport.fetch("abcd", Part::default()).map(|_| ()).unwrap_err();
    assert!(matches!(fetched, TransportError::Status { status: 500, .. }), "{fetched}");
    assert!(*sent.lock().unwrap() < 200);
    let (transport, sent) = trickling();
    let given_up = transport.take_back("/v1/uploads/1").unwrap_err();
    assert!(matches!(given_up, TransportError::Status { status: 500, .. }), "{given_up}");
    let listened = transport.listen(b"{}").map(|_| ()).unwrap_err();
    assert!(matches!(listened, TransportError::Status { status: 500, .. }), "{listened}");
    assert!(*sent.lock().unwrap() < 200);
}

type Change = Arc<dyn Fn(&str, Value) -> Value + Send + Sync>;

/// The usual way to the authority, on which what the store says is changed.
struct Changed {
    link: Link,
    change: Change,
    asked: Arc<Mutex<usize>>,
}

impl Transport for Changed {
    fn document(&self) -> Result<AuthorityDocument, TransportError> {
        self.link.document()
    }

    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError> {
        self.link.exchange(envelope)
    }

    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn io::Read + Send>, TransportError> {
        self.link.fetch(object, part)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError> {
        *self.asked.lock().unwrap() += 1;
        if *self.asked.lock().unwrap() > 50 {
            return Err(TransportError::NoAddress);
        }
        let said = self.link.get(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(serde_json::to_vec(&(self.change)(path, said)).unwrap())
    }

    fn is_guarded(&self) -> bool {
        true
    }
}

fn terminal(
    world: &World,
    device: &Device,
    change: impl Fn(&str, Value) -> Value + Send + Sync + 'static,
) -> (Terminal, Arc<Mutex<usize>>) {
    let (authority, faults, asked) = (world.authority.clone(), world.faults.clone(), Arc::new(Mutex::new(0)));
    let (change, counted): (Change, _) = (Arc::new(change), asked.clone());
    let connect: Connect = Box::new(move |_, _| {
        let link = Link { authority: authority.clone(), faults: faults.clone() };
        Ok(Arc::new(Changed { link, change: change.clone(), asked: counted.clone() }) as Arc<dyn Transport>)
    });
    let io = Arc::new(DiskModel::new());
    let parts = Parts { io, clock: Arc::new(FixedClock::at(NOW)), random: Box::new(SystemRandom), connect };
    (Terminal::with_parts(device.setup(), parts).unwrap(), asked)
}

/// proves: D2
#[test]
fn d2_a_store_that_has_nothing_and_more_of_it_is_asked_once() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let (terminal, asked) = terminal(&world, &device, |_, _| serde_json::json!({ "items": [], "next": "sky-raider" }));
    assert_eq!(store::search(&terminal, "sky", 10).unwrap(), (vec![], false));
    assert_eq!(*asked.lock().unwrap(), 1);
}

/// proves: D4
#[test]
fn d4_a_length_that_no_drive_has_room_for_is_refused_as_that() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    world.sell(&world.contents[0]);
    for (one, length) in [(0, u64::MAX), (1, u64::MAX - 511), (2, u64::MAX / 2)] {
        let (terminal, _) = terminal(&world, &device, move |_, mut said| {
            if let Some(objects) = said["objects"].as_array_mut() {
                for object in objects.iter_mut().skip(one) {
                    object["length"] = length.into();
                }
            }
            said
        });
        let refused = download(&terminal, &title(), None, None, Path::new("/sky-raider.tar"), &|_| {}).unwrap_err();
        assert_eq!(refused.code(), "no_space", "{refused}");
    }
}
