use proptest::prelude::*;

use super::*;
use crate::wire::{PatchOnOffer, WayKind};

fn title() -> TitleId {
    "sky-raider".parse().expect("a title")
}

fn version(number: i64) -> ReleaseVersion {
    format!("{number}.0").parse().expect("a version")
}

fn release(number: i64) -> Candidate {
    Candidate {
        version: version(number),
        channel: Channel::default(),
        number,
        generation: 1,
        rollout: 100,
        held: false,
        withdrawn: false,
        allow_back: true,
        critical: false,
    }
}

fn releases(change: impl FnOnce(&mut Vec<Candidate>)) -> Vec<Candidate> {
    let mut releases: Vec<Candidate> = (1..=4).map(release).collect();
    change(&mut releases);
    releases
}

#[derive(Clone, Debug, Default)]
struct Device {
    current: Option<i64>,
    begun: Option<i64>,
    wanted: Option<i64>,
    minimum: Option<i64>,
    channel: Channel,
    who: u8,
}

fn at(current: i64) -> Device {
    Device { current: Some(current), ..Device::default() }
}

/// The number of the release to go to, and whether that is critical.
fn plan(device: &Device, releases: &[Candidate]) -> Result<Option<(i64, bool)>, Code> {
    let (current, begun, wanted) = (device.current.map(version), device.begun.map(version), device.wanted.map(version));
    let title = title();
    let wish = Wish {
        title: &title,
        who: &[device.who; 16],
        channel: &device.channel,
        current: current.as_ref(),
        begun: begun.as_ref(),
        wanted: wanted.as_ref(),
        minimum: device.minimum,
    };
    let target = target(&wish, releases).map_err(|refusal| refusal.code)?;
    Ok(target.map(|target| (releases[target.index].number, target.critical)))
}

#[test]
fn a5_a_device_is_brought_to_the_last_release_of_its_channel_and_stays_there() {
    let all = releases(|all| all[3].channel = "beta".parse().expect("a channel"));
    assert_eq!(plan(&at(1), &all), Ok(Some((3, false))));
    assert_eq!(plan(&at(3), &all), Ok(None));
    assert_eq!(plan(&Device::default(), &all), Ok(Some((3, false))), "who has none is brought to it as well");
    let beta = Device { channel: "beta".parse().expect("a channel"), ..at(3) };
    assert_eq!(plan(&beta, &all), Ok(Some((4, false))));
    assert_eq!(plan(&at(4), &all), Ok(None), "who comes back from beta waits there");
}

#[test]
fn what_is_held_or_withdrawn_is_not_offered() {
    assert_eq!(plan(&at(1), &releases(|all| all[3].held = true)), Ok(Some((3, false))));
    assert_eq!(plan(&at(1), &releases(|all| all[3].withdrawn = true)), Ok(Some((3, false))));
}

#[test]
fn whoever_names_a_release_gets_it_be_it_held_or_not_rolled_out() {
    let all = releases(|all| (all[3].held, all[2].rollout) = (true, 0));
    assert_eq!(plan(&Device { wanted: Some(4), ..at(1) }, &all), Ok(Some((4, false))));
    assert_eq!(plan(&Device { wanted: Some(3), ..at(1) }, &all), Ok(Some((3, false))));
    assert_eq!(plan(&Device { wanted: Some(1), ..at(1) }, &all), Ok(None));
    assert_eq!(plan(&Device { wanted: Some(9), ..at(1) }, &all), Err(Code::ReleaseUnknown));
    assert_eq!(plan(&Device { wanted: Some(3), ..at(1) }, &releases(|all| all[2].withdrawn = true)), Err(Code::ReleaseWithdrawn));
}

#[test]
fn back_is_gone_only_by_name_and_where_the_publisher_allows_it() {
    assert_eq!(plan(&Device { wanted: Some(2), ..at(4) }, &releases(|_| ())), Ok(Some((2, false))));
    assert_eq!(plan(&Device { wanted: Some(2), ..at(4) }, &releases(|all| all[1].allow_back = false)), Err(Code::ReleaseWithdrawn));
    assert_eq!(plan(&Device { wanted: Some(2), ..at(1) }, &releases(|all| all[1].allow_back = false)), Ok(Some((2, false))));
}

#[test]
fn a_release_that_was_withdrawn_is_left_for_the_last_good_one_be_it_earlier() {
    let all = releases(|all| (all[3].withdrawn, all[2].held) = (true, true));
    assert_eq!(plan(&at(4), &all), Ok(Some((2, true))));
    let all = releases(|all| (all[3].withdrawn, all[2].allow_back, all[1].allow_back) = (true, false, true));
    assert_eq!(plan(&at(4), &all), Ok(Some((2, true))), "not to one that is not gone back to");
    let all = releases(|all| all.iter_mut().for_each(|release| release.withdrawn = true));
    assert_eq!(plan(&at(4), &all), Ok(None), "where no good one is, it stays");
}

#[test]
fn what_was_begun_is_finished_first_unless_it_was_withdrawn() {
    let begun = Device { begun: Some(2), ..at(1) };
    assert_eq!(plan(&begun, &releases(|_| ())), Ok(Some((2, false))));
    assert_eq!(plan(&begun, &releases(|all| all[1].held = true)), Ok(Some((2, false))));
    assert_eq!(plan(&begun, &releases(|all| all[1].withdrawn = true)), Ok(Some((4, false))));
    assert_eq!(plan(&Device { wanted: Some(3), ..begun }, &releases(|_| ())), Ok(Some((3, false))), "unless another is named");
}

#[test]
fn it_is_critical_to_pass_a_critical_release_to_be_below_the_minimum_or_on_a_withdrawn_one() {
    let all = releases(|all| all[1].critical = true);
    assert_eq!(plan(&at(1), &all), Ok(Some((4, true))), "one that lies between");
    assert_eq!(plan(&at(2), &all), Ok(Some((4, false))), "one that is there already");
    assert_eq!(plan(&at(1), &releases(|all| (all[1].critical, all[1].withdrawn) = (true, true))), Ok(Some((4, false))));
    assert_eq!(plan(&Device { minimum: Some(3), ..at(2) }, &releases(|_| ())), Ok(Some((4, true))));
    assert_eq!(plan(&Device { minimum: Some(3), ..at(3) }, &releases(|_| ())), Ok(Some((4, false))));
    assert_eq!(plan(&at(3), &releases(|all| all[2].withdrawn = true)), Ok(Some((4, true))));
}

#[test]
fn a_rollout_offers_the_release_to_its_share_and_the_one_before_to_the_others() {
    let all = releases(|all| all[3].rollout = 40);
    let offered: Vec<i64> = (0..=255).map(|who| plan(&Device { who, ..at(1) }, &all).expect("a plan").expect("a target").0).collect();
    let reached = offered.iter().filter(|number| **number == 4).count();
    assert!((70..=135).contains(&reached), "{reached} of 256 at 40 %");
    assert!(offered.iter().all(|number| [3, 4].contains(number)));
}

fn patch(from: i64, to: i64, length: u64) -> PatchOnOffer {
    PatchOnOffer { from: version(from), to: version(to), object: String::new(), length }
}

fn chain(patches: Vec<PatchOnOffer>) -> Chain {
    let hops = patches.len() as u64;
    Chain { patches, manifests: 10 * hops, write: 300 * hops }
}

fn ground() -> Ground {
    Ground { packs: 1000, manifest: 10, difference: Some(Difference { chunks: 200, write: 300 }), ..Ground::default() }
}

fn kinds(ground: &Ground) -> Vec<(WayKind, u64)> {
    ways(ground).into_iter().map(|way| (way.kind, way.fetch)).collect()
}

#[test]
fn a5_the_cheapest_way_comes_first_and_everything_last() {
    let chains = vec![chain(vec![patch(1, 4, 100)]), chain(vec![patch(1, 2, 20), patch(2, 4, 30)])];
    let expected = [(WayKind::Chain, 50), (WayKind::Patch, 100), (WayKind::Chunks, 210), (WayKind::Full, 1010)];
    assert_eq!(kinds(&Ground { chains, ..ground() }), expected);
    assert_eq!(kinds(&ground()), [(WayKind::Chunks, 210), (WayKind::Full, 1010)], "no patch at hand");
    assert_eq!(kinds(&Ground { difference: None, ..ground() }), [(WayKind::Full, 1010)], "nothing to compare with");
}

#[test]
fn what_costs_more_than_everything_is_no_way() {
    let chains = vec![chain(vec![patch(1, 4, 2000)])];
    assert_eq!(kinds(&Ground { chains, ..ground() }), [(WayKind::Chunks, 210), (WayKind::Full, 1010)]);
    let difference = Some(Difference { chunks: 1000, write: 1000 });
    assert_eq!(kinds(&Ground { difference, ..ground() }), [(WayKind::Full, 1010)]);
}

#[test]
fn a5_chunks_written_against_what_is_there_count_with_those_that_were_not_prepared_so() {
    let deltas = Some(Deltas { object: patch(1, 4, 40), covered: 150 });
    let ground = Ground { deltas, ..ground() };
    assert_eq!(kinds(&ground), [(WayKind::Deltas, 40 + 50), (WayKind::Chunks, 210), (WayKind::Full, 1010)]);
    let way = &ways(&ground)[0];
    assert_eq!((&way.patches[..], way.reuse, way.write), (&[patch(1, 4, 40)][..], 800, 310));
    let begun = Begun { have: 200, fetched: 0 };
    assert_eq!(kinds(&Ground { begun, ..ground.clone() })[0], (WayKind::Deltas, 45), "half of what is missing is there");
    let begun = Begun { have: 300, fetched: 0 };
    assert_eq!(kinds(&Ground { begun, ..ground.clone() })[0], (WayKind::Deltas, 0));
    assert_eq!(kinds(&Ground { difference: None, ..ground.clone() }), [(WayKind::Full, 1010)], "nothing to compare with");
    let larger = Some(Deltas { object: patch(1, 4, 2000), covered: 200 });
    assert_eq!(kinds(&Ground { deltas: larger, ..ground }), [(WayKind::Chunks, 210), (WayKind::Full, 1010)]);
}

#[test]
fn what_is_damaged_is_healed_before_a_patch_is_applied_and_counted() {
    let chains = vec![chain(vec![patch(1, 4, 50)])];
    let found = kinds(&Ground { damaged: 33, chains, ..ground() });
    assert_eq!(found[0], (WayKind::HealAndPatch, 50 + 33));
    let mended = heal(&Ground { damaged: 33, ..ground() });
    assert_eq!(mended.iter().map(|way| (way.kind, way.fetch)).collect::<Vec<_>>(), [(WayKind::Heal, 33), (WayKind::Full, 1010)]);
}

#[test]
fn what_was_begun_is_not_counted_again() {
    let chains = vec![chain(vec![patch(1, 4, 50)])];
    let begun = Begun { have: 250, fetched: 20 };
    let found = ways(&Ground { begun, chains, ..ground() });
    let told: Vec<_> = found.iter().map(|way| (way.kind, way.fetch, way.write)).collect();
    assert_eq!(told, [(WayKind::Patch, 30, 60), (WayKind::Chunks, 60, 60), (WayKind::Full, 760, 760)]);
}

fn edges(of: &[(usize, usize, u64)]) -> (Vec<Edge>, Vec<Vec<usize>>) {
    let edges: Vec<Edge> = of.iter().map(|(from, to, cost)| Edge { from: *from, to: *to, cost: *cost }).collect();
    let leaving = (0..6).map(|at| (0..edges.len()).filter(|edge| edges[*edge].from == at).collect()).collect();
    (edges, leaving)
}

#[test]
fn chains_are_found_of_any_length_and_around_what_was_withdrawn() {
    let (edges, leaving) = edges(&[(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1), (0, 4, 9), (2, 4, 5), (4, 0, 1)]);
    assert_eq!(chains(&edges, &leaving, 0, 4, |_| true), [vec![4], vec![0, 1, 2, 3]]);
    assert_eq!(chains(&edges, &leaving, 0, 4, |at| at != 3), [vec![4], vec![0, 1, 5]]);
    assert_eq!(chains(&edges, &leaving, 0, 4, |_| false), [vec![4]]);
    assert_eq!(chains(&edges, &leaving, 3, 4, |_| true), [vec![3]]);
    assert_eq!(chains(&edges, &leaving, 0, 5, |_| true), Vec::<Vec<usize>>::new());
    assert_eq!(chains(&edges, &leaving, 0, 0, |_| true), Vec::<Vec<usize>>::new());
}

/// Every chain there is, tried one by one.
fn cheapest_by_trying(edges: &[Edge], at: usize, to: usize, seen: &mut Vec<usize>) -> Option<u64> {
    if at == to {
        return Some(0);
    }
    let mut best = None;
    for edge in edges.iter().filter(|edge| edge.from == at) {
        if !seen.contains(&edge.to) {
            seen.push(edge.to);
            let rest = cheapest_by_trying(edges, edge.to, to, seen).map(|rest| rest + edge.cost);
            best = [best, rest].into_iter().flatten().min();
            seen.pop();
        }
    }
    best
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..3_u32, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u32);
    proptest::collection::vec(one, 1..8).prop_map(|all| {
        let made = all.into_iter().zip(1..).map(|((channel, held, withdrawn, allow_back, critical, rollout), number)| Candidate {
            channel: ["stable", "beta", "night"][channel as usize].parse().expect("a channel"),
            held,
            withdrawn,
            allow_back,
            critical,
            rollout: rollout * 50,
            ..release(number)
        });
        made.collect()
    })
}

proptest! {
    #[test]
    fn no_device_is_led_back_unasked_or_to_what_is_not_offered(all in candidates(), current in 0..9_i64, who in any::<u8>()) {
        let device = Device { current: (current > 0).then_some(current), who, ..Device::default() };
        if let Some((number, critical)) = plan(&device, &all).expect("nothing was named") {
            let find = |number: i64| all.iter().find(|release| release.number == number);
            let (there, chosen) = (device.current.and_then(find), find(number).expect("one of them"));
            prop_assert!(!chosen.held && !chosen.withdrawn && chosen.channel == Channel::default());
            if let Some(there) = there {
                prop_assert!(number != there.number);
                prop_assert!(number > there.number || (there.withdrawn && chosen.allow_back && critical));
            }
            prop_assert_eq!(plan(&device, &all), Ok(Some((number, critical))));
        }
    }

    #[test]
    fn no_way_is_larger_than_everything_and_there_always_is_one_without_patches(
        packs in 0..5000_u64, manifest in 0..100_u64, chunks in 0..5000_u64, more in 0..500_u64, damaged in 0..500_u64,
        have in 0..6000_u64, fetched in 0..500_u64, compared in any::<bool>(), lengths in proptest::collection::vec(1..6000_u64, 0..4),
        prepared in proptest::option::of((1..6000_u64, 0..5000_u64)),
    ) {
        let difference = compared.then_some(Difference { chunks: chunks.min(packs), write: (chunks + more).min(packs) });
        let chains = lengths.iter().map(|length| chain(vec![patch(1, 4, *length)])).collect();
        let deltas = prepared.map(|(length, covered)| Deltas { object: patch(1, 4, length), covered });
        let ground = Ground { packs, manifest, difference, damaged, begun: Begun { have, fetched }, chains, deltas };
        for found in [ways(&ground), heal(&ground)] {
            let full = found.last().expect("a fallback");
            prop_assert_eq!(full.kind, WayKind::Full);
            prop_assert!(found.iter().all(|way| way.fetch <= full.fetch));
            prop_assert!(found.is_sorted_by_key(|way| way.fetch));
            prop_assert!(found.iter().all(|way| way.reuse <= packs));
        }
    }

    #[test]
    fn the_chain_that_is_found_is_the_cheapest(of in proptest::collection::vec((0..6_usize, 0..6_usize, 1..50_u64), 0..14)) {
        let (edges, leaving) = edges(&of);
        let found = chains(&edges, &leaving, 0, 5, |_| true);
        let cost = |chain: &Vec<usize>| chain.iter().map(|edge| edges[*edge].cost).sum::<u64>();
        prop_assert_eq!(found.iter().map(cost).min(), cheapest_by_trying(&edges, 0, 5, &mut vec![0]));
        for chain in &found {
            let mut at = 0;
            for edge in chain {
                prop_assert_eq!(edges[*edge].from, at);
                at = edges[*edge].to;
            }
            prop_assert_eq!(at, 5);
        }
    }
}
