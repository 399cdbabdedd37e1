//! What a medium's proof is worth, by the epoch of the claim secret that it was made under (B7).

/// The claim secret that a medium is pressed with where no refresh was ordered before.
pub const FIRST: u32 = 1;
/// How many epochs before the one that was seen last are told from wrong secrets. A copy that is older than that proves nothing.
const BACK: u32 = 64;

/// What a proof is worth that is right under the claim secret of some epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// As good as the last one that was seen.
    Good,
    /// Good, and from now on nothing older is.
    MovesOn,
    /// A newer one was seen: this is an old copy of the medium, or a clone.
    Superseded,
    /// No refresh to it was ordered: nobody was given that secret.
    Never,
}

/// The epoch that a medium should have, by the refreshes that were ordered of its batch and of itself.
pub fn target(of_batch: u32, of_medium: u32) -> u32 {
    FIRST.saturating_add(of_batch).saturating_add(of_medium)
}

/// Judges a proof under `epoch` of a medium that was `seen` under its newest one, and should have the one of `target`.
pub fn judge(epoch: u32, seen: u32, target: u32) -> Worth {
    match epoch {
        _ if epoch < FIRST || epoch > target.max(seen) => Worth::Never,
        _ if epoch < seen => Worth::Superseded,
        _ if epoch > seen => Worth::MovesOn,
        _ => Worth::Good,
    }
}

/// The epochs that a proof is held against, newest first.
pub fn to_try(seen: u32, target: u32) -> impl Iterator<Item = u32> {
    (seen.saturating_sub(BACK).max(FIRST)..=target.max(seen)).rev()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_what_was_seen_and_what_was_ordered_since_is_good() {
        assert_eq!([1, 2, 3, 4].map(|epoch| judge(epoch, 1, 3)), [Worth::Good, Worth::MovesOn, Worth::MovesOn, Worth::Never]);
        assert_eq!(judge(1, 1, 1), Worth::Good, "a medium that nobody has refreshed");
    }

    #[test]
    fn b7_once_a_newer_one_was_seen_older_ones_are_not_good() {
        assert_eq!([1, 2, 3, 4].map(|epoch| judge(epoch, 3, 3)), [Worth::Superseded, Worth::Superseded, Worth::Good, Worth::Never]);
        assert_eq!(judge(2, 3, 5), Worth::Superseded, "whatever was ordered meanwhile");
    }

    #[test]
    fn there_is_no_epoch_zero_and_none_that_nobody_ordered() {
        assert_eq!([judge(0, 1, 1), judge(2, 1, 1), judge(u32::MAX, 1, 9)], [Worth::Never; 3]);
        // A database that says so is broken; what was seen stays good.
        assert_eq!(judge(5, 5, 3), Worth::Good);
    }

    #[test]
    fn every_epoch_that_could_be_good_is_tried_and_the_newest_first() {
        assert_eq!(to_try(1, 1).collect::<Vec<_>>(), [1], "an untouched medium costs one try");
        assert_eq!(to_try(2, 4).collect::<Vec<_>>(), [4, 3, 2, 1]);
        assert_eq!(to_try(500, 501).collect::<Vec<_>>().len(), BACK as usize + 2);
        for (seen, target) in [(1, 200), (100, 100), (3, 7)] {
            let tried: Vec<_> = to_try(seen, target).collect();
            let good = |epoch: &u32| matches!(judge(*epoch, seen, target), Worth::Good | Worth::MovesOn);
            assert!((1..=300).filter(good).all(|epoch| tried.contains(&epoch)));
        }
    }

    #[test]
    fn refreshes_of_the_batch_and_of_the_medium_add_up() {
        assert_eq!([target(0, 0), target(2, 0), target(0, 3), target(2, 3)], [1, 3, 4, 6]);
        assert_eq!(target(u32::MAX, 1), u32::MAX);
    }
}
