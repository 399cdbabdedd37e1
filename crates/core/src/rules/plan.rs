//! Which release a device is to be brought to (A5), and by which way ([`ways`]).

use super::rollout;
use crate::{Channel, Code, Refusal, ReleaseVersion, TitleId};

pub use ways::{Begun, Chain, Deltas, Difference, Edge, Ground, chains, heal, ways};

mod ways;

/// A release of the title, as far as the choice goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub version: ReleaseVersion,
    /// For whom.
    pub channel: Channel,
    /// Its place in the order of publication.
    pub number: i64,
    /// Of the content key.
    pub generation: u32,
    /// Percent of the devices that it is offered to.
    pub rollout: u32,
    /// Offered to nobody who does not name it.
    pub held: bool,
    /// Nobody gets it any more.
    pub withdrawn: bool,
    /// Devices that have a later one may go back to it.
    pub allow_back: bool,
    /// It mends something dangerous.
    pub critical: bool,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Of what.
    pub title: &'a TitleId,
    /// What a rollout tells devices apart by.
    pub who: &'a [u8],
    /// The channel that is followed.
    pub channel: &'a Channel,
    /// The release that is complete there.
    pub current: Option<&'a ReleaseVersion>,
    /// One that was begun.
    pub begun: Option<&'a ReleaseVersion>,
    /// The one that was asked for by name.
    pub wanted: Option<&'a ReleaseVersion>,
    /// Number of the oldest release that is still good on the channel.
    pub minimum: Option<i64>,
}

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which of the candidates.
    pub index: usize,
    /// Whether staying is dangerous.
    pub critical: bool,
}

/// The release to go to; nothing where what is there is what should be there.
///
/// Whoever names a release gets it, be it held or not rolled out yet; an earlier one only where it allows to be gone back to. What was begun
/// is finished first. Else it is the last one on the channel that is neither held nor withdrawn and whose rollout has come to this device,
/// and never an earlier one than is there, unless that one was withdrawn: then the last good one, forward or back.
///
/// # Errors
/// For what was named: [`Code::ReleaseUnknown`], [`Code::ReleaseWithdrawn`].
pub fn target(wish: &Wish<'_>, releases: &[Candidate]) -> Result<Option<Target>, Refusal> {
    let find = |version: &ReleaseVersion| releases.iter().position(|release| release.version == *version);
    let current = wish.current.and_then(find).map(|index| &releases[index]);
    let is_back = |release: &Candidate| current.is_some_and(|current| release.number < current.number);
    let may_go = |release: &Candidate| !release.withdrawn && (release.allow_back || !is_back(release));
    let chosen = if let Some(wanted) = wish.wanted {
        let index = find(wanted).ok_or(Code::ReleaseUnknown)?;
        let release = &releases[index];
        let is_there = current.is_some_and(|current| current.number == release.number);
        if is_there {
            return Ok(None);
        }
        if release.withdrawn {
            return Err(Code::ReleaseWithdrawn.into());
        }
        if !may_go(release) {
            return Err(Refusal::with(Code::ReleaseWithdrawn, "a later release is not left for it"));
        }
        Some(index)
    } else {
        let begun = wish.begun.and_then(find).filter(|index| may_go(&releases[*index]));
        begun.or_else(|| last_good(wish, current, releases))
    };
    let chosen = chosen.filter(|index| current.is_none_or(|current| current.number != releases[*index].number));
    Ok(chosen.map(|index| Target { index, critical: is_critical(wish, current, &releases[index], releases) }))
}

/// What the channel offers this device.
fn last_good(wish: &Wish<'_>, current: Option<&Candidate>, releases: &[Candidate]) -> Option<usize> {
    let withdrawn = current.is_some_and(|current| current.withdrawn);
    let least = current.filter(|_| !withdrawn).map_or(i64::MIN, |current| current.number);
    let offered = |release: &Candidate| {
        let back = current.is_some_and(|current| release.number < current.number);
        release.number >= least
            && release.channel == *wish.channel
            && !release.held
            && !release.withdrawn
            && (release.allow_back || !back)
            && rollout::admits(wish.who, wish.title, &release.version, release.rollout)
    };
    let offers = releases.iter().enumerate().filter(|(_, release)| offered(release));
    offers.max_by_key(|(_, release)| release.number).map(|(index, _)| index)
}

/// What is there was withdrawn or is below the minimum, or a critical release lies on the way.
fn is_critical(wish: &Wish<'_>, current: Option<&Candidate>, target: &Candidate, releases: &[Candidate]) -> bool {
    let Some(current) = current else { return target.critical };
    let passed = |release: &&Candidate| {
        release.number > current.number
            && release.number <= target.number
            && !release.withdrawn
            && (!release.held || release.number == target.number)
            && (release.channel == target.channel || release.channel == *wish.channel)
    };
    current.withdrawn
        || wish.minimum.is_some_and(|minimum| current.number < minimum)
        || releases.iter().filter(passed).any(|release| release.critical)
}

#[cfg(test)]
mod tests;
