//! What is known of a title's releases, in memory: every report asks for it, and it changes when something is published or said.
//!
//! Whatever changes it is recorded in the title's audit log, in the same transaction. So one look at the end of that log tells whether what
//! is kept here still holds, in this process as in any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_core::rules::plan::{Candidate, Deltas, Edge, chains};
use counterfoil_core::wire::{PatchOnOffer, ReleaseOnOffer, Way};
use counterfoil_core::{Channel, ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::content as format;
use counterfoil_format::jws::unverified_payload;
use quick_cache::sync::Cache;

use crate::actions;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::store::audit::{self, Head};
use crate::store::delta::{self, Delta};
use crate::store::feed;
use crate::store::patch::{self, Patch};
use crate::store::release::{self, Release};
use crate::store::title;

/// Titles that are kept: 1,000 releases of one take some hundred KiB, and their notes.
const TITLES: usize = 1000;
/// Releases of a title that are looked at.
const RELEASES: i64 = 10_000;
/// Patches of a title that are looked at.
const PATCHES: i64 = 50_000;
/// Ways that are kept of a title.
const WAYS: usize = 20_000;

/// The titles that were asked for lately.
pub struct Catalogues(Cache<TitleId, Arc<Catalogue>>);

impl Default for Catalogues {
    fn default() -> Self {
        Self(Cache::new(TITLES))
    }
}

impl Catalogues {
    /// What is known of a title now; nothing where there is no such title.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn of(&self, tx: &mut Tx, id: &TitleId) -> Result<Option<Arc<Catalogue>>, DbError> {
        let head = audit::head(tx, &title::family(id)).await?;
        if let Some(known) = self.0.get(id).filter(|known| known.head == head) {
            return Ok(Some(known));
        }
        // What is read after the end of the log may be newer than it, and is then read once more.
        let Some(read) = Catalogue::read(tx, id, head).await? else { return Ok(None) };
        let read = Arc::new(read);
        self.0.insert(id.clone(), Arc::clone(&read));
        Ok(Some(read))
    }
}

/// A title with its releases and patches.
pub struct Catalogue {
    head: Head,
    /// For the choice, newest first.
    pub candidates: Vec<Candidate>,
    /// The same releases, for what is told of them and how they are compared.
    pub released: Vec<Released>,
    minima: HashMap<Channel, i64>,
    patches: HashMap<String, Patches>,
    deltas: HashMap<Between, Deltas>,
    ways: Mutex<HashMap<Between, Arc<[Way]>>>,
}

/// From one of the releases to another, for devices that compress by this.
type Between = (usize, usize, String);

/// A release as it was published.
#[derive(Clone, Debug)]
pub struct Released {
    /// The document, whose signature was verified when it was published.
    pub document: format::Release,
    /// Bytes of its packs and its manifest.
    pub packed: u64,
    /// What its chunks were compressed by.
    pub encoder: String,
    /// For people.
    pub notes: String,
    /// When.
    pub published_at: Timestamp,
}

/// The patches for devices that compress in one way.
#[derive(Default)]
struct Patches {
    edges: Vec<Edge>,
    leaving: Vec<Vec<usize>>,
    on_offer: Vec<PatchOnOffer>,
}

impl Catalogue {
    async fn read(tx: &mut Tx, id: &TitleId, head: Head) -> Result<Option<Self>, DbError> {
        if title::get(tx, &Scope::All, id).await?.is_none() {
            return Ok(None);
        }
        let packed: HashMap<ReleaseVersion, u64> = release::packed(tx, id).await?.into_iter().collect();
        let minima = release::minima(tx, id).await?.into_iter().collect();
        let listed = feed::get(tx, id).await?.map(|feed| actions::feed::listed_in(&feed.document));
        let (mut candidates, mut released) = (vec![], vec![]);
        for row in release::list(tx, id, i64::MAX, RELEASES).await? {
            let Some(document) = read_document(&row.document) else {
                tracing::error!(title = %id, version = %row.version, "the document of a release cannot be read");
                continue;
            };
            let packed = packed.get(&row.version).copied().unwrap_or_default();
            let (mut candidate, one) = taken_apart(row, document, packed);
            if let Some(listed) = &listed {
                go_by(listed, &mut candidate);
            }
            candidates.push(candidate);
            released.push(one);
        }
        let mut catalogue =
            Self { head, candidates, released, minima, patches: HashMap::new(), deltas: HashMap::new(), ways: Mutex::default() };
        for patch in patch::list(tx, id, ("", ""), PATCHES).await? {
            catalogue.add(patch);
        }
        for delta in delta::list(tx, id, ("", ""), PATCHES).await? {
            catalogue.add_deltas(delta);
        }
        Ok(Some(catalogue))
    }

    fn add(&mut self, patch: Patch) {
        let (Some(from), Some(to)) = (self.find(&patch.from), self.find(&patch.to)) else { return };
        let cost = patch.length;
        let nodes = self.candidates.len();
        let of = self.patches.entry(patch.encoder).or_default();
        of.leaving.resize(nodes, vec![]);
        of.leaving[from].push(of.edges.len());
        of.edges.push(Edge { from, to, cost });
        of.on_offer.push(PatchOnOffer { from: patch.from, to: patch.to, object: patch.object.to_string(), length: patch.length });
    }

    fn add_deltas(&mut self, Delta { patch, covered }: Delta) {
        let (Some(from), Some(to)) = (self.find(&patch.from), self.find(&patch.to)) else { return };
        let object = PatchOnOffer { from: patch.from, to: patch.to, object: patch.object.to_string(), length: patch.length };
        self.deltas.insert((from, to, patch.encoder), Deltas { object, covered });
    }

    /// Which of the releases a version is.
    pub fn find(&self, version: &ReleaseVersion) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.version == *version)
    }

    /// The number of the oldest release that is still good on a channel.
    pub fn minimum(&self, channel: &Channel) -> Option<i64> {
        self.minima.get(channel).copied()
    }

    /// Chains of patches for a device that compresses by `encoder`, direct and cheapest; each with the releases that it passes, the last
    /// included. None passes what was withdrawn, or is sealed under another key.
    pub fn chains(&self, encoder: &str, from: usize, to: usize) -> Vec<Vec<(usize, PatchOnOffer)>> {
        let Some(patches) = self.patches.get(without_level(encoder)) else { return vec![] };
        let generation = self.candidates[to].generation;
        let passes = |at: usize| !self.candidates[at].withdrawn && self.candidates[at].generation == generation;
        let found = chains(&patches.edges, &patches.leaving, from, to, passes);
        let hops = |chain: Vec<usize>| chain.into_iter().map(|edge| (patches.edges[edge].to, patches.on_offer[edge].clone())).collect();
        found.into_iter().map(hops).collect()
    }

    /// Deltas from one release to another, for a device that compresses by `encoder`.
    pub fn deltas(&self, encoder: &str, from: usize, to: usize) -> Option<Deltas> {
        self.deltas.get(&(from, to, without_level(encoder).to_owned())).cloned()
    }

    /// Ways that were measured before, for a device on which nothing is damaged and nothing was begun.
    pub fn known_ways(&self, encoder: &str, from: usize, to: usize) -> Option<Arc<[Way]>> {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(&(from, to, without_level(encoder).to_owned())).cloned()
    }

    /// Keeps them for whoever asks next.
    pub fn keep_ways(&self, encoder: &str, from: usize, to: usize, found: &[Way]) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        // A device may call its compressor what it likes; what no patch was made by is one and the same.
        let encoder = without_level(encoder);
        if ways.len() >= WAYS {
            ways.clear();
        }
        ways.insert((from, to, encoder.to_owned()), found.into());
    }

    /// A release as it is offered.
    pub fn on_offer(&self, index: usize, critical: bool) -> ReleaseOnOffer {
        let Released { document, packed, encoder, notes, published_at } = &self.released[index];
        ReleaseOnOffer {
            version: self.candidates[index].version.clone(),
            notes: notes.clone(),
            critical,
            size: document.size,
            packed: *packed,
            encoder: encoder.clone(),
            published_at: *published_at,
        }
    }
}

/// `zstd 1.5.7` of `zstd 1.5.7 level 3`: what is compressed alike at one level is so at all.
fn without_level(encoder: &str) -> &str {
    encoder.split(" level ").next().unwrap_or(encoder)
}

/// The payload of a document that was verified when it was published.
fn read_document(document: &str) -> Option<format::Release> {
    serde_json::from_slice(&unverified_payload(document)?).ok()
}

/// What terminals would refuse is not offered: a release that the feed does not list yet, or no more.
fn go_by(listed: &[format::ListedRelease], candidate: &mut Candidate) {
    match listed.iter().find(|listed| listed.version == candidate.version.as_str()) {
        Some(listed) => {
            candidate.withdrawn |= listed.withdrawn;
            candidate.allow_back &= listed.allow_back;
            candidate.critical |= listed.critical;
        }
        None => candidate.held = true,
    }
}

fn taken_apart(row: Release, document: format::Release, packed: u64) -> (Candidate, Released) {
    let Release { version, channel, number, generation, created_at, said, encoder, .. } = row;
    let candidate = Candidate {
        version,
        channel,
        number,
        generation,
        rollout: said.rollout,
        held: said.held_at.is_some(),
        withdrawn: said.withdrawn_at.is_some(),
        allow_back: said.allow_back,
        critical: said.critical,
    };
    (candidate, Released { document, packed, encoder, notes: said.notes, published_at: Timestamp(created_at) })
}
