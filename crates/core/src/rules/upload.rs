//! What a user may hand in, as which version, and which older versions go (A4).

use crate::policy::Policy;
use crate::{Code, DeviceId, Refusal, Rights, Timestamp};

/// The most that one upload may have, in bytes.
pub const MOST_BYTES: u64 = 1 << 30;
/// Versions of a slot that are kept; older ones go.
pub const VERSIONS: usize = 10;
/// Slots of one user and title.
pub const SLOTS: usize = 100;
/// How long an upload waits for all its bytes, in milliseconds.
pub const WAITS: i64 = Timestamp::DAY;
/// Characters of a slot's name, and of a note.
const MOST_NAME: usize = 100;
const MOST_NOTE: usize = 200;
const MIB: u64 = 1 << 20;

/// Something that the user has the title from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A medium that was claimed, with its rights as the database has them.
    Medium {
        /// What it allows.
        rights: Rights,
        /// Taken out of use.
        retired: bool,
    },
    /// An order or a selection that lasts, with its terms.
    Terms(Policy),
}

/// What may be held of a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// In bytes.
    pub bytes: u64,
    /// Whether it is to be left readable for providers.
    pub readable: bool,
}

impl Source {
    fn allows(&self, now: Timestamp) -> Option<Allowed> {
        let (mib, readable) = match self {
            Self::Medium { rights, retired } if rights.upload && !retired && !rights.expired(now) => {
                (rights.upload_mib.unwrap_or(Rights::UPLOAD_MIB), rights.upload_readable)
            }
            Self::Medium { .. } => return None,
            Self::Terms(policy) => (policy.upload_mib, false),
        };
        (mib > 0).then_some(Allowed { bytes: u64::from(mib) * MIB, readable })
    }
}

/// The best right of all that the user has: the most room; of equal ones, the one that keeps what is handed in sealed.
pub fn right(sources: &[Source], now: Timestamp) -> Option<Allowed> {
    sources.iter().filter_map(|source| source.allows(now)).max_by_key(|allowed| (allowed.bytes, !allowed.readable))
}

/// Whether a slot may be called so: 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
pub fn is_slot(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MOST_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(good)
}

/// A version that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Which.
    pub version: u32,
    /// The device that handed it in.
    pub device: DeviceId,
    /// When it was complete.
    pub at: Timestamp,
}

/// What is known of a title's slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// The newest version of the slot that is still there.
    pub newest: Option<Newest>,
    /// The highest number that any version of it ever had: numbers are used once.
    pub highest: u32,
    /// Slots of the user and title besides this one.
    pub others: usize,
    /// Bytes held, what is under way included.
    pub used: u64,
}

/// What is to be handed in.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub slot: &'a str,
    /// The version that it follows; 0 for the first.
    pub parent: u32,
    /// In bytes.
    pub length: u64,
    /// For people.
    pub note: Option<&'a str>,
}

/// Whether an upload may begin, and which version it becomes if no other does first.
///
/// # Errors
/// [`Code::RightMissing`], [`Code::UploadInvalid`], [`Code::SaveConflict`], [`Code::QuotaExceeded`].
pub fn begin(wanted: Wanted<'_>, allowed: Option<Allowed>, slots: &Slots) -> Result<u32, Refusal> {
    // First: who has no right to it does not learn what there is.
    let allowed = allowed.ok_or(Code::RightMissing)?;
    if !is_slot(wanted.slot) {
        return Err(Refusal::with(Code::UploadInvalid, "a slot is called 1 to 100 of a-z A-Z 0-9 . _ -, not beginning with a dot"));
    }
    if wanted.note.is_some_and(|note| note.chars().count() > MOST_NOTE || note.chars().any(char::is_control)) {
        return Err(Refusal::with(Code::UploadInvalid, format!("a note has {MOST_NOTE} characters at most, and no line ends")));
    }
    if !(1..=MOST_BYTES).contains(&wanted.length) {
        return Err(Refusal::with(Code::UploadInvalid, format!("an upload has 1 to {MOST_BYTES} bytes")));
    }
    let there = slots.newest.map_or(0, |newest| newest.version);
    if wanted.parent != there {
        return Err(conflict(slots.newest));
    }
    if slots.highest == 0 && slots.others >= SLOTS {
        return Err(Refusal::with(Code::QuotaExceeded, format!("there are {SLOTS} slots already")));
    }
    fits(wanted.length, slots.used, allowed)?;
    Ok(slots.highest.saturating_add(1))
}

/// Whether an upload whose bytes are all there becomes the version that it began as.
///
/// # Errors
/// [`Code::SaveConflict`] where another one has come first: nothing is put over it.
pub fn complete(version: u32, slots: &Slots) -> Result<(), Refusal> {
    if slots.highest < version { Ok(()) } else { Err(conflict(slots.newest)) }
}

/// Of the versions that are there, those that go: all but the newest [`VERSIONS`].
pub fn surplus(versions: &[u32]) -> Vec<u32> {
    let mut sorted = versions.to_vec();
    sorted.sort_unstable();
    sorted.truncate(sorted.len().saturating_sub(VERSIONS));
    sorted
}

fn fits(length: u64, used: u64, allowed: Allowed) -> Result<(), Refusal> {
    if used.checked_add(length).is_some_and(|sum| sum <= allowed.bytes) {
        return Ok(());
    }
    Err(Refusal::with(Code::QuotaExceeded, format!("{used} of {} bytes are taken, and this has {length}", allowed.bytes)))
}

fn conflict(newest: Option<Newest>) -> Refusal {
    let detail = match newest {
        Some(Newest { version, device, at }) => {
            format!("the newest is version {version}, of {} seconds since 1970, by {device}", at.seconds())
        }
        None => "there is no version any more".to_owned(),
    };
    Refusal::with(Code::SaveConflict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const ROOM: Option<Allowed> = Some(Allowed { bytes: 1000, readable: false });

    fn medium(upload: bool, mib: Option<u32>) -> Source {
        Source::Medium { rights: Rights { upload, upload_mib: mib, ..Rights::default() }, retired: false }
    }

    fn wanted(parent: u32, length: u64) -> Wanted<'static> {
        Wanted { slot: "quick", parent, length, note: None }
    }

    fn there(version: u32) -> Slots {
        let newest = Newest { version, device: DeviceId::from_bytes([7; 16]), at: Timestamp(5000) };
        Slots { newest: Some(newest), highest: version, others: 0, used: 0 }
    }

    fn code(result: Result<u32, Refusal>) -> Code {
        result.expect_err("refused").code
    }

    #[test]
    fn a4_the_best_right_of_all_counts() {
        assert_eq!(right(&[], NOW), None);
        assert_eq!(right(&[medium(false, Some(5))], NOW), None);
        assert_eq!(right(&[medium(true, Some(0))], NOW), None);
        let bytes = |sources: &[Source]| right(sources, NOW).map(|allowed| allowed.bytes / MIB);
        assert_eq!(bytes(&[medium(true, None)]), Some(64));
        assert_eq!(
            bytes(&[medium(true, Some(5)), Source::Terms(Policy { upload_mib: 9, ..Policy::default() }), medium(false, Some(99))]),
            Some(9)
        );
        assert_eq!(bytes(&[Source::Terms(Policy { upload_mib: 0, ..Policy::default() })]), None);
    }

    #[test]
    fn a4_a_medium_that_is_retired_or_over_takes_nothing() {
        let rights = Rights { upload: true, expires_at: Some(NOW), ..Rights::default() };
        assert_eq!(right(&[Source::Medium { rights: rights.clone(), retired: false }], NOW), None);
        assert!(right(&[Source::Medium { rights, retired: false }], Timestamp(NOW.0 - 1)).is_some());
        assert_eq!(right(&[Source::Medium { rights: Rights { upload: true, ..Rights::default() }, retired: true }], NOW), None);
    }

    #[test]
    fn a4_of_two_rights_with_as_much_room_the_one_that_seals_counts() {
        let readable = Source::Medium { rights: Rights { upload: true, upload_readable: true, ..Rights::default() }, retired: false };
        for sources in [[readable.clone(), medium(true, None)], [medium(true, None), readable.clone()]] {
            assert_eq!(right(&sources, NOW).map(|allowed| allowed.readable), Some(false));
        }
        assert_eq!(right(&[readable, medium(true, Some(1))], NOW).map(|allowed| allowed.readable), Some(true));
    }

    #[test]
    fn a4_slots_are_called_by_plain_names() {
        for good in ["a", "quick", "Slot_1.sav", "-", &"x".repeat(100)] {
            assert!(is_slot(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\0", "a\n", "../../etc/passwd", "a:b", &"x".repeat(101)] {
            assert!(!is_slot(bad), "{bad:?}");
            assert_eq!(code(begin(Wanted { slot: bad, ..wanted(0, 1) }, ROOM, &Slots::default())), Code::UploadInvalid);
        }
    }

    #[test]
    fn a4_without_a_right_nothing_is_told() {
        assert_eq!(code(begin(Wanted { slot: "..", ..wanted(3, 0) }, None, &there(5))), Code::RightMissing);
    }

    #[test]
    fn a4_an_upload_has_a_length_and_a_short_note() {
        assert_eq!(code(begin(wanted(0, 0), ROOM, &Slots::default())), Code::UploadInvalid);
        let vast = Some(Allowed { bytes: u64::MAX, readable: false });
        assert_eq!(begin(wanted(0, MOST_BYTES), vast, &Slots::default()), Ok(1));
        assert_eq!(code(begin(wanted(0, MOST_BYTES + 1), vast, &Slots::default())), Code::UploadInvalid);
        let long = "ä".repeat(200);
        assert_eq!(begin(Wanted { note: Some(&long), ..wanted(0, 1) }, ROOM, &Slots::default()), Ok(1));
        for bad in [format!("{long}a"), "two\nlines".into()] {
            assert_eq!(code(begin(Wanted { note: Some(&bad), ..wanted(0, 1) }, ROOM, &Slots::default())), Code::UploadInvalid);
        }
    }

    #[test]
    fn a4_a_version_follows_the_newest_or_is_a_conflict_that_says_whose() {
        assert_eq!(begin(wanted(0, 1), ROOM, &Slots::default()), Ok(1));
        assert_eq!(begin(wanted(5, 1), ROOM, &there(5)), Ok(6));
        for parent in [0, 4, 6] {
            let refusal = begin(wanted(parent, 1), ROOM, &there(5)).expect_err("refused");
            assert_eq!(refusal.code, Code::SaveConflict);
            let detail = refusal.detail.expect("says which");
            assert!(detail.contains("version 5") && detail.contains("5 seconds") && detail.contains("dev-"), "{detail}");
        }
        assert_eq!(code(begin(wanted(1, 1), ROOM, &Slots::default())), Code::SaveConflict);
    }

    #[test]
    fn a4_numbers_are_used_once_even_where_the_newest_was_taken_away() {
        let slots = Slots { highest: 7, ..there(5) };
        assert_eq!(begin(wanted(5, 1), ROOM, &slots), Ok(8));
        assert_eq!(begin(wanted(0, 1), ROOM, &Slots { highest: 7, ..Slots::default() }), Ok(8));
    }

    #[test]
    fn a4_whatever_came_first_is_not_put_over() {
        assert_eq!(complete(6, &there(5)), Ok(()));
        assert_eq!(complete(5, &there(5)).expect_err("refused").code, Code::SaveConflict);
        assert_eq!(complete(4, &there(5)).expect_err("refused").code, Code::SaveConflict);
        // It came and was taken away again: its number is used.
        assert_eq!(complete(6, &Slots { highest: 6, ..there(5) }).expect_err("refused").code, Code::SaveConflict);
    }

    #[test]
    fn a4_the_quota_is_met_exactly_and_never_exceeded() {
        let slots = Slots { used: 900, ..there(5) };
        assert_eq!(begin(wanted(5, 100), ROOM, &slots), Ok(6));
        assert_eq!(code(begin(wanted(5, 101), ROOM, &slots)), Code::QuotaExceeded);
        assert_eq!(code(begin(wanted(5, 1), ROOM, &Slots { used: u64::MAX, ..there(5) })), Code::QuotaExceeded);
    }

    #[test]
    fn a4_there_are_so_many_slots() {
        let full = Slots { others: SLOTS, ..Slots::default() };
        assert_eq!(code(begin(wanted(0, 1), ROOM, &full)), Code::QuotaExceeded);
        assert_eq!(begin(wanted(0, 1), ROOM, &Slots { others: SLOTS - 1, ..full.clone() }), Ok(1));
        assert_eq!(begin(wanted(5, 1), ROOM, &Slots { others: SLOTS - 1, ..there(5) }), Ok(6), "one that is there is no new one");
    }

    #[test]
    fn a4_the_newest_ten_stay() {
        assert!(surplus(&[]).is_empty() && surplus(&[3, 1, 2]).is_empty());
        let twelve: Vec<u32> = (1..=12).rev().collect();
        assert_eq!(surplus(&twelve), [1, 2]);
    }
}
