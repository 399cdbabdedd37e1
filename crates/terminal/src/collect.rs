//! What stands for a card, asked for as a whole: so a new card is filled, and one is wiped of what a repair has ended (C14, C15).

use crate::card::{CardChoice, CardGrant, FileHolder, HolderError, Sealed, SealedGrant, SealedUser, file::user_purpose};
use crate::error::Result;
use crate::exchange::{ExchangeError, ask};
use crate::home::{Authority, HomeError};
use crate::origin::Origin;
use crate::terminal::Terminal;
use counterfoil_core::rules::register::Combination;
use counterfoil_core::wire::{Collect, CollectResult, CollectedGrant, HolderKind, Operation};
use counterfoil_core::{CardId, GrantId, Timestamp, UserId};
use counterfoil_format::grant::SealedBox;
use std::collections::HashSet;

/// Pages that are asked for at most: more grants than a card file has room for.
const MOST_PAGES: usize = 1000;
/// How often everything is asked for again, because the entry was changed between two pages.
const TRIES: usize = 5;

/// What a card holds after it was compared with what stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// Which card.
    pub card_id: CardId,
    /// Whose.
    pub user_id: UserId,
    /// The entry's generation, which the card's is now.
    pub generation: u32,
    /// Grants that were on it and stand.
    pub kept: usize,
    /// Grants that were not on it.
    pub added: Vec<CardGrant>,
    /// Grants that do not stand any more, and are gone from it.
    pub dropped: Vec<CardGrant>,
}

/// Brings a card to what stands, in one write.
///
/// # Errors
/// The refusals of `collect`: of a card that is dead or was never registered, [`counterfoil_core::Code::CardUnknown`];
/// [`crate::transport::TransportError`]; what the system said. The card is as it was then.
pub fn collect(terminal: &Terminal, card: &CardChoice) -> Result<Collected> {
    let _home = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let mut card = open_card(terminal, card)?;
    collect_onto(terminal, &authority, &mut card)
}

/// The same for a card that is open, under the home's lock.
pub(crate) fn collect_onto(terminal: &Terminal, authority: &Authority, card: &mut FileHolder) -> Result<Collected> {
    let (sealed, collected) = compare(terminal, authority, card)?;
    card.store(sealed)?;
    Ok(collected)
}

/// What an open card is to hold, by what stands, and what that changes; the card stays as it is, until the caller stores this.
pub(crate) fn compare(terminal: &Terminal, authority: &Authority, card: &FileHolder) -> Result<(Sealed, Collected)> {
    standing(terminal, authority, card)?.onto(card, &[])
}

/// What a card is to hold where an answer shows that its entry was repaired since: what stands, and the grants `just` received, which the
/// entry need not have heard of yet. The generation is the answer's; the card stays as it is, until the caller stores this.
pub(crate) fn caught_up(
    terminal: &Terminal,
    authority: &Authority,
    card: &FileHolder,
    just: &[SealedGrant],
    generation: u32,
) -> Result<Option<Sealed>> {
    let known = card.sealed().user.as_ref().map_or(0, |user| user.generation);
    if card.kind() != HolderKind::Card || generation <= known {
        return Ok(None);
    }
    let (sealed, _) = standing(terminal, authority, card)?.onto(card, just)?;
    Ok(Some(sealed))
}

/// The card that is meant: the one named, or the usual one.
pub(crate) fn open_card(terminal: &Terminal, choice: &CardChoice) -> Result<FileHolder> {
    let path = match choice {
        CardChoice::File(path) => path.clone(),
        CardChoice::Default | CardChoice::None => terminal.default_card(),
    };
    terminal.open_holder(&path, HolderKind::Card)
}

/// All that stands for a card, as it was at one moment.
struct Standing {
    user: SealedBox,
    authority: String,
    combination: Combination,
    generation: u32,
    exchanged_at: Option<Timestamp>,
    grants: Vec<SealedGrant>,
}

fn standing(terminal: &Terminal, authority: &Authority, card: &FileHolder) -> Result<Standing> {
    let name = authority.document.name.clone();
    if let Some(other) = card.sealed().user.as_ref().filter(|user| user.authority != name) {
        return Err(HomeError::OtherAuthority { pinned: name, found: format!("the card is registered with `{}`", other.authority) }.into());
    }
    for _ in 0..TRIES {
        if let Some(standing) = try_standing(terminal, authority, card)? {
            return Ok(standing);
        }
    }
    Err(ExchangeError::Shape("the user entry is changed all the time".into()).into())
}

/// Page by page; none where the entry was repaired between two of them.
fn try_standing(terminal: &Terminal, authority: &Authority, card: &FileHolder) -> Result<Option<Standing>> {
    let (card_id, name) = (card.card_id(), card.card_id().to_string());
    let shape = |reason: String| ExchangeError::Shape(reason);
    let mut found: Option<Standing> = None;
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let operation = Operation::Collect(Collect { card_id, after: after.clone() });
        let page: CollectResult = ask(terminal, authority, &operation, &[(&name, card.signer())])?;
        let standing = match &mut found {
            Some(standing) if standing.generation != page.generation => return Ok(None),
            Some(standing) => standing,
            None => found.insert(Standing {
                user: serde_json::from_value(page.user).map_err(|error| shape(error.to_string()))?,
                authority: authority.document.name.clone(),
                combination: page.combination,
                generation: page.generation,
                exchanged_at: page.exchanged_at,
                grants: Vec::new(),
            }),
        };
        for grant in &page.grants {
            standing.grants.push(taken(grant, &authority.document.name)?);
        }
        match page.more {
            None => return Ok(found),
            more if more == after => return Err(shape("its list does not end".into()).into()),
            more => after = more,
        }
    }
    Err(shape("it lists more than a card can hold".into()).into())
}

fn taken(collected: &CollectedGrant, authority: &str) -> Result<SealedGrant> {
    let origin: Origin = match (&collected.medium_id, collected.license_id) {
        (Some(medium), None) => medium.clone().into(),
        (None, Some(license)) => license.into(),
        _ => return Err(ExchangeError::Shape("a grant is of neither a medium nor a license".into()).into()),
    };
    let device = collected.device_id.map(|id| id.to_string());
    Ok(SealedGrant::new(&collected.grant, authority, origin, device).map_err(|error| ExchangeError::Shape(error.to_string()))?)
}

impl Standing {
    /// What the card is to hold. What is on it and stands stays as it is: with its content key, where the copy is not finished.
    fn onto(self, card: &FileHolder, just: &[SealedGrant]) -> Result<(Sealed, Collected)> {
        let (card_id, before) = (card.card_id(), card.sealed());
        let name = card_id.to_string();
        let user_id = self.user.open(card.dh(), &user_purpose(&name)).map_err(HolderError::from)?;
        let user_id = std::str::from_utf8(&user_id).ok().and_then(|text| text.parse().ok()).ok_or(HolderError::NotOpened)?;
        let standing: HashSet<GrantId> = self.grants.iter().map(|grant| grant.grant_id).collect();
        // One issued since the last exchange cannot have been ended by it, and the entry need not have heard of it yet.
        let ended = |grant: &SealedGrant| {
            let by_repair = self.exchanged_at.is_some_and(|exchanged_at| grant.issued_at < exchanged_at);
            grant.authority == self.authority && by_repair && !standing.contains(&grant.grant_id)
        };
        let (dropped, mut grants): (Vec<_>, Vec<_>) = before.grants.iter().cloned().partition(ended);
        let here: HashSet<GrantId> = grants.iter().map(|grant| grant.grant_id).collect();
        let kept = grants.len();
        let added: Vec<SealedGrant> = self.grants.into_iter().filter(|grant| !here.contains(&grant.grant_id)).collect();
        let told = Collected {
            card_id,
            user_id,
            generation: self.generation,
            kept,
            added: added.iter().map(SealedGrant::shown).collect(),
            dropped: dropped.iter().map(SealedGrant::shown).collect(),
        };
        grants.extend(added);
        let recovery_at = before.user.as_ref().and_then(|user| user.recovery_at);
        let user = SealedUser {
            authority: self.authority,
            user: self.user,
            holder: name,
            combination: self.combination,
            generation: self.generation,
            recovery_at,
        };
        let mut sealed = Sealed { user: Some(user), grants, reissue: None };
        sealed.add(just.to_vec());
        Ok((sealed, told))
    }
}
