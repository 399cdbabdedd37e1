//! How an authority's keys follow one another: each epoch's are signed by the key before, so that whoever knows one of them follows without being
//! told (SPEC.md §9.3). Whoever hands the document on can keep new keys back, and can neither make any nor show older ones.

use std::collections::BTreeSet;

use counterfoil_core::wire::{AuthorityKeys, KEYS_TYP, KeysStatement};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::jws;
use counterfoil_format::jwt::KeyList;
use counterfoil_format::sign::VerifyingKey;

/// Most epochs that are followed.
pub const MAX_EPOCHS: usize = 1024;

/// Why keys are not those that follow on what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotFollowed {
    /// What is known is newer.
    #[error("keys of epoch {shown}, where those of epoch {known} are known")]
    Older {
        /// As shown.
        shown: u64,
        /// As known.
        known: u64,
    },
    /// Some are not known, and nothing that is known vouches for them.
    #[error("keys that no key that is known vouches for")]
    Unproven,
}

/// Whether `shown` are keys of the authority of this name whose keys were `known`: the same, fewer retired ones, or such as its chain leads to.
///
/// Retired keys that are shown must have been in use within what is known. Where neither has an epoch, whatever adds nothing is accepted.
///
/// # Errors
/// [`NotFollowed`].
pub fn follow(authority: &str, known: &AuthorityKeys, shown: &AuthorityKeys) -> Result<(), NotFollowed> {
    if shown.epoch < known.epoch {
        return Err(NotFollowed::Older { shown: shown.epoch, known: known.epoch });
    }
    let mut seen = every(known);
    let mut now = in_use(known);
    let begin = if known.epoch == 0 { begin(authority, known, &shown.chain) } else { known.epoch };
    for link in links(begin, &shown.chain)? {
        // A statement is signed by the key in use before it: a retired one, which may have been stolen since, signs none.
        let signer = |kid: &str| now.iter().find_map(|key| key.signing(kid));
        let said: KeysStatement = jws::verify_compact(link, KEYS_TYP, signer).map_err(|_| NotFollowed::Unproven)?;
        if said.authority != authority {
            return Err(NotFollowed::Unproven);
        }
        now = in_use(&said.keys);
        seen.extend(every(&said.keys));
    }
    let stated = shown.epoch > 0;
    let reached = shown.epoch == begin || shown.chain.last().and_then(|link| epoch_of(link)) == Some(shown.epoch);
    if reached && (!stated || in_use(shown) == now) && every(shown).is_subset(&seen) { Ok(()) } else { Err(NotFollowed::Unproven) }
}

/// The epoch of keys that were noted without one, by a terminal from before: that of the statement which names exactly those in use.
fn begin(authority: &str, known: &AuthorityKeys, chain: &[String]) -> u64 {
    let (own, now) = (every(known), in_use(known));
    let signer = |kid: &str| own.iter().find_map(|key| key.signing(kid));
    let said = chain.iter().rev().take(MAX_EPOCHS).filter_map(|link| jws::verify_compact::<KeysStatement>(link, KEYS_TYP, signer).ok());
    let mut named = said.filter(|said| said.authority == authority && in_use(&said.keys) == now);
    named.next().map_or(0, |said| said.keys.epoch)
}

/// The statements after an epoch, which lack none between it and the last.
fn links(known: u64, chain: &[String]) -> Result<&[String], NotFollowed> {
    if chain.len() > MAX_EPOCHS {
        return Err(NotFollowed::Unproven);
    }
    let epochs: Option<Vec<u64>> = chain.iter().map(|link| epoch_of(link)).collect();
    let epochs = epochs.ok_or(NotFollowed::Unproven)?;
    let first = epochs.iter().position(|epoch| *epoch > known).unwrap_or(epochs.len());
    let wanted = (1_u64..).map(|step| known.saturating_add(step));
    let gapless = epochs[first..].iter().copied().zip(wanted).all(|(epoch, wanted)| epoch == wanted);
    if gapless { Ok(&chain[first..]) } else { Err(NotFollowed::Unproven) }
}

fn epoch_of(link: &str) -> Option<u64> {
    let said: KeysStatement = parse_strict(&jws::unverified_payload(link)?).ok()?;
    Some(said.keys.epoch)
}

/// A public key with its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Signing { kid: String, key: [u8; 32] },
    Sealing { kid: String, key: String },
}

impl Named {
    fn signing(&self, wanted: &str) -> Option<VerifyingKey> {
        match self {
            Self::Signing { kid, key } if kid == wanted => VerifyingKey::from_bytes(*key).ok(),
            _ => None,
        }
    }
}

fn in_use(keys: &AuthorityKeys) -> BTreeSet<Named> {
    collected(keys, true)
}

fn every(keys: &AuthorityKeys) -> BTreeSet<Named> {
    collected(keys, false)
}

fn collected(keys: &AuthorityKeys, in_use: bool) -> BTreeSet<Named> {
    // A list that cannot be read has no keys, for whoever verifies by it as well.
    let list = serde_json::to_vec(&keys.jwks).ok().and_then(|json| KeyList::parse(&json).ok()).unwrap_or_default();
    let signing = list.keys.iter().filter(|key| !in_use || key.retired_at.is_none());
    let signing = signing.filter_map(|key| Some(Named::Signing { kid: key.kid.clone(), key: *key.verifying_key()?.as_bytes() }));
    let sealing = keys.sealing.iter().filter(|key| !in_use || key.retired_at.is_none());
    signing.chain(sealing.map(|key| Named::Sealing { kid: key.kid.clone(), key: key.key.clone() })).collect()
}

#[cfg(test)]
mod tests;
