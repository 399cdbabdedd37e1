//! A provider on this machine, which does as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use counterfoil_core::ProviderId;
use serde_json::{Value, json};

use crate::common::{CANARY, TITLE};

pub const CHALLENGE: &str = "a-challenge-of-a-provider";

/// More than two pieces, with something in it that must not lie about.
pub fn track() -> Vec<u8> {
    let mut bytes = vec![0; 2_500_000];
    blake3::Hasher::new().update(b"track").finalize_xof().fill(&mut bytes);
    for at in [0, 1_200_000, 2_400_000] {
        bytes[at..at + CANARY.len()].copy_from_slice(CANARY);
    }
    bytes
}

/// What a provider does, each time that it is asked.
pub struct Does {
    /// The answer to a challenge.
    pub challenge: Value,
    /// The answer to a presentation.
    pub session: Value,
    /// What is sent for contents, as a whole answer, from a byte on.
    pub contents: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
    /// Heads of requests, with bodies of those that are short.
    pub asked: Mutex<Vec<(String, Vec<u8>)>>,
}

pub fn provider() -> ProviderId {
    ProviderId::from_bytes([5; 16])
}

impl Does {
    pub fn well() -> Self {
        let hash = blake3::hash(&track()).to_hex().to_string();
        let offer = json!({ "name": "track", "title": TITLE, "length": track().len(), "blake3": hash, "description": "a\u{1b}[2J track" });
        Self {
            challenge: json!({ "provider": provider(), "authority": "test-authority", "challenge": CHALLENGE }),
            session: json!({ "session": "token", "scope": "download upload", "message": "hello\r\u{7}", "contents": [offer], "upload_bytes": 100 }),
            contents: Box::new(|from| sent(from, &track()[from as usize..], track().len() - from as usize)),
            asked: Mutex::default(),
        }
    }

    pub fn run(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Arc::new(self);
        let shared = Arc::clone(&this);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                shared.serve(stream.unwrap());
            }
        });
        (url, this)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let head: Vec<String> = reader.by_ref().lines().map(|line| line.unwrap()).take_while(|line| !line.is_empty()).collect();
        let Some(first) = head.first().cloned() else { return };
        let header = |name: &str| head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
        let length: usize = header("content-length: ").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        self.asked.lock().unwrap().push((head.join("\n"), body));
        let json = |value: &Value| {
            let text = value.to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        let answer = if first.contains("/v1/challenge") {
            json(&self.challenge).into_bytes()
        } else if first.contains("/v1/present") {
            json(&self.session).into_bytes()
        } else if first.contains("/v1/contents/") {
            let from = header("range: bytes=").and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
            (self.contents)(from)
        } else {
            let text = "{\"title\": \"that is too much\"}";
            format!("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into_bytes()
        };
        let _ = stream.write_all(&answer);
    }

    pub fn ranges(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let range = |(head, _): &(String, Vec<u8>)| {
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: ").map(str::to_owned))
        };
        asked.iter().filter_map(range).collect()
    }
}

/// An answer with these bytes, which claims that it has `length`.
pub fn sent(from: u64, bytes: &[u8], length: usize) -> Vec<u8> {
    let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
    let mut answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.extend_from_slice(bytes);
    answer
}
