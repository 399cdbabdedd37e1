//! Whether a presentation is for whoever has it judged (B4): made for this provider, this challenge and this medium.

use crate::wire::Present;
use crate::{Code, MediumId, ProviderId, Refusal};

/// Shortest challenge that nobody guesses, in characters.
const SHORTEST: usize = 16;
/// Longest, in characters.
const LONGEST: usize = 128;

/// What the provider hands in beside the sealed request.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Who asks.
    pub provider: ProviderId,
    /// What the provider says that it challenged with.
    pub challenge: &'a str,
    /// The medium that it was shown, where it was shown one.
    pub medium: Option<&'a MediumId>,
}

/// Compares what is in the sealed request with what the provider hands in. Whoever was handed a presentation that is for somebody else, or put
/// another medium's ID beside it, gets nothing.
///
/// # Errors
/// [`Code::PresentationInvalid`].
pub fn decide(sealed: &Present, shown: Shown<'_>) -> Result<(), Refusal> {
    let no = |why: &str| Err(Refusal::with(Code::PresentationInvalid, why));
    if sealed.provider != shown.provider {
        return no("it is for another provider");
    }
    // A short one could come up again: a challenge is what keeps an old presentation from being shown as a new one.
    if !(SHORTEST..=LONGEST).contains(&sealed.challenge.len()) || !sealed.challenge.bytes().all(|byte| byte.is_ascii_graphic()) {
        return no("its challenge is not 16 to 128 characters");
    }
    if sealed.challenge != shown.challenge {
        return no("it answers another challenge");
    }
    if sealed.medium_id.as_ref() != shown.medium {
        return no("it is of another medium");
    }
    if sealed.medium_id.is_none() && sealed.user_id.is_none() {
        return no("it names neither medium nor user");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchId, UserId};

    const CHALLENGE: &str = "0123456789abcdef";

    fn medium(serial: u64) -> MediumId {
        MediumId::pressed(BatchId([1; 8]), serial)
    }

    fn sealed() -> Present {
        Present {
            provider: ProviderId::from_bytes([1; 16]),
            url: "https://arcade.example".into(),
            challenge: CHALLENGE.into(),
            medium_id: Some(medium(1)),
            user_id: None,
            device_id: None,
        }
    }

    fn shown(medium: Option<&MediumId>) -> Shown<'_> {
        Shown { provider: ProviderId::from_bytes([1; 16]), challenge: CHALLENGE, medium }
    }

    /// proves: B4
    #[test]
    fn only_what_it_was_made_for_is_judged() {
        let (one, two) = (medium(1), medium(2));
        assert_eq!(decide(&sealed(), shown(Some(&one))), Ok(()));
        let by_user = Present { medium_id: None, user_id: Some(UserId::from_bytes([1; 16])), ..sealed() };
        assert_eq!(decide(&by_user, shown(None)), Ok(()));
        let why = |sealed: &Present, shown| decide(sealed, shown).expect_err("it must not be judged").detail.unwrap_or_default();
        let other = Shown { provider: ProviderId::from_bytes([2; 16]), ..shown(Some(&one)) };
        assert!(why(&sealed(), other).contains("another provider"));
        assert!(why(&sealed(), Shown { challenge: "0123456789abcdeg", ..shown(Some(&one)) }).contains("another challenge"));
        for medium in [None, Some(&two)] {
            assert!(why(&sealed(), shown(medium)).contains("another medium"));
        }
        assert!(why(&by_user, shown(Some(&one))).contains("another medium"), "a medium that nobody proved");
        assert!(why(&Present { medium_id: None, ..sealed() }, shown(None)).contains("neither"));
        for short in ["", "0123456789abcde", &"x".repeat(129), "0123456789 abcdef", "0123456789abcdef\n"] {
            let sealed = Present { challenge: short.into(), ..sealed() };
            assert!(why(&sealed, Shown { challenge: short, ..shown(Some(&one)) }).contains("16 to 128"), "{short:?}");
        }
    }
}
