//! The ways from what is there to a release, each with what it costs: patches, chunks, or everything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::wire::{PatchOnOffer, Way, WayKind};

/// What of a release is not in another one, in sealed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of chunks that are not there: what has to come over the network.
    pub chunks: u64,
    /// Of packs that are not there, with what is damaged in those that are: what has to be written.
    pub write: u64,
}

/// A release that was begun, as the device counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Sealed bytes of it that lie there already.
    pub have: u64,
    /// Bytes of patches for it that were fetched already.
    pub fetched: u64,
}

/// Patches that lead to the release, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// In this order.
    pub patches: Vec<PatchOnOffer>,
    /// Bytes of the manifests of all releases on the way.
    pub manifests: u64,
    /// Bytes of packs that are written on the way, all releases together.
    pub write: u64,
}

/// Chunks of the release, written against those of the one that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deltas {
    /// The object, which gives the manifest as well.
    pub object: PatchOnOffer,
    /// Sealed bytes of the chunks that it gives; others of those that are missing come as they are.
    pub covered: u64,
}

/// What ways are measured on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// Bytes of the release's packs.
    pub packs: u64,
    /// Bytes of its manifest.
    pub manifest: u64,
    /// What of it is not in what is there; nothing where that cannot be compared.
    pub difference: Option<Difference>,
    /// Sealed bytes of what is damaged in what is there.
    pub damaged: u64,
    /// What was begun of it.
    pub begun: Begun,
    /// Patches that could be taken.
    pub chains: Vec<Chain>,
    /// Deltas that could be taken.
    pub deltas: Option<Deltas>,
}

/// The ways to another release, cheapest first. None costs more than everything, which is always the last.
pub fn ways(ground: &Ground) -> Vec<Way> {
    let full = full(ground);
    let mut ways: Vec<Way> = chunks(ground).into_iter().chain(deltas(ground)).filter(|way| way.fetch < full.fetch).collect();
    if ground.difference.is_some() {
        ways.extend(ground.chains.iter().map(|chain| patched(ground, chain)).filter(|way| way.fetch < full.fetch));
    }
    // Of two that cost the same, the one that writes less, and then the one that does less.
    ways.sort_by_key(|way| (way.fetch, way.write, way.patches.len()));
    ways.push(full);
    ways
}

/// The ways to mend the release that is there.
pub fn heal(ground: &Ground) -> Vec<Way> {
    let Ground { packs, damaged, .. } = *ground;
    let full = full(ground);
    let heal = Way { kind: WayKind::Heal, patches: vec![], fetch: damaged, reuse: packs.saturating_sub(damaged), write: damaged };
    if heal.fetch < full.fetch { vec![heal, full] } else { vec![full] }
}

fn full(ground: &Ground) -> Way {
    let have = ground.begun.have.min(ground.packs);
    let left = ground.packs - have + ground.manifest;
    Way { kind: WayKind::Full, patches: vec![], fetch: left, reuse: have, write: left }
}

fn chunks(ground: &Ground) -> Option<Way> {
    let difference = ground.difference?;
    // What was begun counts what was taken from the library as well as what was fetched, so this is what is left at most.
    let write = difference.write.saturating_sub(ground.begun.have);
    Some(Way {
        kind: WayKind::Chunks,
        patches: vec![],
        fetch: difference.chunks.min(write) + ground.manifest,
        reuse: reuse(ground, difference),
        write: write + ground.manifest,
    })
}

fn deltas(ground: &Ground) -> Option<Way> {
    let (difference, deltas) = (ground.difference?, ground.deltas.as_ref()?);
    let write = difference.write.saturating_sub(ground.begun.have);
    // Which of the deltas are still needed is known to whoever asks; as many as of the chunks are, on average.
    let whole = deltas.object.length + difference.chunks.saturating_sub(deltas.covered);
    let left = u128::from(whole) * u128::from(difference.chunks.min(write)) / u128::from(difference.chunks.max(1));
    Some(Way {
        kind: WayKind::Deltas,
        patches: vec![deltas.object.clone()],
        fetch: u64::try_from(left).unwrap_or(u64::MAX),
        reuse: reuse(ground, difference),
        write: write + ground.manifest,
    })
}

fn patched(ground: &Ground, chain: &Chain) -> Way {
    let lengths: u64 = chain.patches.iter().map(|patch| patch.length).sum();
    let kind = match (ground.damaged > 0, chain.patches.len()) {
        (true, _) => WayKind::HealAndPatch,
        (false, 1) => WayKind::Patch,
        (false, _) => WayKind::Chain,
    };
    Way {
        kind,
        patches: chain.patches.clone(),
        // A patch brings the manifest as a difference.
        fetch: lengths.saturating_sub(ground.begun.fetched) + ground.damaged,
        reuse: ground.difference.map_or(0, |difference| reuse(ground, difference)),
        write: chain.write.saturating_sub(ground.begun.have) + chain.manifests + ground.damaged,
    }
}

/// Sealed bytes of the release that are there: in the release that is current, or of what was begun.
fn reuse(ground: &Ground, difference: Difference) -> u64 {
    ground.packs.saturating_sub(difference.chunks).max(ground.begun.have.min(ground.packs))
}

/// A patch between two releases, which go by numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// From which.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// Bytes to fetch.
    pub cost: u64,
}

/// The patches to take from one release to another: the one that leads there directly, and the chain that costs least where that is another
/// one; each as indices of `edges`. `leaving` has the edges of each release. Only releases that `passes` says yes to lie on the way.
pub fn chains(edges: &[Edge], leaving: &[Vec<usize>], from: usize, to: usize, passes: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    if from == to {
        return vec![];
    }
    let direct = leaving[from].iter().copied().filter(|edge| edges[*edge].to == to).min_by_key(|edge| edges[*edge].cost);
    let mut found: Vec<Vec<usize>> = direct.map(|edge| vec![edge]).into_iter().collect();
    found.extend(shortest(edges, leaving, from, to, passes).filter(|chain| found.first() != Some(chain)));
    found
}

/// Dijkstra's.
fn shortest(edges: &[Edge], leaving: &[Vec<usize>], from: usize, to: usize, passes: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let mut best: Vec<Option<(u64, usize)>> = vec![None; leaving.len()];
    let mut done = vec![false; leaving.len()];
    let mut open = BinaryHeap::from([Reverse((0_u64, from))]);
    while let Some(Reverse((cost, at))) = open.pop() {
        if at == to {
            break;
        }
        if std::mem::replace(&mut done[at], true) || (at != from && !passes(at)) {
            continue;
        }
        for &index in &leaving[at] {
            let edge = edges[index];
            let sum = cost.saturating_add(edge.cost);
            if edge.to != from && best[edge.to].is_none_or(|(known, _)| sum < known) {
                best[edge.to] = Some((sum, index));
                open.push(Reverse((sum, edge.to)));
            }
        }
    }
    let mut chain = vec![];
    let mut at = to;
    while at != from {
        let (_, index) = best[at]?;
        chain.push(index);
        at = edges[index].from;
    }
    chain.reverse();
    Some(chain)
}
