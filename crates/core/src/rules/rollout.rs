//! Which devices a release reaches while it is rolled out step by step: always the same ones, and more of them with every step.

use crate::{ReleaseVersion, TitleId};

/// Whether `who`, the bytes of a device's ID (a grant's, where there is no device), is among the first `percent` of all for this release.
/// Whoever is in at 10 % is in at 20 %; another release begins with others, so that it is not always the same people who go first.
pub fn admits(who: &[u8], title: &TitleId, version: &ReleaseVersion, percent: u32) -> bool {
    percent >= 100 || place(who, title, version) % 100 < u64::from(percent)
}

/// FNV-1a, and the last steps of MurmurHash3, which spread what differs in the last bytes. Nothing is to be kept secret or from being
/// guessed, and it must be the same in every version of this program.
fn place(who: &[u8], title: &TitleId, version: &ReleaseVersion) -> u64 {
    let parts = [title.as_str().as_bytes(), b"/", version.as_str().as_bytes(), b"/", who];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> impl Iterator<Item = [u8; 16]> {
        // IDs that differ in few bits are the hardest to spread.
        (0..10_000_u128).map(u128::to_be_bytes)
    }

    fn names(version: &str) -> (TitleId, ReleaseVersion) {
        ("sky-raider".parse().expect("a title"), version.parse().expect("a version"))
    }

    #[test]
    fn a5_a_rollout_reaches_about_the_share_that_was_named() {
        for version in ["1.0", "1.1", "2.0-rc.1"] {
            let (title, version) = names(version);
            for percent in [0, 1, 10, 25, 50, 90, 99, 100] {
                let reached = fleet().filter(|who| admits(who, &title, &version, percent)).count() as i64;
                assert!((reached - i64::from(percent) * 100).abs() <= 150, "{version}: {reached} of 10,000 at {percent} %");
                assert!(percent % 100 != 0 || reached == i64::from(percent) * 100, "none and all are exact");
            }
        }
    }

    #[test]
    fn whoever_is_in_stays_in_as_it_grows() {
        let (title, version) = names("1.0");
        for who in fleet().take(1000) {
            let mut was = false;
            for percent in 0..=100 {
                let is = admits(&who, &title, &version, percent);
                assert!(is || !was, "{who:?} is out at {percent} %");
                was = is;
            }
            assert!(was);
        }
    }

    #[test]
    fn who_goes_first_is_the_same_in_every_version_of_this_program() {
        let (title, version) = names("1.0");
        let places = [0_u128, 1, u128::MAX].map(|who| place(&who.to_be_bytes(), &title, &version));
        assert_eq!(places, [10_704_716_310_849_376_828, 17_348_233_783_147_970_129, 8_704_646_513_800_501_437]);
    }

    #[test]
    fn another_release_begins_with_others() {
        let ((title, one), (_, other)) = (names("1.0"), names("1.1"));
        let both = fleet().filter(|who| admits(who, &title, &one, 10) && admits(who, &title, &other, 10)).count();
        assert!((40..=180).contains(&both), "{both} of 1,000 go first twice");
    }
}
