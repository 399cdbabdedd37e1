//! A new card for one that is lost (C15): who may ask, which card may take its place, and what of the entry goes onto it.

use super::confirm::GrantState;
use super::register::HolderFacts;
use crate::wire::{HolderKind, ReissueState};
use crate::{Code, HolderId, Refusal, Timestamp, UserId};

/// Wrong recovery codes in a row that lock the recovery of an entry.
pub const WRONG_CODES: u32 = 10;
/// For how long, in milliseconds. Ten of 2⁸⁰ codes every quarter of an hour are no way in.
pub const LOCKED: i64 = 15 * 60 * 1000;
/// Said of a wrong user ID, of a wrong code, where there is none, and where recovery is locked: nobody learns from it which.
pub const WRONG: &str = "user ID and recovery code do not belong together, or wrong ones were tried too often: then wait 15 minutes";

const HOUR: i64 = 60 * 60 * 1000;

/// What is kept of the attempts at an entry's recovery code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Wrong ones since the last right one, or since the last lock.
    pub failures: u32,
    /// Until when none counts.
    pub locked_until: Option<Timestamp>,
}

/// Whether an attempt proves that the entry is whose asks, and what is to be kept of it. While recovery is locked, the right code proves as
/// little as a wrong one, and neither makes the lock longer.
pub fn attempt(attempts: Attempts, right: bool, now: Timestamp) -> (bool, Attempts) {
    if attempts.locked_until.is_some_and(|until| now < until) {
        return (false, attempts);
    }
    if right {
        return (true, Attempts::default());
    }
    match attempts.failures.saturating_add(1) {
        failures if failures >= WRONG_CODES => (false, Attempts { failures: 0, locked_until: Some(Timestamp(now.0 + LOCKED)) }),
        failures => (false, Attempts { failures, locked_until: None }),
    }
}

/// What is known of a card that is to take the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// In its own family.
    pub holder: HolderFacts,
    /// Whether the entry names it already.
    pub current: bool,
    /// Whether the entry had it once, and it was replaced.
    pub replaced: bool,
    /// Whether the repair centre has declined it for this entry.
    pub declined: bool,
}

/// Whether a card may take the place of the user's: a new one, issued where the operator demands that, or one that was reserved for this user
/// and no further.
///
/// # Errors
/// [`Code::CardUnknown`], [`Code::ReissueDeclined`], [`Code::RegistrationNotAllowed`].
pub fn decide_card(user: UserId, card: &CardFacts, issued_only: bool) -> Result<(), Refusal> {
    if card.current {
        return Err(Refusal::with(Code::RegistrationNotAllowed, "the entry has this card already"));
    }
    if card.replaced {
        return Err(Refusal::with(Code::CardUnknown, "this card was replaced once, and stays dead: make a new one"));
    }
    if card.declined {
        return Err(Refusal::with(Code::ReissueDeclined, "this card was declined: ask with a new one"));
    }
    match &card.holder {
        HolderFacts::Dead => Err(Refusal::with(Code::CardUnknown, "this card is dead: make a new one")),
        HolderFacts::Registered(other) if *other != user => {
            Err(Refusal::with(Code::CardUnknown, "this card is registered: make a new one"))
        }
        HolderFacts::Unknown if issued_only => Err(Refusal::with(Code::CardUnknown, "only cards that the operator has issued")),
        HolderFacts::Unknown | HolderFacts::Issued | HolderFacts::Registered(_) => Ok(()),
    }
}

/// A request for a new card, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Where it stands.
    pub state: ReissueState,
    /// The card that is to take the other's place; absent where the repair centre makes one.
    pub card: Option<HolderId>,
}

/// What the replacement of a card is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What holds the keys of the entry.
    pub kind: HolderKind,
    /// Whether the entry still has the card that it had when this was begun.
    pub unchanged: bool,
    /// The request that is carried out, where one is.
    pub request: Option<Requested>,
    /// The new card.
    pub new: HolderId,
    /// What is known of it.
    pub card: CardFacts,
}

/// Why a card is not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReplaced {
    /// It contradicts what is there, as this says.
    Conflict(&'static str),
    /// The card may not be the new one.
    Refused(Refusal),
}

/// Whether the new card takes the old one's place. Of two at once one does: the other finds another card in the entry than it had seen.
///
/// # Errors
/// [`NotReplaced`].
pub fn decide_replacement(user: UserId, facts: &Replacement, issued_only: bool) -> Result<(), NotReplaced> {
    if facts.kind != HolderKind::Card {
        return Err(NotReplaced::Conflict("the keys of this entry are on no card"));
    }
    match facts.request.map(|request| request.state) {
        Some(ReissueState::Done) => return Err(NotReplaced::Conflict("this request was carried out")),
        Some(ReissueState::Declined) => return Err(NotReplaced::Conflict("this request was declined")),
        Some(ReissueState::Waiting) | None => {}
    }
    if facts.request.and_then(|request| request.card).is_some_and(|asked| asked != facts.new) {
        return Err(NotReplaced::Conflict("the request is for another card"));
    }
    if !facts.unchanged {
        return Err(NotReplaced::Conflict("the card of this entry was replaced meanwhile"));
    }
    decide_card(user, &facts.card, issued_only).map_err(NotReplaced::Refused)
}

/// Whether a request that nobody has decided passes by itself: the operator leaves it to time, and that is over.
pub fn passes(automatic: bool, wait_hours: u32, asked_at: Timestamp, now: Timestamp) -> bool {
    automatic && now.0.saturating_sub(asked_at.0) >= i64::from(wait_hours) * HOUR
}

/// A grant of the entry's, as far as it matters to a card that is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub state: GrantState,
    /// Whether the entitlement behind it stands: not given back, taken back or run out.
    pub active: bool,
    /// Whether the device and the drive that it is bound to are in the entry.
    pub bound_here: bool,
    /// Whether what it came from was taken out of use.
    pub retired: bool,
}

/// Which keys of a grant go onto a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The library key: the copy is complete, or nobody may complete it.
    Library,
    /// The content key as well: the copy may be under way.
    Both,
}

/// What a card that is filled gets of a grant; nothing where it does not stand.
pub fn carried(held: Held) -> Option<Carried> {
    let stands = held.active && held.bound_here;
    match held.state {
        GrantState::Settled if stands => Some(Carried::Library),
        GrantState::Issued | GrantState::Delivered if stands && held.retired => Some(Carried::Library),
        GrantState::Issued | GrantState::Delivered if stands => Some(Carried::Both),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const OTHER: UserId = UserId::from_bytes([2; 16]);
    const NEW: HolderId = HolderId::from_bytes([3; 16]);
    const NOW: Timestamp = Timestamp(1_000_000);

    fn fresh() -> CardFacts {
        CardFacts { holder: HolderFacts::Unknown, current: false, replaced: false, declined: false }
    }

    fn card(facts: CardFacts) -> Result<(), Code> {
        decide_card(USER, &facts, false).map_err(|refusal| refusal.code)
    }

    #[test]
    fn c15_ten_wrong_codes_lock_recovery_for_a_quarter_of_an_hour() {
        let mut attempts = Attempts::default();
        for failures in 1..WRONG_CODES {
            let (proven, next) = attempt(attempts, false, NOW);
            assert_eq!((proven, next), (false, Attempts { failures, locked_until: None }));
            attempts = next;
        }
        let (proven, locked) = attempt(attempts, false, NOW);
        let end = Timestamp(NOW.0 + LOCKED);
        assert_eq!((proven, locked), (false, Attempts { failures: 0, locked_until: Some(end) }));
        assert_eq!((LOCKED, WRONG.ends_with("wait 15 minutes")), (900_000, true), "as it is told");
        let last = Timestamp(end.0 - 1);
        assert_eq!(attempt(locked, true, last), (false, locked), "the right one is told from no wrong one");
        assert_eq!(attempt(locked, false, last), (false, locked), "nobody keeps it locked by trying on");
        assert_eq!(attempt(locked, true, end), (true, Attempts::default()));
        assert_eq!(attempt(locked, false, end), (false, Attempts { failures: 1, locked_until: None }));
    }

    #[test]
    fn a_right_code_forgives_the_wrong_ones() {
        let attempts = Attempts { failures: WRONG_CODES - 1, locked_until: None };
        assert_eq!(attempt(attempts, true, NOW), (true, Attempts::default()));
    }

    #[test]
    fn only_a_card_of_nobody_or_reserved_for_the_user_takes_the_place() {
        assert_eq!(card(fresh()), Ok(()));
        assert_eq!(card(CardFacts { holder: HolderFacts::Issued, ..fresh() }), Ok(()));
        assert_eq!(card(CardFacts { holder: HolderFacts::Registered(USER), ..fresh() }), Ok(()), "reserved, and cut off there");
        assert_eq!(card(CardFacts { holder: HolderFacts::Registered(OTHER), ..fresh() }), Err(Code::CardUnknown));
        assert_eq!(card(CardFacts { holder: HolderFacts::Dead, ..fresh() }), Err(Code::CardUnknown));
        // Its own family may not have heard of its death yet.
        assert_eq!(card(CardFacts { holder: HolderFacts::Registered(USER), replaced: true, ..fresh() }), Err(Code::CardUnknown));
        assert_eq!(card(CardFacts { declined: true, ..fresh() }), Err(Code::ReissueDeclined));
        assert_eq!(card(CardFacts { current: true, ..fresh() }), Err(Code::RegistrationNotAllowed));
    }

    #[test]
    fn where_cards_are_issued_only_those_count() {
        let strict = |holder| decide_card(USER, &CardFacts { holder, ..fresh() }, true).map_err(|refusal| refusal.code);
        assert_eq!(strict(HolderFacts::Unknown), Err(Code::CardUnknown));
        assert_eq!(strict(HolderFacts::Issued), Ok(()));
    }

    fn replacement() -> Replacement {
        Replacement { kind: HolderKind::Card, unchanged: true, request: None, new: NEW, card: fresh() }
    }

    fn request(state: ReissueState, card: Option<HolderId>) -> Option<Requested> {
        Some(Requested { state, card })
    }

    #[test]
    fn a_card_is_replaced_with_a_request_or_without_one() {
        for request in [None, request(ReissueState::Waiting, None), request(ReissueState::Waiting, Some(NEW))] {
            assert_eq!(decide_replacement(USER, &Replacement { request, ..replacement() }, false), Ok(()));
        }
    }

    #[test]
    fn a_card_is_not_replaced_twice_nor_by_another_one_than_was_asked_for() {
        let other = HolderId::from_bytes([9; 16]);
        for facts in [
            Replacement { unchanged: false, ..replacement() },
            Replacement { kind: HolderKind::Device, ..replacement() },
            Replacement { request: request(ReissueState::Done, Some(NEW)), ..replacement() },
            Replacement { request: request(ReissueState::Declined, Some(NEW)), ..replacement() },
            Replacement { request: request(ReissueState::Waiting, Some(other)), ..replacement() },
        ] {
            assert!(matches!(decide_replacement(USER, &facts, false), Err(NotReplaced::Conflict(_))), "{facts:?}");
        }
        let dead = Replacement { card: CardFacts { holder: HolderFacts::Dead, ..fresh() }, ..replacement() };
        assert!(matches!(decide_replacement(USER, &dead, false), Err(NotReplaced::Refused(_))));
    }

    #[test]
    fn time_passes_a_request_only_where_the_operator_leaves_it_to_time() {
        let later = |hours| Timestamp(NOW.0 + hours * HOUR);
        assert!(passes(true, 0, NOW, NOW));
        assert!(!passes(true, 24, NOW, Timestamp(later(24).0 - 1)) && passes(true, 24, NOW, later(24)));
        assert!(!passes(false, 0, NOW, later(10_000)));
    }

    #[test]
    fn a_card_is_filled_with_exactly_what_stands() {
        let held = Held { state: GrantState::Settled, active: true, bound_here: true, retired: false };
        assert_eq!(carried(held), Some(Carried::Library));
        assert_eq!(carried(Held { retired: true, ..held }), Some(Carried::Library), "what was copied stays");
        for state in [GrantState::Issued, GrantState::Delivered] {
            assert_eq!(carried(Held { state, ..held }), Some(Carried::Both));
            assert_eq!(carried(Held { state, retired: true, ..held }), Some(Carried::Library), "nobody copies from it any more");
        }
        for state in [GrantState::Issued, GrantState::Delivered, GrantState::Settled] {
            assert_eq!(carried(Held { state, active: false, ..held }), None);
            assert_eq!(carried(Held { state, bound_here: false, ..held }), None);
        }
        assert_eq!(carried(Held { state: GrantState::Revoked, ..held }), None);
    }
}
