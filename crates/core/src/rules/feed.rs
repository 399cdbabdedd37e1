//! Whether a device goes by a feed, and whether it may go to a release by it (A5). Decided on the device: the authority is not asked.

use crate::{Channel, Code, Refusal, ReleaseVersion, TitleId};

/// BLAKE3 of a signed document as text.
pub type Digest = [u8; 32];

/// The newest feed that a device has accepted for a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub sequence: u64,
    /// Its bytes, hashed.
    pub digest: Digest,
}

/// A feed that the title's publisher has signed, which says nothing about when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Of which title.
    pub title: TitleId,
    /// Its number.
    pub sequence: u64,
    /// Its bytes, hashed.
    pub digest: Digest,
    /// Seconds since 1970: not to be updated by from then on.
    pub expires_at: i64,
}

/// What the authority says is the newest feed. Signed by it, and not over yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Of which title.
    pub title: TitleId,
    /// The number of its feed.
    pub sequence: u64,
    /// The feed's bytes, hashed.
    pub digest: Digest,
}

/// Decides whether a feed is the one to go by. `now` is seconds since 1970 by the most trusted clock; `word` is absent where no authority
/// was asked, because there is no network: then the feed's own end is the only bound on how old it may be.
///
/// # Errors
/// [`Code::UpdateNotAuthentic`]: of another title; lower than one that was accepted before; the same number on another feed; over; or
/// not the one that the authority says is the newest.
pub fn decide(title: &TitleId, known: Option<Known>, offered: &Offered, word: Option<&Word>, now: i64) -> Result<(), Refusal> {
    if offered.title != *title {
        return Err(no(format!("the list of releases is of {}", offered.title)));
    }
    if let Some(known) = known {
        if offered.sequence < known.sequence {
            return Err(no(format!("the list of releases has number {}, and number {} was seen before", offered.sequence, known.sequence)));
        }
        if offered.sequence == known.sequence && offered.digest != known.digest {
            return Err(no(format!("there are two lists of releases with number {}", known.sequence)));
        }
    }
    if offered.expires_at <= now {
        return Err(no("the publisher's list of releases is over; it has to be signed anew".to_owned()));
    }
    let Some(word) = word else { return Ok(()) };
    if word.title != *title {
        return Err(no(format!("the authority's word is about {}", word.title)));
    }
    if (word.sequence, word.digest) != (offered.sequence, offered.digest) {
        return Err(no(format!("the authority knows the list of releases with number {}, not this one", word.sequence)));
    }
    Ok(())
}

/// A release as the feed lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub version: ReleaseVersion,
    /// Its release document, hashed.
    pub document: Digest,
    /// For whom.
    pub channel: Channel,
    /// Not to be installed any more.
    pub withdrawn: bool,
    /// Whether whoever has a later one may go back to it.
    pub allow_back: bool,
}

/// A release that a device is to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The release that is complete here.
    pub held: Option<&'a ReleaseVersion>,
    /// The one to go to.
    pub to: &'a ReleaseVersion,
    /// Its release document, hashed.
    pub document: Digest,
    /// The channel that is followed here.
    pub channel: &'a Channel,
    /// Whether the user has asked for this very release.
    pub asked_for: bool,
}

/// Decides whether a device may go to a release. `listed` is in the order in which the releases follow each other, the oldest first.
///
/// # Errors
/// [`Code::UpdateNotAuthentic`]: not listed; listed with another document; withdrawn; older than what is here, which is still good, and
/// either nobody asked for it or the publisher does not allow it; of another channel, and nobody asked for it.
pub fn permit(listed: &[Listed], step: &Step<'_>) -> Result<(), Refusal> {
    let place_of = |version: &ReleaseVersion| listed.iter().position(|listed| listed.version == *version);
    let to = step.to;
    let Some((place, target)) = place_of(to).and_then(|place| Some((place, listed.get(place)?))) else {
        return Err(no(format!("the publisher does not list {to}")));
    };
    if target.document != step.document {
        return Err(no(format!("what is offered as {to} is not what the publisher lists as {to}")));
    }
    if target.withdrawn {
        return Err(no(format!("the publisher has withdrawn {to}")));
    }
    if step.held == Some(to) {
        return Ok(());
    }
    let held = step.held.and_then(|held| Some((place_of(held)?, held)));
    if let Some((before, held)) = held
        && place < before
        && !listed.get(before).is_some_and(|listed| listed.withdrawn)
    {
        if !step.asked_for {
            return Err(no(format!("{to} is older than {held}, which is good")));
        }
        if !target.allow_back {
            return Err(no(format!("the publisher does not let anybody go back to {to}")));
        }
    }
    if target.channel != *step.channel && !step.asked_for {
        return Err(no(format!("{to} is of the channel {}, not {}", target.channel, step.channel)));
    }
    Ok(())
}

fn no(detail: String) -> Refusal {
    Refusal::with(Code::UpdateNotAuthentic, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn title(name: &str) -> TitleId {
        name.parse().expect("a name")
    }

    fn offered(sequence: u64, byte: u8) -> Offered {
        Offered { title: title("sky-raider"), sequence, digest: [byte; 32], expires_at: NOW + 1 }
    }

    fn word(sequence: u64, byte: u8) -> Word {
        Word { title: title("sky-raider"), sequence, digest: [byte; 32] }
    }

    fn decided(known: Option<(u64, u8)>, offered: &Offered, word: Option<&Word>) -> Result<(), String> {
        let known = known.map(|(sequence, byte)| Known { sequence, digest: [byte; 32] });
        super::decide(&title("sky-raider"), known, offered, word, NOW).map_err(|refusal| {
            assert_eq!(refusal.code, Code::UpdateNotAuthentic);
            refusal.detail.unwrap_or_default()
        })
    }

    #[test]
    fn a5_the_first_feed_and_every_later_one_are_gone_by() {
        for known in [None, Some((6, 1)), Some((1, 2))] {
            assert_eq!(decided(known, &offered(7, 7), Some(&word(7, 7))), Ok(()), "{known:?}");
        }
    }

    #[test]
    fn a5_the_same_feed_again_is_gone_by() {
        assert_eq!(decided(Some((7, 7)), &offered(7, 7), Some(&word(7, 7))), Ok(()));
    }

    #[test]
    fn a5_a_feed_of_another_title_is_refused() {
        let other = Offered { title: title("night-songs"), ..offered(7, 7) };
        assert!(decided(None, &other, None).expect_err("another").contains("is of night-songs"));
    }

    #[test]
    fn a5_an_older_feed_is_refused_whatever_the_authority_says() {
        let refused = decided(Some((8, 8)), &offered(7, 7), Some(&word(7, 7))).expect_err("older");
        assert!(refused.contains("number 8 was seen"), "{refused}");
    }

    #[test]
    fn a5_two_feeds_with_one_number_are_not_both_believed() {
        let refused = decided(Some((7, 1)), &offered(7, 2), Some(&word(7, 2))).expect_err("two");
        assert!(refused.contains("two lists"), "{refused}");
    }

    #[test]
    fn a5_a_feed_that_is_over_is_refused_also_without_a_network() {
        for (expires_at, good) in [(NOW + 1, true), (NOW, false), (i64::MIN, false)] {
            let feed = Offered { expires_at, ..offered(7, 7) };
            assert_eq!(decided(None, &feed, Some(&word(7, 7))).is_ok(), good, "{expires_at}");
            assert_eq!(decided(Some((7, 7)), &feed, None).is_ok(), good, "{expires_at}");
        }
    }

    #[test]
    fn a5_what_the_authority_vouches_for_is_this_feed_of_this_title() {
        let of_another = Word { title: title("night-songs"), ..word(7, 7) };
        assert!(decided(None, &offered(7, 7), Some(&of_another)).expect_err("title").contains("about night-songs"));
        for other in [word(8, 7), word(6, 7), word(7, 8)] {
            assert!(decided(None, &offered(7, 7), Some(&other)).expect_err("feed").contains("not this one"), "{other:?}");
        }
    }

    fn version(text: &str) -> ReleaseVersion {
        text.parse().expect("a version")
    }

    fn release(text: &str, byte: u8) -> Listed {
        let channel = Channel::default();
        Listed { version: version(text), document: [byte; 32], channel, withdrawn: false, allow_back: true }
    }

    fn three() -> Vec<Listed> {
        vec![release("1", 1), release("2", 2), release("3", 3)]
    }

    /// From what is held to what is offered, whose document is its number.
    fn going(listed: &[Listed], held: Option<&str>, to: &str, asked_for: bool) -> Result<(), String> {
        let (held, target, channel) = (held.map(version), version(to), Channel::default());
        let document = [to.parse().expect("a number"); 32];
        let step = Step { held: held.as_ref(), to: &target, document, channel: &channel, asked_for };
        permit(listed, &step).map_err(|refusal| {
            assert_eq!(refusal.code, Code::UpdateNotAuthentic);
            refusal.detail.unwrap_or_default()
        })
    }

    #[test]
    fn a5_forward_is_permitted_from_nothing_from_what_is_listed_and_from_what_is_no_longer_listed() {
        for held in [None, Some("1"), Some("2"), Some("0")] {
            assert_eq!(going(&three(), held, "3", false), Ok(()), "{held:?}");
        }
    }

    #[test]
    fn a5_a_release_that_is_not_listed_is_refused() {
        assert!(going(&three(), Some("1"), "4", true).expect_err("unlisted").contains("does not list 4"));
        assert!(going(&[], None, "1", false).is_err());
    }

    #[test]
    fn a5_another_document_under_a_listed_version_is_refused() {
        let mut listed = three();
        listed[2].document = [9; 32];
        assert!(going(&listed, Some("1"), "3", false).expect_err("another").contains("is not what the publisher lists"));
    }

    #[test]
    fn a5_a_withdrawn_release_is_refused_even_to_who_asks_for_it_or_has_it() {
        let mut listed = three();
        listed[2].withdrawn = true;
        for (held, asked_for) in [(Some("1"), false), (Some("1"), true), (Some("3"), false), (None, true)] {
            assert!(going(&listed, held, "3", asked_for).expect_err("withdrawn").contains("has withdrawn 3"));
        }
    }

    #[test]
    fn a5_back_is_refused_unless_the_user_asks_and_the_publisher_allows_it() {
        let mut listed = three();
        assert!(going(&listed, Some("3"), "1", false).expect_err("back").contains("older than 3"));
        assert_eq!(going(&listed, Some("3"), "1", true), Ok(()));
        listed[0].allow_back = false;
        assert!(going(&listed, Some("3"), "1", true).expect_err("back").contains("go back to 1"));
    }

    #[test]
    fn a5_whoever_has_a_withdrawn_release_may_go_back_unasked() {
        let mut listed = three();
        listed[2].withdrawn = true;
        listed[1].allow_back = false;
        assert_eq!(going(&listed, Some("3"), "2", false), Ok(()));
    }

    #[test]
    fn a5_another_channel_is_for_who_asks_for_it() {
        let mut listed = three();
        listed[2].channel = "beta".parse().expect("a channel");
        assert!(going(&listed, Some("1"), "3", false).expect_err("beta").contains("channel beta"));
        assert_eq!(going(&listed, Some("1"), "3", true), Ok(()));
        // Healing what is here is no step to another channel.
        assert_eq!(going(&listed, Some("3"), "3", false), Ok(()));
    }
}
