//! Against hosts that cut the line, lie, or lead elsewhere.

use super::*;
use crate::Error;
use crate::transport::{Timeouts, agent};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const BODY: &[u8] = b"twenty bytes of saves";

/// In memory.
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let at = offset as usize;
        let found = self.0.get(at..at + buffer.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// What a host does wrong.
#[derive(Clone, Copy, Default)]
struct Wrong {
    /// Hangs up after so many bytes of each request's body, and has kept them.
    cut: Option<usize>,
    /// Says that it has so many bytes, whatever it has.
    says: Option<u64>,
    /// Leads there.
    location: Option<&'static str>,
    /// Says no to all bytes with status 409 and this body.
    conflict: Option<&'static str>,
}

/// What a host has got, and the heads of what it was asked.
#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    asked: Vec<String>,
}

fn host(wrong: Wrong) -> (String, Arc<Mutex<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/uploads", listener.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Got::default()));
    let shared = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), wrong, &shared);
        }
    });
    (url, got)
}

fn serve(mut stream: TcpStream, wrong: Wrong, got: &Mutex<Got>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let lines = reader.by_ref().lines().map(|line| line.unwrap().to_ascii_lowercase()).take_while(|line| !line.is_empty());
    let head: Vec<String> = lines.collect();
    let Some(first) = head.first() else { return };
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
    got.lock().unwrap().asked.push(head.join("\n"));
    let has = |got: &Got| wrong.says.unwrap_or(got.bytes.len() as u64);
    let answer = if let (Some(body), true) = (wrong.conflict, first.starts_with("patch")) {
        std::io::copy(&mut reader.take(BODY.len() as u64), &mut std::io::sink()).unwrap();
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        return;
    } else if first.starts_with("delete") {
        got.lock().unwrap().bytes.clear();
        "204 No Content".to_owned()
    } else if first.starts_with("post") {
        format!("201 Created\r\nlocation: {}", wrong.location.unwrap_or("/v1/uploads/one"))
    } else if first.starts_with("head") {
        format!("200 OK\r\nupload-offset: {}", has(&got.lock().unwrap()))
    } else {
        let length: usize = header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length.min(wrong.cut.unwrap_or(length))];
        reader.read_exact(&mut body).unwrap();
        let mut got = got.lock().unwrap();
        assert_eq!(header("upload-offset").unwrap(), got.bytes.len().to_string());
        got.bytes.extend(&body);
        if body.len() < length {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        format!("204 No Content\r\nupload-offset: {}", has(&got))
    };
    let _ = write!(stream, "HTTP/1.1 {answer}\r\ntus-resumable: 1.0.0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
}

fn sent(wrong: Wrong) -> (std::result::Result<(), Error>, Arc<Mutex<Got>>, Vec<u64>) {
    let (url, got) = host(wrong);
    let agent = agent(None, Timeouts::default()).unwrap();
    let told = RefCell::new(Vec::new());
    let made = TusUpload::create(&agent, &url, Some("token"), BODY.len() as u64, &[("name", "größe")]).map_err(Error::from);
    let sent = made.and_then(|upload| upload.send(&Bytes(BODY.to_vec()), BODY.len() as u64, &|at| told.borrow_mut().push(at)));
    (sent, got, told.into_inner())
}

#[test]
fn b6_everything_arrives_with_what_the_protocol_asks_for() {
    let (result, got, told) = sent(Wrong::default());
    result.unwrap();
    let got = got.lock().unwrap();
    assert_eq!((got.bytes.as_slice(), told.as_slice()), (BODY, &[0, BODY.len() as u64][..]));
    assert!(got.asked[0].contains("upload-length: 21") && got.asked[0].contains("upload-metadata: name z3ldtsofzq=="), "{}", got.asked[0]);
    for asked in &got.asked {
        assert!(asked.contains("tus-resumable: 1.0.0") && asked.contains("authorization: bearer token"), "{asked}");
    }
    assert!(got.asked[2].contains("content-type: application/offset+octet-stream"));
}

#[test]
fn b6_what_is_cut_off_goes_on_where_the_server_has_it() {
    let (result, got, told) = sent(Wrong { cut: Some(8), ..Wrong::default() });
    result.unwrap();
    assert_eq!(got.lock().unwrap().bytes, BODY);
    assert_eq!(told, [0, 8, 16, 21]);
    // Nothing gets through at all.
    let (result, got, _) = sent(Wrong { cut: Some(0), ..Wrong::default() });
    assert_eq!(result.unwrap_err().code(), "unreachable");
    assert_eq!(got.lock().unwrap().asked.iter().filter(|asked| asked.starts_with("patch")).count(), TRIES as usize);
}

#[test]
fn b6_a_server_that_lies_of_what_it_has_is_left() {
    for says in [22, u64::MAX] {
        let (result, _, _) = sent(Wrong { says: Some(says), ..Wrong::default() });
        assert!(result.unwrap_err().to_string().contains("more than there is"));
    }
    let (result, _, _) = sent(Wrong { says: Some(0), ..Wrong::default() });
    result.unwrap_err();
}

#[test]
fn b6_no_token_goes_to_another_server() {
    let elsewhere = ["http://127.0.0.2:1/x", "//evil.example/x", "https://evil.example/x", "file:///x", "", "http://[::1]/x"];
    for location in elsewhere {
        let (result, _, _) = sent(Wrong { location: Some(location), ..Wrong::default() });
        assert!(result.unwrap_err().to_string().contains("another server"), "{location}");
    }
    let base = "http://127.0.0.1:7/v1/uploads";
    assert_eq!(beside(base, "one").unwrap(), "http://127.0.0.1:7/v1/one");
    assert_eq!(beside(base, "http://127.0.0.1:7/z").unwrap(), "http://127.0.0.1:7/z");
    assert_eq!(beside(base, "https://127.0.0.1:7/z"), None, "another scheme");
}

/// A conflict with another version is for good; one with another part of the same is not.
#[test]
fn a4_a_conflict_that_says_why_is_not_tried_again() {
    let patches = |got: &Mutex<Got>| got.lock().unwrap().asked.iter().filter(|asked| asked.starts_with("patch")).count();
    let (result, got, _) = sent(Wrong { conflict: Some(r#"{"title": "no", "code": "save_conflict"}"#), ..Wrong::default() });
    assert_eq!((result.unwrap_err().code(), patches(&got)), ("save_conflict", 1));
    let (result, got, _) = sent(Wrong { conflict: Some(""), ..Wrong::default() });
    result.unwrap_err();
    assert_eq!(patches(&got), TRIES as usize);
}

#[test]
fn a4_what_is_given_up_is_told() {
    let (url, got) = host(Wrong::default());
    let agent = agent(None, Timeouts::default()).unwrap();
    let upload = TusUpload::create(&agent, &url, None, BODY.len() as u64, &[]).unwrap();
    upload.send(&Bytes(BODY.to_vec()), BODY.len() as u64, &|_| ()).unwrap();
    upload.take_back().unwrap();
    let got = got.lock().unwrap();
    assert!(got.bytes.is_empty() && got.asked.last().unwrap().starts_with("delete"));
}
