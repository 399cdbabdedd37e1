//! The identity areas of a batch, one after the other as the authority signs them.

use std::io::BufReader;

use counterfoil_core::wire::{IdentityArea, IdentityClaims};
use counterfoil_core::{BatchId, MediumId};
use counterfoil_format::jws::unverified_payload;

use counterfoil_terminal::layout;

use super::{read_line, texts};
use crate::failure::Failure;
use crate::publisher::api::Api;

/// One medium's.
pub struct Identity {
    /// Number within the batch, from 1.
    pub serial: u64,
    /// Which medium.
    pub medium_id: MediumId,
    /// What it says.
    pub label: Label,
}

/// What stands on a medium besides what is the same on all of its batch, or on all without an identity.
pub struct Label {
    /// What the bytes are called there.
    pub file: &'static str,
    /// The identity area, or the notice.
    pub area: Vec<u8>,
    /// What it is, for people.
    pub readme: String,
    /// Name of the volume, where it has one: the first title's.
    pub volume: String,
    /// When it was vouched for, seconds.
    pub iat: i64,
}

/// The stream of them.
pub struct Identities {
    batch: BatchId,
    lines: BufReader<Box<dyn std::io::Read + Send>>,
    /// Serial that comes next.
    next: u64,
    last: u64,
    /// Whether the client is on the media.
    with_client: bool,
}

impl Identities {
    /// Those with the serials `first` to `last`.
    pub fn from(api: &Api, batch: BatchId, first: u64, last: u64, with_client: bool) -> Result<Self, Failure> {
        let stream = api.stream(&format!("/v1/batches/{batch}/identities?from={first}&count={}", last + 1 - first))?;
        Ok(Self { batch, lines: BufReader::with_capacity(256 * 1024, stream), next: first, last, with_client })
    }

    /// The next one; nothing after the last.
    ///
    /// # Errors
    /// The stream broke off, or is not what was asked for.
    pub fn next(&mut self) -> Result<Option<Identity>, Failure> {
        if self.next > self.last {
            return Ok(None);
        }
        let broken = |error: std::io::Error| {
            Failure::operation("unreachable", format!("the identities broke off: {error}"))
                .hint("Repeat the command: it goes on where it was.")
        };
        let line = read_line(&mut self.lines, IdentityArea::LIMIT).map_err(broken)?;
        let line = line.ok_or_else(|| broken(std::io::ErrorKind::UnexpectedEof.into()))?;
        let wrong = || Failure::operation("answer_invalid", format!("the authority gave no good identity for serial {}", self.next));
        let area: IdentityArea = serde_json::from_slice(&line).map_err(|_| wrong())?;
        let claims = claims(&area.identity).ok_or_else(wrong)?;
        if claims.batch != self.batch || claims.serial != self.next {
            return Err(wrong());
        }
        self.next += 1;
        let label = Label {
            file: layout::IDENTITY,
            readme: texts::readme(&claims, &area.authority.urls, self.with_client),
            volume: claims.titles.first().map_or("COUNTERFOIL".to_owned(), |title| title.title.to_string()),
            iat: claims.iat,
            area: line,
        };
        Ok(Some(Identity { serial: claims.serial, medium_id: claims.medium_id, label }))
    }
}

/// What a signed identity says. The signature is for whoever meets the medium; here it comes from the authority itself.
fn claims(identity: &str) -> Option<IdentityClaims> {
    serde_json::from_slice(&unverified_payload(identity)?).ok()
}
