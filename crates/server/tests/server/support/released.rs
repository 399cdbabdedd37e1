//! Releases whose manifests open: trees published under the title's own content key, as a publisher does it.

use std::io;

use counterfoil_core::wire::{AskUpdate, Operation, Plan, Report, ReportResult, Status, UpdateResult};
use counterfoil_core::{GrantId, Refusal, TitleId};
use counterfoil_format::content::{self, ContentKey, Kind, Manifest, ObjectName, PackSink, PackedObject, PublishOptions, Release};
use counterfoil_format::secret::Secret;
use counterfoil_server::db::Tx;
use counterfoil_server::keys::Place;
use counterfoil_server::store::content_key;
use serde_json::{Value, json};

use super::catalogue::{TestServer, publisher_key};
use super::terminal::{Medium, Terminal};

/// What the devices of these tests compress by.
pub const ENCODER: &str = "zstd 1.5.7";

/// A publisher and a title of his, with no release.
pub async fn title(server: &TestServer, title: &str) {
    let (_, key) = publisher_key("blue-fox");
    let publisher = json!({ "id": "blue-fox", "name": "Blue Fox", "key": key });
    assert!(server.post(&server.operator, "/v1/publishers", &publisher).await.status.is_success());
    let new = json!({ "title": title, "name": title, "kind": "game", "publisher": "blue-fox" });
    server.post(&server.operator, "/v1/titles", &new).await.expect(201);
}

/// Bytes that nothing compresses, always the same for a name.
pub fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Publishes these files as one more release, in packs of 256 KiB; packs of the releases before are used again.
pub async fn release(server: &TestServer, title: &str, version: &str, files: &[(&str, Vec<u8>)], earlier: &[&Manifest]) -> Manifest {
    release_with(server, title, version, files, earlier, json!({})).await
}

/// The same with more said of it.
pub async fn release_with(
    server: &TestServer,
    title: &str,
    version: &str,
    files: &[(&str, Vec<u8>)],
    earlier: &[&Manifest],
    more: Value,
) -> Manifest {
    let tree = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(tree.path().join(name), bytes).unwrap();
    }
    let mut sink = Objects::default();
    let options = PublishOptions { threads: 1, pack_bytes: 256 << 10, earlier, ..PublishOptions::default() };
    let made = content::publish(tree.path(), &content_key(server, title).await, &options, &mut sink, &mut |_| ()).unwrap();
    sink.done.push(made.sealed_manifest);
    for bytes in sink.done {
        server.put(&server.operator, &format!("/v1/contents/{}", ObjectName::of(&bytes)), bytes).await.expect(201);
    }
    let document = Release {
        title: title.to_owned(),
        version: version.to_owned(),
        kind: Kind::Game,
        entry: None,
        control: None,
        generation: 1,
        size: made.manifest.size(),
        files: made.manifest.files(),
        manifest: made.reference,
    };
    let mut objects = vec![json!({ "object": made.reference.object, "length": made.reference.length })];
    objects.extend(made.manifest.packs().iter().map(|pack| json!({ "object": pack.name, "length": pack.length })));
    let mut body = json!({ "document": document.sign("blue-fox", &publisher_key("blue-fox").0), "objects": objects });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(&server.fox, &format!("/v1/titles/{title}/releases"), &body).await.expect(201);
    made.manifest
}

/// The title's content key, as the server keeps it.
pub async fn content_key(server: &TestServer, title: &str) -> ContentKey {
    let id: TitleId = title.parse().unwrap();
    let wrapped = server.app.db.read("test", async move |tx: &mut Tx| content_key::get(tx, &id, 1).await).await.unwrap().unwrap();
    let key: Secret<32> = server.app.keys.open(&server.app.db, &Place::ContentKey { title, generation: 1 }, &wrapped).await.unwrap();
    ContentKey::new(key)
}

/// Objects in memory.
#[derive(Default)]
struct Objects {
    done: Vec<Vec<u8>>,
    partial: Vec<u8>,
}

impl PackSink for Objects {
    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.partial.extend_from_slice(sealed);
        Ok(())
    }

    fn finish(&mut self, _: PackedObject) -> io::Result<()> {
        self.done.push(std::mem::take(&mut self.partial));
        Ok(())
    }
}

/// One that no medium has.
pub fn secret() -> Secret<32> {
    Secret::new([7; 32])
}

/// Hands in a patch of so many bytes; nobody here applies it.
pub async fn patch(server: &TestServer, title: &str, from: &str, to: &str, length: usize) -> String {
    let bytes = noise(&format!("patch {from} {to}"), length);
    let object = ObjectName::of(&bytes).to_string();
    server.put(&server.operator, &format!("/v1/contents/{object}"), bytes).await.expect(201);
    let body = json!({ "from": from, "to": to, "object": object, "length": length, "encoder": ENCODER });
    server.post(&server.fox, &format!("/v1/titles/{title}/patches"), &body).await.expect(201);
    object
}

/// Hands in deltas of so many bytes, which say that they give so many; nobody here applies them.
pub async fn deltas(server: &TestServer, title: &str, from: &str, to: &str, length: usize, covered: u64) -> String {
    let bytes = noise(&format!("deltas {from} {to}"), length);
    let object = ObjectName::of(&bytes).to_string();
    server.put(&server.operator, &format!("/v1/contents/{object}"), bytes).await.expect(201);
    let body = json!({ "from": from, "to": to, "object": object, "length": length, "encoder": ENCODER, "covered": covered });
    server.post(&server.fox, &format!("/v1/titles/{title}/deltas"), &body).await.expect(201);
    object
}

/// Says something else of a release.
pub async fn say(server: &TestServer, title: &str, version: &str, change: Value) {
    server.patch(&server.fox, &format!("/v1/titles/{title}/releases/{version}"), &change).await.expect(200);
}

/// The status of a title that is held at a release, and nothing else.
pub fn status(title: &str, grant: GrantId, medium: Option<&Medium>, release: &str) -> Status {
    Status {
        title: title.parse().unwrap(),
        grant_id: Some(grant),
        medium_id: medium.map(|medium| medium.id.clone()),
        release: Some(release.parse().unwrap()),
        damaged: vec![],
        begun: None,
        channel: None,
        wanted: None,
        feed: 0,
        variables: Default::default(),
    }
}

impl Terminal {
    pub fn report_operation(&self, titles: Vec<Status>) -> Operation {
        let (user_id, device_id) = (self.user, self.device_id());
        Operation::Report(Report { user_id, device_id, medium_id: None, encoder: ENCODER.to_owned(), deltas: true, titles })
    }

    pub async fn report(&self, server: &TestServer, titles: Vec<Status>) -> Result<ReportResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, self.report_operation(titles), None).await?).unwrap())
    }

    /// The plan for one title.
    pub async fn plan(&self, server: &TestServer, status: Status) -> Plan {
        let mut result = self.report(server, vec![status]).await.unwrap();
        assert_eq!(result.plans.len(), 1);
        result.plans.remove(0)
    }

    pub fn update_operation(&self, grant_id: GrantId, medium: Option<&Medium>, release: &str) -> Operation {
        Operation::Update(AskUpdate {
            user_id: self.user.unwrap(),
            medium_id: medium.map(|medium| medium.id.clone()),
            grant_id,
            device_id: self.device_id(),
            drive_id: self.drive_id(),
            release: release.parse().unwrap(),
        })
    }

    pub async fn update(
        &self,
        server: &TestServer,
        grant: GrantId,
        medium: Option<&Medium>,
        release: &str,
    ) -> Result<UpdateResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, self.update_operation(grant, medium, release), None).await?).unwrap())
    }
}
