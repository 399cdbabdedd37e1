//! A request under way: signed, sealed, and on disk before it is sent, with what opens the answer to it.

use super::ExchangeError;
use crate::card::{HolderError, TokenError};
use crate::error::{Error, Result};
use crate::home::Authority;
use crate::io::{IoFailure, create_dirs, parent, read_small, replace};
use crate::medium::refresh::Presented;
use crate::terminal::{Terminal, key_list};
use counterfoil_core::wire::{Answer, Operation, Request};
use counterfoil_core::{Money, RequestId, Timestamp};
use counterfoil_format::encoding::{from_base64url, parse_strict, to_base64url};
use counterfoil_format::envelope::{self, ANSWER_TYP, Envelope, EnvelopeError, is_sealed};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::jws::{Signer, verify_compact};
use counterfoil_format::secret::Secret;
use counterfoil_format::signer::SignError;
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest stored request that is read, in bytes.
const LONGEST_STORED: u64 = 2 * envelope::MAX_ENVELOPE as u64;

/// A request under way, as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub request_id: RequestId,
    issued_at: Timestamp,
    /// For people who look into the directory.
    op: String,
    pub envelope: Envelope,
    /// What opens a sealed answer, base64url; none in a request from before answers were sealed.
    #[serde(default)]
    reply: Zeroizing<String>,
    #[serde(default)]
    refreshable: bool,
    /// Whether it is sealed for a gateway to hand in.
    #[serde(default)]
    by_gateway: bool,
    /// What the person has agreed to pay for it, at a gateway (C17) or to the authority itself (C18).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agreed: Option<Money>,
    /// With which gateway: another one asks for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agreed_with: Option<String>,
    /// Whether it says so inside, to the authority.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub pays_authority: bool,
}

impl Stored {
    /// Signs, seals and stores.
    pub fn make(
        terminal: &Terminal,
        authority: &Authority,
        operation: &Operation,
        proofs: &[(&str, Signer<'_>)],
        presented: Option<&Presented<'_>>,
        path: &Path,
    ) -> Result<Self> {
        let stored = Self::seal(terminal, authority, operation, proofs, presented)?;
        stored.keep(terminal, path)?;
        Ok(stored)
    }

    /// Seals the same request again, to a key that has taken the place of the one that it was sealed to, or with what was agreed to pay for it.
    pub fn again(
        &self,
        terminal: &Terminal,
        authority: &Authority,
        operation: &Operation,
        proofs: &[(&str, Signer<'_>)],
        path: &Path,
    ) -> Result<Self> {
        let request = self.request(operation);
        let sealed = Self {
            agreed: self.agreed,
            agreed_with: self.agreed_with.clone(),
            pays_authority: self.pays_authority,
            ..sealed(terminal, authority, &request, proofs)?
        };
        sealed.keep(terminal, path)?;
        Ok(sealed)
    }

    fn request(&self, operation: &Operation) -> Request {
        let Self { request_id, issued_at, refreshable, by_gateway, .. } = *self;
        Request { request_id, issued_at, refreshable, seal_answer: true, by_gateway, operation: operation.clone() }
    }

    /// Has it on disk, before it is sent.
    pub fn keep(&self, terminal: &Terminal, path: &Path) -> Result<()> {
        create_dirs(&**terminal.io(), parent(path), 0o700)?;
        let bytes = Zeroizing::new(serde_json::to_vec(self).expect("an envelope is strings"));
        Ok(replace(&**terminal.io(), path, &bytes, 0o600)?)
    }

    /// Signs and seals.
    pub fn seal(
        terminal: &Terminal,
        authority: &Authority,
        operation: &Operation,
        proofs: &[(&str, Signer<'_>)],
        presented: Option<&Presented<'_>>,
    ) -> Result<Self> {
        let now = terminal.clock().now();
        let request_id = RequestId(terminal.with_random(|random| {
            let mut bits = [0; 10];
            random.fill(&mut bits);
            uuid::Builder::from_unix_timestamp_millis(u64::try_from(now.0).unwrap_or(0), &bits).into_uuid()
        }));
        let refreshable = presented.is_some_and(|presented| presented.is_refreshable(terminal));
        let by_gateway = terminal.via()?.is_some();
        let request = Request { request_id, issued_at: now, refreshable, seal_answer: true, by_gateway, operation: operation.clone() };
        sealed(terminal, authority, &request, proofs)
    }

    /// What is under way, if anything is.
    pub fn load(terminal: &Terminal, path: &Path) -> Result<Option<Self>> {
        let bytes = read_small(&**terminal.io(), path, LONGEST_STORED)?;
        // One that cannot be read was torn before it was ever sent: it is stored durably first.
        Ok(bytes.and_then(|bytes| parse_strict(&bytes).ok()))
    }

    /// Opens and verifies what came back. An authority that cannot seal answers yet answers plain, and signs it all the same.
    pub fn answer(&self, authority: &Authority, text: &str) -> std::result::Result<Answer, ExchangeError> {
        let opened = if is_sealed(text) { Some(self.opened(text)?) } else { None };
        let keys = key_list(&authority.document);
        let found = |kid: &str| keys.find(kid).filter(|key| key.retired_at.is_none_or(|end| end > self.issued_at.seconds()));
        let token = opened.as_deref().unwrap_or(text);
        let answer: Answer = verify_compact(token, ANSWER_TYP, |kid| found(kid).and_then(|key| key.verifying_key()))?;
        if answer.request_id != self.request_id { Err(ExchangeError::OtherRequest) } else { Ok(answer) }
    }

    fn opened(&self, text: &str) -> std::result::Result<String, ExchangeError> {
        let secret = from_base64url(&self.reply).map(Zeroizing::new).and_then(|secret| Secret::from_slice(&secret));
        let key = self.envelope.reply_key(secret.ok_or(ExchangeError::Sealed)?);
        key.open(text).map_err(|_| ExchangeError::Sealed)
    }
}

/// Sealed to the key that the authority uses now.
fn sealed(terminal: &Terminal, authority: &Authority, request: &Request, proofs: &[(&str, Signer<'_>)]) -> Result<Stored> {
    let now = terminal.clock().now();
    let name = || authority.document.name.clone();
    let current = authority.document.keys.sealing.iter().find(|key| key.retired_at.is_none_or(|end| end > now));
    let sealing = current.or(authority.document.keys.sealing.first()).ok_or_else(|| ExchangeError::NoSealingKey(name()))?;
    let key: SealingPublicKey = sealing.key.parse().map_err(|_| ExchangeError::NoSealingKey(name()))?;
    let payload = Zeroizing::new(serde_json::to_vec(request).expect("requests are strings and numbers"));
    let (envelope, reply) =
        terminal.with_random(|random| envelope::seal(&payload, proofs, &sealing.kid, &key, random)).map_err(not_sealed)?;
    let reply = Zeroizing::new(to_base64url(reply.secret().expose()));
    let Request { request_id, issued_at, refreshable, by_gateway, .. } = *request;
    Ok(Stored {
        request_id,
        issued_at,
        op: request.operation.name().to_owned(),
        envelope,
        reply,
        refreshable,
        by_gateway,
        agreed: None,
        agreed_with: None,
        pays_authority: false,
    })
}

/// Removes a request that is not to be repeated.
pub(super) fn forget(terminal: &Terminal, path: &Path) -> Result<()> {
    match terminal.io().remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IoFailure::at("remove", path)(error).into()),
        _ => Ok(()),
    }
}

/// A token that fails says so itself.
fn not_sealed(error: EnvelopeError) -> Error {
    match error {
        EnvelopeError::Signer(SignError(reason)) => HolderError::Token(TokenError::Failed(reason)).into(),
        error => ExchangeError::from(error).into(),
    }
}
