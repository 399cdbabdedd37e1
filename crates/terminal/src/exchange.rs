//! Envelope out, answer in: the request is on disk before it is sent, and a command repeated sends the same one again.

mod error;
mod passing;
mod paying;
mod stored;

use crate::error::Result;
use crate::home::Authority;
use crate::medium::refresh::Presented;
use crate::terminal::Terminal;
use crate::transport::{Event, TransportError};
use counterfoil_core::wire::{Operation, Refresh};
use counterfoil_core::{Code, Refusal, Timestamp};
use counterfoil_format::content::ObjectName;
use counterfoil_format::jws::{JwsError, Signer};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub use error::ExchangeError;
use stored::{Stored, forget};

/// An answer that was accepted. The stored request is removed by [`applied`](Self::applied), when its effect is safe here.
#[must_use = "the stored request stays until the answer is applied"]
pub(crate) struct Accepted<'a, T> {
    pub result: T,
    stored: PathBuf,
    refresh: Option<(&'a Presented<'a>, Refresh)>,
}

impl<T> Accepted<'_, T> {
    /// The effect of the answer is durable: the request is not to be repeated. The medium gets its new identity, where there is one.
    pub fn applied(self, terminal: &Terminal) -> T {
        // Where it cannot be removed it may stay: sent again, it gets the same answer or a refusal, and never a second effect.
        let _ = forget(terminal, &self.stored);
        if let Some((presented, refresh)) = &self.refresh {
            presented.take(terminal, refresh);
        }
        self.result
    }
}

/// Asks the authority, with `proofs` by ID. A request of the same content that is still under way is sent again as it was. Where the
/// authority has changed its keys meanwhile, they are renewed once.
///
/// # Errors
/// The refusal, signed; [`ExchangeError`]; [`crate::transport::TransportError`], which a refusal is too that nobody has signed: then the request
/// stays, and a repeat gets the same answer.
pub(crate) fn exchange<T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    operation: Operation,
    proofs: &[(&str, Signer<'_>)],
) -> Result<Accepted<'static, T>> {
    exchange_presenting(terminal, authority, operation, proofs, None)
}

/// The same, where a medium is among those that prove it: it gets a new identity, where the authority has one for it (B7).
///
/// # Errors
/// As [`exchange`].
pub(crate) fn exchange_presenting<'a, T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    mut operation: Operation,
    proofs: &[(&str, Signer<'_>)],
    presented: Option<&'a Presented<'a>>,
) -> Result<Accepted<'a, T>> {
    let stored_at = stored_at(terminal, &operation, presented);
    let (mut stored, mut repeated) = match Stored::load(terminal, &stored_at)? {
        Some(stored) => (stored, true),
        None => (Stored::make(terminal, authority, &operation, proofs, presented, &stored_at)?, false),
    };
    if let Some(agreed) = stored.agreed.filter(|_| stored.pays_authority) {
        paying::agree(&mut operation, agreed);
    }
    let mut known = Known { authority: Cow::Borrowed(authority), renewed: false };
    let (mut ended, mut prices) = (false, 0);
    loop {
        let mut refresh = None;
        let refusal = match put(terminal, &mut known, &operation, proofs, &mut stored, Some(&stored_at))? {
            Ok(Answered { at, refresh, outcome: Ok(result) }) => {
                terminal.home().note_time(at)?;
                return Ok(Accepted { result, stored: stored_at, refresh: presented.zip(refresh) });
            }
            Ok(Answered { at, refresh: offered, outcome: Err(refusal) }) => {
                terminal.home().note_time(at)?;
                refresh = presented.zip(offered);
                refusal
            }
            Err(refusal) => refusal,
        };
        if refusal.code == Code::RateLimited {
            return Err(refusal.into());
        }
        // The authority itself charges for it (C18): asked about, agreed to on disk, and sent again under the same ID.
        if prices < paying::PRICES && paying::consent(terminal, &mut operation, &mut stored, &refusal)? {
            prices += 1;
            stored = stored.again(terminal, &known.authority, &operation, proofs, &stored_at)?;
            continue;
        }
        // What was agreed to pay for is the same exchange, whatever key it is sealed to: it is charged once.
        if refusal.code == Code::EnvelopeInvalid && stored.agreed.is_some() && known.renew(terminal) {
            stored = stored.again(terminal, &known.authority, &operation, proofs, &stored_at)?;
            continue;
        }
        forget(terminal, &stored_at)?;
        paying::strip(&mut operation);
        if let Some((presented, refresh)) = refresh {
            presented.take(terminal, &refresh);
        }
        // The key that it was sealed to may be gone, and another in its place.
        let mut again = refusal.code == Code::EnvelopeInvalid && known.renew(terminal);
        // A request from long ago has grown stale; the same question asked today has not been refused yet.
        if matches!(refusal.code, Code::ClockSkewed | Code::EnvelopeInvalid | Code::RequestMismatch) {
            again |= std::mem::take(&mut repeated);
        }
        // Given up on the way, and nothing charged: the same question is another exchange.
        again |= refusal.code == Code::ExchangeEnded && !std::mem::replace(&mut ended, true);
        if !again {
            return Err(paying::unpaid(&operation, refusal));
        }
        stored = Stored::make(terminal, &known.authority, &operation, proofs, presented, &stored_at)?;
    }
}

/// By what is asked and, where a medium proves it, by the epoch of its claim secret: a request from before it was refreshed would come from
/// what looks like an old copy of it.
fn stored_at(terminal: &Terminal, operation: &Operation, presented: Option<&Presented<'_>>) -> PathBuf {
    // What is agreed to is no part of what is asked: the same command after a crash goes on with the request that says it.
    let mut named = operation.clone();
    paying::strip(&mut named);
    // Nor is what has been heard meanwhile.
    if let Operation::License(ask) = &mut named {
        ask.feed = 0;
    }
    let mut content = Zeroizing::new(serde_json::to_vec(&named).expect("operations are strings and numbers"));
    if let Some(epoch) = presented.map(Presented::epoch).filter(|epoch| *epoch > 1) {
        content.extend_from_slice(&epoch.to_be_bytes());
    }
    terminal.home().requests().join(format!("{}-{}.json", operation.name(), &ObjectName::of(&content).to_string()[..32]))
}

/// Asks what may be asked anew at any time, and has no effect that a repeat would have twice: nothing of it is stored. Wants no lock, and
/// takes it as it comes where another command has it.
///
/// # Errors
/// As [`exchange`].
pub(crate) fn ask<T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
) -> Result<T> {
    ask_presenting(terminal, authority, operation, proofs, None)
}

/// The same, where a medium is among those that prove it, as [`exchange_presenting`].
///
/// # Errors
/// As [`exchange`].
pub(crate) fn ask_presenting<T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
    presented: Option<&Presented<'_>>,
) -> Result<T> {
    let mut known = Known { authority: Cow::Borrowed(authority), renewed: false };
    loop {
        let mut request = Stored::seal(terminal, &known.authority, operation, proofs, presented)?;
        let refusal = match put(terminal, &mut known, operation, proofs, &mut request, None)? {
            Ok(Answered { at, refresh, outcome }) => {
                note_lazily(terminal, at)?;
                if let Some((presented, refresh)) = presented.zip(refresh) {
                    presented.take(terminal, &refresh);
                }
                return Ok(outcome?);
            }
            Err(refusal) => refusal,
        };
        if refusal.code != Code::EnvelopeInvalid || !known.renew(terminal) {
            // Told apart from what the authority has signed.
            return Err(crate::Error::Transport(TransportError::Refused(refusal)));
        }
    }
}

/// Asks for a stream of answers to one request, and hands each on as it comes; ends with what `take` says, or when the stream does.
///
/// # Errors
/// As [`exchange`]; [`crate::transport::TransportError::NoStream`] where only single answers are to be had.
pub(crate) fn listen<T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
    take: &mut dyn FnMut(Option<T>) -> std::ops::ControlFlow<()>,
) -> Result<()> {
    let request = Stored::seal(terminal, authority, operation, proofs, None)?;
    let transport = terminal.transport(&authority.document.urls_for(operation))?;
    let mut events = transport.listen(&request.envelope.to_json()).map_err(crate::Error::Transport)?;
    while let Some(event) = events.next()? {
        let answered = match event {
            Event::Heartbeat => None,
            Event::Answer(token) => {
                let answer = request.answer(authority, &token)?;
                note_lazily(terminal, answer.server_time)?;
                Some(answer.outcome.into_result().map_err(|error| ExchangeError::Shape(error.to_string()))??)
            }
        };
        if take(answered).is_break() {
            break;
        }
    }
    Ok(())
}

/// Asks for one answer as [`listen`] does for many: it is waited for while it would be the one that is `known`. Answers with the name of the
/// one that came.
///
/// # Errors
/// As [`listen`].
pub(crate) fn poll<T: DeserializeOwned>(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
    known: Option<&str>,
) -> Result<(T, String)> {
    let request = Stored::seal(terminal, authority, operation, proofs, None)?;
    let transport = terminal.transport(&authority.document.urls_for(operation))?;
    // Refused without a signature, as everywhere: not the authority's word.
    let polled = transport.poll(&request.envelope.to_json(), known).map_err(crate::Error::Transport)?;
    let answer = request.answer(authority, &polled.answer)?;
    note_lazily(terminal, answer.server_time)?;
    Ok((answer.outcome.into_result().map_err(|error| ExchangeError::Shape(error.to_string()))??, polled.id))
}

/// How far the time that is remembered may lie behind the one that was signed last, in milliseconds, before it is worth a write.
const LAZY: u64 = 10 * 60 * 1000;

fn note_lazily(terminal: &Terminal, answered_at: Timestamp) -> Result<()> {
    let known = terminal.home().profile()?.latest_time;
    if known.is_some_and(|known| known >= answered_at || known.distance(answered_at) < LAZY) {
        return Ok(());
    }
    // Whoever has the lock has asked the authority something, and notes the time as well.
    match terminal.home().lock_if_free()? {
        Some(_lock) => terminal.home().note_time(answered_at),
        None => Ok(()),
    }
}

/// The authority that is asked; what is known of it is renewed at most once while something is asked.
struct Known<'a> {
    authority: Cow<'a, Authority>,
    renewed: bool,
}

impl Known<'_> {
    /// Whether there is something new to know.
    fn renew(&mut self, terminal: &Terminal) -> bool {
        if std::mem::replace(&mut self.renewed, true) {
            return false;
        }
        let Some(now_known) = terminal.renew(&self.authority) else { return false };
        self.authority = Cow::Owned(now_known);
        true
    }
}

/// What the authority has signed, when.
struct Answered<T> {
    at: Timestamp,
    refresh: Option<Refresh>,
    outcome: std::result::Result<T, Refusal>,
}

/// Sends a request that is sealed, and verifies the answer, or has a refusal that nobody has signed.
fn put<T: DeserializeOwned>(
    terminal: &Terminal,
    known: &mut Known<'_>,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
    request: &mut Stored,
    stored_at: Option<&Path>,
) -> Result<std::result::Result<Answered<T>, Refusal>> {
    let sent = match terminal.via()? {
        Some(gateway) => passing::send(terminal, &gateway, proofs, request, stored_at)?,
        None => send(terminal, &known.authority, operation, request)?,
    };
    let token = match sent {
        Ok(token) => token,
        // Refused without an answer, as when the envelope cannot be opened.
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut answer = request.answer(&known.authority, &token);
    if matches!(answer, Err(ExchangeError::Signature(JwsError::UnknownKey))) && known.renew(terminal) {
        answer = request.answer(&known.authority, &token);
    }
    let answer = answer?;
    let outcome = answer.outcome.into_result().map_err(|error| ExchangeError::Shape(error.to_string()))?;
    Ok(Ok(Answered { at: answer.server_time, refresh: answer.refresh, outcome }))
}

/// Sends the request to who does such things, as far as is known here, and from there to whom the answer names: the authority may have
/// divided its work since. What was learned by that is kept for the next time.
fn send(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    stored: &Stored,
) -> Result<std::result::Result<String, Refusal>> {
    let envelope = stored.envelope.to_json();
    let first = terminal.transport(&authority.document.urls_for(operation))?;
    let answered = match first.exchange(&envelope) {
        Err(TransportError::Misdirected { url, urls }) => {
            let _ = terminal.renew(authority);
            match terminal.transport_elsewhere(&*first, &urls) {
                Some(second) => second.exchange(&envelope),
                None => Err(TransportError::Misdirected { url, urls }),
            }
        }
        answered => answered,
    };
    match answered {
        Ok(token) => Ok(Ok(token)),
        // What is said without being signed, because nothing was opened, or decided.
        Err(TransportError::Refused(refusal)) if matches!(refusal.code, Code::EnvelopeInvalid | Code::RateLimited) => Ok(Err(refusal)),
        // All other refusals the authority signs; this one anybody in between may have written, and the request stays.
        Err(error) => Err(crate::Error::Transport(error)),
    }
}

/// A request that somebody else hands to the authority, as JSON.
///
/// # Errors
/// [`ExchangeError`].
pub(crate) fn envelope(
    terminal: &Terminal,
    authority: &Authority,
    operation: &Operation,
    proofs: &[(&str, Signer<'_>)],
) -> Result<serde_json::Value> {
    let sealed = Stored::seal(terminal, authority, operation, proofs, None)?;
    Ok(serde_json::to_value(&sealed.envelope).expect("an envelope is strings"))
}

/// A refusal with what this terminal knows besides.
pub(crate) fn refused(code: Code, detail: impl Into<String>) -> crate::Error {
    crate::Error::Refused(Refusal::with(code, detail))
}
