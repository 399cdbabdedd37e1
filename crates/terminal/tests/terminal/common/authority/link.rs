//! The way to the authority.

use super::*;

/// The way to it, which can lose requests and answers.
#[derive(Default)]
pub struct Faults {
    /// Requests with these numbers (from 0) never arrive.
    pub lose_requests: Vec<u64>,
    /// Requests with these numbers are carried out, and the answer is lost.
    pub lose_answers: Vec<u64>,
    /// Requests with these numbers are refused by somebody in between, who signs nothing.
    pub refused: Vec<(u64, Code)>,
    /// Nothing arrives.
    pub offline: bool,
    /// Requests so far.
    pub sent: u64,
    /// Whoever stands in between can answer in the authority's place.
    pub unguarded: bool,
}

pub struct Link {
    pub authority: Arc<Authority>,
    pub faults: Arc<Mutex<Faults>>,
}

impl Transport for Link {
    fn document(&self) -> Result<AuthorityDocument, TransportError> {
        if self.faults.lock().unwrap().offline { Err(lost()) } else { Ok(self.authority.document_of()) }
    }

    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError> {
        let mut faults = self.faults.lock().unwrap();
        let number = faults.sent;
        faults.sent += 1;
        if faults.offline || faults.lose_requests.contains(&number) {
            return Err(lost());
        }
        if let Some((_, code)) = faults.refused.iter().find(|(refused, _)| *refused == number) {
            return Err(TransportError::Refused((*code).into()));
        }
        let answer = self.authority.answer(envelope);
        if faults.lose_answers.contains(&number) { Err(lost()) } else { answer }
    }

    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn std::io::Read + Send>, TransportError> {
        if self.faults.lock().unwrap().offline {
            return Err(lost());
        }
        if let Some(bytes) = self.handed_in(object) {
            self.authority.contents.objects.lock().unwrap().entry(object.to_owned()).or_insert(bytes);
        }
        self.authority.contents.fetch(object, part)
    }

    fn upload(&self, path: &str, source: &dyn ReadAt, length: u64, told: &dyn Fn(u64)) -> counterfoil_terminal::Result<()> {
        self.put(path, source, length, told)
    }

    fn take_back(&self, path: &str) -> Result<(), TransportError> {
        self.give_up(path)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError> {
        let missing = || TransportError::Status { url: "memory:".into(), status: 404, detail: "not found".into() };
        let path: Vec<&str> = path.strip_prefix("/v1/store/titles/").ok_or_else(missing)?.split('/').collect();
        let state = self.authority.state.lock().unwrap();
        let (title, document) = state.on_sale.get(&path[0].parse().unwrap()).ok_or_else(missing)?;
        let found = match path[1..] {
            [] => serde_json::json!({ "releases": [{ "version": title.release, "channel": "stable" }] }),
            ["releases", version] if version == title.release.as_str() => {
                let objects = self.authority.contents.objects.lock().unwrap();
                let objects: Vec<_> =
                    objects.iter().map(|(name, bytes)| serde_json::json!({ "object": name, "length": bytes.len() })).collect();
                serde_json::json!({ "title": title.title, "name": title.name, "kind": title.kind, "version": title.release,
                                    "publisher": title.publisher, "document": document, "objects": objects })
            }
            _ => return Err(missing()),
        };
        Ok(serde_json::to_vec(&found).unwrap())
    }

    fn is_guarded(&self) -> bool {
        !self.faults.lock().unwrap().unguarded
    }
}

pub(super) fn lost() -> TransportError {
    TransportError::Unreachable { url: "memory:".into(), reason: "lost on the way".into() }
}
