//! Terminals that hand something in: the operations, and tus as a client speaks it.

use axum::body::Body;
use axum::http::{Method, Request};
use bytes::Bytes;
use counterfoil_core::wire::{Operation, SlotVersion, Upload, UploadResult, Uploads, UploadsResult};
use counterfoil_core::{Refusal, TitleId};
use counterfoil_format::container::{SaveKey, SaveKeyScope};
use counterfoil_format::content::ObjectName;
use counterfoil_server::{auditor, store};
use serde_json::{Value, json};

use super::TestDb;
use super::catalogue::{Answer, TestServer};
use super::licensing::one_more;
use super::sales::sell;
use super::terminal::Terminal;

pub const TITLE: &str = "sky-raider";
/// Bytes of a part.
pub const PIECE: usize = 4 << 20;

/// Somebody with two devices who has bought a title; so much of saves is taken, in MiB.
pub async fn saver(server: &TestServer, db: &TestDb, mib: u32) -> (Terminal, Terminal) {
    sell(server, db, TITLE, &["19.99 EUR"], json!({ "devices": 2, "upload_mib": mib })).await;
    let desk = Terminal::registered(server).await;
    let laptop = one_more(server, &desk).await;
    desk.order(server, TITLE, "19.99 EUR").await.unwrap();
    (desk, laptop)
}

pub fn title() -> TitleId {
    TITLE.parse().unwrap()
}

impl Terminal {
    pub fn upload_operation(&self, slot: &str, parent: u32, bytes: &[u8]) -> Upload {
        Upload {
            user_id: self.user.unwrap(),
            device_id: self.device_id().unwrap(),
            title: title(),
            slot: slot.to_owned(),
            parent,
            length: bytes.len() as u64,
            object: ObjectName::of(bytes).to_string(),
            note: Some("before the boss".to_owned()),
        }
    }

    pub async fn begin(&self, server: &TestServer, slot: &str, parent: u32, bytes: &[u8]) -> Result<UploadResult, Refusal> {
        let operation = Operation::Upload(self.upload_operation(slot, parent, bytes));
        Ok(serde_json::from_value(self.ask(server, operation, None).await?).unwrap())
    }

    /// All of it in one request.
    pub async fn hand_in(&self, server: &TestServer, slot: &str, parent: u32, bytes: &[u8]) -> UploadResult {
        let begun = self.begin(server, slot, parent, bytes).await.unwrap();
        patch(server, &begun.path, 0, bytes.to_vec()).await.expect(204);
        begun
    }

    pub async fn uploads(&self, server: &TestServer, remove: &[(&str, u32)]) -> Result<UploadsResult, Refusal> {
        let remove = remove.iter().map(|(slot, version)| SlotVersion { slot: (*slot).to_owned(), version: *version }).collect();
        let asked = Uploads { user_id: self.user.unwrap(), device_id: self.device_id().unwrap(), title: title(), remove };
        Ok(serde_json::from_value(self.ask(server, Operation::Uploads(asked), None).await?).unwrap())
    }

    pub fn open_save_key(&self, keys: &Value) -> [u8; 32] {
        let (user, (device, own)) = (self.user.unwrap().to_string(), self.device.as_ref().unwrap());
        let device = device.to_string();
        let scope = SaveKeyScope { user: &user, title: TITLE, device: &device };
        let (_, holder) = self.holder();
        let sealed = serde_json::from_value(keys.clone()).unwrap();
        *SaveKey::open(&sealed, &holder.sealing_key(), own.device_secret().unwrap(), &scope).unwrap().secret().expose()
    }
}

/// A request of tus with these headers besides its version.
pub async fn tus(server: &TestServer, method: Method, path: &str, headers: &[(&str, String)], body: Body) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    server.send(request.body(body).unwrap()).await
}

fn patch_headers(offset: u64) -> Vec<(&'static str, String)> {
    vec![("content-type", "application/offset+octet-stream".to_owned()), ("upload-offset", offset.to_string())]
}

/// Sends bytes, and says how many.
pub async fn patch(server: &TestServer, path: &str, offset: u64, bytes: Vec<u8>) -> Answer {
    let headers = [patch_headers(offset), vec![("content-length", bytes.len().to_string())]].concat();
    tus(server, Method::PATCH, path, &headers, bytes.into()).await
}

/// Sends bytes with more headers, in chunks of which nobody knows how many come; where `broken`, the connection is lost after them.
pub async fn patch_chunks(
    server: &TestServer,
    path: &str,
    offset: u64,
    bytes: &[u8],
    more: &[(&'static str, String)],
    broken: bool,
) -> Answer {
    let mut chunks: Vec<Result<Bytes, std::io::Error>> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    if broken {
        chunks.push(Err(std::io::ErrorKind::ConnectionReset.into()));
    }
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    tus(server, Method::PATCH, path, &[patch_headers(offset), more.to_vec()].concat(), body).await
}

pub async fn head(server: &TestServer, path: &str) -> Answer {
    tus(server, Method::HEAD, path, &[], Body::empty()).await
}

/// Where an upload stands.
pub async fn offset(server: &TestServer, path: &str) -> u64 {
    let answer = head(server, path).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    answer.header("upload-offset").parse().unwrap()
}

pub async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}
