//! Content at the contents servers, over as many connections as packs are fetched at once.

use super::Source;
use crate::error::Result;
use crate::install::InstallError;
use crate::transport::{Part, Transport, TransportError};
use counterfoil_core::TitleId;
use counterfoil_format::content::{ObjectName, Release};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

/// Connections, where nobody says: enough to fill a line with some delay, and few enough for the others who share it.
const CONNECTIONS: usize = 4;

/// The contents servers.
pub(crate) struct Network {
    pub transport: Arc<dyn Transport>,
    pub title: TitleId,
}

impl Source for Network {
    fn manifest(&self, release: &Release) -> Result<Vec<u8>> {
        let name = &release.manifest.object;
        let body = self.transport.fetch(&name.to_string(), Part::default())?;
        let mut sealed = Vec::new();
        // Its length is the publisher's word, which bounds it; one byte more is enough to know that it is too long.
        body.take(release.manifest.length + 1).read_to_end(&mut sealed).map_err(|error| broken(name, error))?;
        release.check_manifest_object(&sealed).map_err(|error| self.not_authentic(error.to_string()))?;
        Ok(sealed)
    }

    fn pack(&self, pack: &ObjectName, range: Range<u64>) -> Result<Box<dyn Read + Send + '_>> {
        let part = Part { from: range.start, to: Some(range.end) };
        Ok(Box::new(self.transport.fetch(&pack.to_string(), part)?.take(range.end - range.start)))
    }

    fn not_authentic(&self, reason: String) -> crate::Error {
        InstallError::NotAuthentic { title: self.title.clone(), reason }.into()
    }

    /// A chunk at a time: whoever is cut off has fetched one in vain at most.
    fn bulk(&self) -> usize {
        0
    }

    fn at_once(&self) -> usize {
        CONNECTIONS
    }

    fn unreadable(&self, pack: &ObjectName, _: u64, source: io::Error) -> crate::Error {
        broken(pack, source)
    }

    fn damaged(&self, pack: &ObjectName, offset: u64, reason: String) -> crate::Error {
        InstallError::Damaged { what: "the contents server".into(), pack: *pack, offset, reason }.into()
    }
}

/// The line broke, and did not come back.
pub(crate) fn broken(object: &ObjectName, error: io::Error) -> crate::Error {
    let known = error.downcast::<TransportError>();
    known.unwrap_or_else(|error| TransportError::Unreachable { url: format!("content {object}"), reason: error.to_string() }).into()
}
