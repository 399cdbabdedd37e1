//! The plan for one title: where to go by the rule, and what each way costs, from memory where it was measured before.

use counterfoil_core::rules::plan::{self as rules, Begun, Chain, Ground, Wish};
use counterfoil_core::wire::{Plan, Report, Status, Way, WayKind};
use counterfoil_core::{Channel, Refusal};

use super::Asking;
use super::facts::{Found, Held};
use crate::app::App;
use crate::catalogue::Catalogue;
use crate::difference::Of;
use crate::problem::Problem;

/// Plans for what is held by right; what is not is refused, and the others are planned all the same.
pub(super) async fn plan(app: &App, asking: &Asking, ask: &Report, status: &Status, held: &Held) -> Result<Plan, Problem> {
    let encoder = &ask.encoder;
    let mut plan = Plan { title: status.title.clone(), refused: None, to: None, ways: vec![], feed: None, fresh: None, content: None };
    let decided = match &held.found {
        Ok(found) => target(asking, status, found).map(|target| (found, target)),
        Err(refusal) => Err(refusal.clone()),
    };
    match decided {
        Ok((found, Some(target))) => {
            plan.to = Some(found.catalogue.on_offer(target.index, target.critical));
            plan.ways = Measuring { app, encoder, status, found }.ways(target.index).await?;
        }
        Ok((found, None)) => {
            let current = status.release.as_ref().and_then(|version| found.catalogue.find(version));
            if let Some(index) = current.filter(|_| !status.damaged.is_empty() && !found.on_medium) {
                plan.to = Some(found.catalogue.on_offer(index, false));
                plan.ways = Measuring { app, encoder, status, found }.mends(index).await?;
            }
        }
        Err(refusal) => plan.refused = Some(refusal),
    }
    // Older terminals would not understand the answer.
    plan.ways.retain(|way| ask.deltas || way.kind != WayKind::Deltas);
    Ok(plan)
}

/// Longest notes that a plan tells, in bytes; the whole are at the publisher's.
const NOTES: usize = 8 * 1024;
/// What a patch takes in an answer, in bytes.
const PATCH: usize = 300;

/// Takes what is long in a plan from the room that is left in the answer: notes are cut off, chains that do not fit are no way. Everything, or
/// the chunks, are told all the same.
pub(super) fn fit(plan: &mut Plan, room: &mut usize) {
    if let Some(to) = &mut plan.to {
        let most = to.notes.floor_char_boundary(NOTES.min(*room));
        to.notes.truncate(most);
        *room -= most;
    }
    plan.ways.retain(|way| {
        let left = room.checked_sub(way.patches.len() * PATCH);
        *room = left.unwrap_or(*room);
        left.is_some()
    });
}

fn target(asking: &Asking, status: &Status, found: &Found) -> Result<Option<rules::Target>, Refusal> {
    let stable = Channel::default();
    let channel = status.channel.as_ref().unwrap_or(&stable);
    let grant = status.grant_id.map(|grant| *grant.as_bytes());
    let medium = asking.medium.as_ref().map(|(medium, _)| medium.as_str().as_bytes());
    // A device is in a rollout or not, whatever it has been granted.
    let who = match (&asking.device, &grant, medium) {
        (Some(device), ..) => device.as_bytes().as_slice(),
        (None, Some(grant), _) => grant.as_slice(),
        (None, None, medium) => medium.unwrap_or_default(),
    };
    let wish = Wish {
        title: &status.title,
        who,
        channel,
        current: status.release.as_ref(),
        begun: status.begun.as_ref().map(|begun| &begun.release),
        wanted: status.wanted.as_ref(),
        minimum: found.catalogue.minimum(channel),
    };
    rules::target(&wish, &found.catalogue.candidates)
}

/// One title whose ways are measured.
struct Measuring<'a> {
    app: &'a App,
    encoder: &'a str,
    status: &'a Status,
    found: &'a Found,
}

impl Measuring<'_> {
    async fn ways(&self, to: usize) -> Result<Vec<Way>, Problem> {
        let catalogue = &self.found.catalogue;
        let from = self.status.release.as_ref().and_then(|version| catalogue.find(version));
        let begun = self.status.begun.as_ref().filter(|begun| begun.release == catalogue.candidates[to].version);
        let Some(from) = from else { return Ok(rules::ways(&Ground { begun: counted(begun), ..self.ground(to) })) };
        if self.found.on_medium {
            let difference = self.app.differences.of_packs(self.app, self.of(from), self.of(to)).await?;
            return Ok(rules::ways(&Ground { difference, begun: counted(begun), ..self.ground(to) }));
        }
        let is_usual = self.status.damaged.is_empty() && begun.is_none();
        if let Some(known) = catalogue.known_ways(self.encoder, from, to).filter(|_| is_usual) {
            return Ok(known.to_vec());
        }
        let (difference, damaged) = match self.status.damaged.as_slice() {
            [] => (self.app.differences.between(self.app, self.of(from), self.of(to)).await?, 0),
            damaged => match self.app.differences.between_damaged(self.app, self.of(from), self.of(to), damaged).await? {
                Some((difference, bytes)) => (Some(difference), bytes),
                None => (None, 0),
            },
        };
        let chains = match difference {
            Some(_) => self.chains(from, to).await?,
            None => vec![],
        };
        let deltas = catalogue.deltas(self.encoder, from, to);
        let ways = rules::ways(&Ground { difference, damaged, begun: counted(begun), chains, deltas, ..self.ground(to) });
        // What could not be compared now may be later: a contents store is put right.
        if is_usual && difference.is_some() {
            catalogue.keep_ways(self.encoder, from, to, &ways);
        }
        Ok(ways)
    }

    /// The ways to mend what is there.
    async fn mends(&self, index: usize) -> Result<Vec<Way>, Problem> {
        let of = self.of(index);
        let found = self.app.differences.between_damaged(self.app, of, of, &self.status.damaged).await?;
        let ground = self.ground(index);
        // A manifest that does not open names no chunks; everything is fetched.
        let damaged = found.map_or(ground.packs + ground.manifest, |(_, bytes)| bytes);
        Ok(if damaged == 0 { vec![] } else { rules::heal(&Ground { damaged, ..ground }) })
    }

    async fn chains(&self, from: usize, to: usize) -> Result<Vec<Chain>, Problem> {
        let catalogue: &Catalogue = &self.found.catalogue;
        let mut chains = vec![];
        for hops in catalogue.chains(self.encoder, from, to) {
            let mut chain = Chain { patches: vec![], manifests: 0, write: 0 };
            let mut at = from;
            for (next, patch) in hops {
                let written = self.app.differences.between(self.app, self.of(at), self.of(next)).await?;
                // Where it cannot be compared, no less than all of it is promised.
                chain.write += written.map_or(self.ground(next).packs, |difference| difference.write);
                chain.manifests += catalogue.released[next].document.manifest.length;
                chain.patches.push(patch);
                at = next;
            }
            chains.push(chain);
        }
        Ok(chains)
    }

    fn of(&self, index: usize) -> Of<'_> {
        Of { title: &self.status.title, release: &self.found.catalogue.released[index].document }
    }

    fn ground(&self, index: usize) -> Ground {
        let released = &self.found.catalogue.released[index];
        let manifest = released.document.manifest.length;
        Ground { packs: released.packed.saturating_sub(manifest), manifest, ..Ground::default() }
    }
}

fn counted(begun: Option<&counterfoil_core::wire::Begun>) -> Begun {
    begun.map_or_else(Begun::default, |begun| Begun { have: begun.have, fetched: begun.fetched })
}

#[cfg(test)]
mod tests {
    use counterfoil_core::Timestamp;
    use counterfoil_core::wire::{PatchOnOffer, ReleaseOnOffer};

    use super::*;

    fn way(kind: WayKind, patches: usize) -> Way {
        let version = || "1.0".parse().expect("a version");
        let patch = PatchOnOffer { from: version(), to: version(), object: "0".repeat(64), length: u64::MAX };
        Way { kind, patches: vec![patch; patches], fetch: u64::MAX, reuse: u64::MAX, write: u64::MAX }
    }

    fn plan(notes: &str, patches: usize) -> Plan {
        let version = "1.0".parse().expect("a version");
        let to = ReleaseOnOffer {
            version,
            notes: notes.to_owned(),
            critical: false,
            size: 1,
            packed: 1,
            encoder: String::new(),
            published_at: Timestamp(0),
        };
        let ways = vec![way(WayKind::Chain, patches), way(WayKind::Full, 0)];
        Plan { title: "a".parse().expect("a title"), refused: None, to: Some(to), ways, feed: None, fresh: None, content: None }
    }

    #[test]
    fn what_is_long_fits_into_the_room_and_the_last_way_always_does() {
        let mut room = 20_000;
        for (notes, patches) in [("é", 3), (&*"é".repeat(20_000), 500), (&*"x".repeat(20_000), 30), ("x", 1), ("", 9999)] {
            let (before, mut plan) = (room, plan(notes, patches));
            fit(&mut plan, &mut room);
            let told = plan.to.as_ref().map_or(0, |to| to.notes.len());
            let chains = plan.ways.iter().map(|way| way.patches.len()).sum::<usize>();
            assert_eq!(before - room, told + chains * PATCH);
            assert!(told <= NOTES && notes.starts_with(&plan.to.as_ref().expect("it is there").notes));
            assert_eq!(plan.ways.last().map(|way| way.kind), Some(WayKind::Full));
        }
        assert!(room < 20_000);
        let patch = serde_json::to_vec(&way(WayKind::Chain, 1).patches[0]).expect("JSON");
        assert!(patch.len() <= PATCH, "{}", patch.len());
    }
}
