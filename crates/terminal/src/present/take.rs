//! Fetching what a provider has: from where it broke off, into a place that shows it only when all of it is there and is what was announced.

use super::Session;
use super::error::PresentError;
use super::http::broken;
use crate::error::Result;
use crate::fill::check_space;
use crate::received::{Place, Receiving};
use crate::terminal::Terminal;
use counterfoil_core::wire::ProviderContent;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that came over the network; none where it was there.
    pub fetched: u64,
    /// Whether it lies sealed in the library, and not on the medium.
    pub sealed: bool,
}

/// Takes one thing, and tells how many of its bytes are here by now.
///
/// # Errors
/// [`PresentError::Damaged`], [`PresentError::Refused`]; [`crate::transport::TransportError`]: a repeat goes on where it was;
/// [`crate::CopyError::Space`]; code `busy`; what the system said.
pub fn take(terminal: &Terminal, session: &Session, content: &ProviderContent, place: &Place, told: &dyn Fn(u64, u64)) -> Result<Taken> {
    let _lock = place.lock(terminal)?;
    let provider = session.id.to_string();
    let sealed = place.is_sealed();
    if place.holds(terminal, &provider, content)? {
        return Ok(Taken { path: place.path(&provider, &content.name), fetched: 0, sealed });
    }
    check_space(terminal, place.root(), place.needed(content.length))?;
    let mut fetched = 0;
    // What an earlier attempt has left may be of something else by that name; then once more from the beginning.
    for fresh in [false, true] {
        let mut receiving = place.receive(terminal, &provider, &content.name, fresh)?;
        let resumed = receiving.length() > 0;
        if receiving.length() <= content.length {
            fetched += fetch(session, content, &mut receiving, told)?;
        }
        if receiving.length() == content.length && receiving.hash().to_string() == content.blake3 {
            return Ok(Taken { path: receiving.finish(terminal)?, fetched, sealed });
        }
        receiving.discard()?;
        if !resumed {
            break;
        }
    }
    let reason = "length or BLAKE3 is another".into();
    Err(PresentError::Damaged { name: content.name.clone(), reason }.into())
}

fn fetch(session: &Session, content: &ProviderContent, receiving: &mut Receiving<'_>, told: &dyn Fn(u64, u64)) -> Result<u64> {
    let (name, length) = (&content.name, content.length);
    let begun = receiving.length();
    told(begun, length);
    if begun == length {
        return Ok(0);
    }
    let mut body = session.provider.fetch(&session.token, name, begun, length)?;
    let mut buffer = vec![0; BUFFER];
    while receiving.length() < length {
        let count = match body.read(&mut buffer) {
            Ok(0) => return Err(kept(receiving, broken(name, &io::ErrorKind::UnexpectedEof.into()).into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(kept(receiving, broken(name, &error).into())),
        };
        receiving.write(&buffer[..count])?;
        told(receiving.length(), length);
    }
    Ok(length - begun)
}

/// What has come so far is kept for the next attempt, as far as it can be.
fn kept(receiving: &mut Receiving<'_>, error: crate::Error) -> crate::Error {
    match receiving.keep() {
        Ok(()) => error,
        Err(failed) => failed,
    }
}
