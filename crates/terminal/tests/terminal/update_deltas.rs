//! Updates by deltas (A5): chunks written against the neighbourhood in the release that is here, for whatever of them is still missing.

use crate::common;
use crate::updating::scene::{self, NEW, OLD};

use common::deltas::{Parts, delta, parts, text};
use common::interrupted::*;
use common::releases::*;
use common::*;
use counterfoil_core::wire::{PatchOnOffer, WayKind};
use counterfoil_format::content::{ReadAt as _, Run};
use counterfoil_terminal::io::faults::Plan;
use counterfoil_terminal::io::{Create, Io as _};
use counterfoil_terminal::update::Brought;
use counterfoil_terminal::*;
use std::ops::Deref;
use std::path::Path;

/// The scene of updates, with deltas on offer.
struct Updating(scene::Updating);

impl Deref for Updating {
    type Target = scene::Updating;
    fn deref(&self) -> &scene::Updating {
        &self.0
    }
}

impl Updating {
    fn new() -> Self {
        Self(scene::Updating::new())
    }

    fn parts(&self) -> Parts {
        parts(&self.world.contents[OLD], &self.world.contents[NEW], true)
    }

    /// Offers deltas, whatever they hold.
    fn offer(&self, parts: Parts) -> PatchOnOffer {
        let (old, new) = (&self.world.contents[OLD], &self.world.contents[NEW]);
        let offer = self.world.deltas(old, new, parts.seal(new));
        self.world.offer(old, new, self.world.ways_by_deltas(old, new, offer.clone()));
        offer
    }

    /// Updates, and says which ways were given up on the way, and why. What is there in the end is what the publisher signed.
    fn update(&self) -> (Brought, Vec<(WayKind, String)>) {
        let came = self.0.update();
        assert_eq!(self.verify(), 0);
        assert!(!self.disk.all_bytes().iter().any(|bytes| has_plaintext(bytes)), "plaintext on the disk");
        came
    }

    /// Turns over a byte of the noise that the deltas are written against.
    fn damage(&self) {
        let (old, new) = (&self.world.contents[OLD], &self.world.contents[NEW]);
        let pack = old.packs.keys().find(|name| !new.packs.contains_key(name)).unwrap().to_string();
        let (path, _) = self.disk.named_files().into_iter().find(|(path, _)| path.to_str().unwrap().contains(&pack)).unwrap();
        let file = self.disk.create(&path, Create::Resume, 0o644).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
    }
}

/// proves: A5
#[test]
fn deltas_fetch_little_and_give_the_very_release_that_was_signed() {
    let it = Updating::new();
    let offer = it.offer(it.parts());
    let (brought, given_up) = it.update();
    assert!(given_up.is_empty(), "{given_up:?}");
    let fresh = new_bytes(&it.world.contents[OLD], &it.world.contents[NEW]);
    assert_eq!((brought.way, brought.written), (WayKind::Deltas, fresh), "{brought:?}");
    assert!(it.world.authority.state.lock().unwrap().knows_deltas, "it says that it knows this way");
    // A chunk that is shorter than its delta comes as it is.
    assert!(brought.fetched <= offer.length + 500 && offer.length * 10 < fresh, "{brought:?} {}", offer.length);
}

/// proves: A5
#[test]
fn a_group_whose_neighbourhood_is_damaged_is_passed_over_and_its_chunks_come_whole() {
    for known in [false, true] {
        let it = Updating::new();
        let offer = it.offer(it.parts());
        it.damage();
        if known {
            let library = Library::open(&it.terminal(), Path::new(LIBRARY)).unwrap();
            let report = verify(&it.terminal(), &library, &title(), &CardChoice::Default, None, &|_| {}).unwrap();
            assert_eq!(report.damaged.len(), 1);
        }
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len()), (WayKind::Deltas, 0), "{given_up:?}");
        let fresh = new_bytes(&it.world.contents[OLD], &it.world.contents[NEW]);
        assert!(brought.fetched < fresh && brought.fetched > offer.length, "{brought:?} of {fresh}");
    }
}

/// proves: A5
#[test]
fn what_was_made_before_is_not_fetched_again() {
    // Written against nothing they are long, so that it shows which of them are fetched.
    let start = Start::by_deltas(false);
    let (result, counts, _) = start.attempt(Plan::default(), common::buggy::Bug::None);
    result.unwrap();
    let mut fetched = vec![];
    for part in [0, 3, 6, 9] {
        let (result, counts, disk) =
            start.attempt(Plan { kill_after: Some(counts.written * part / 10), ..Plan::default() }, common::buggy::Bug::None);
        assert!(counts.struck && result.is_err());
        let brought = update_once(&start.terminal(&disk, common::buggy::Bug::None)).unwrap().unwrap();
        assert_eq!(brought.way, WayKind::Deltas);
        fetched.push(brought.fetched);
    }
    assert!(fetched.is_sorted_by(|before, after| before >= after) && fetched[3] < fetched[0], "{fetched:?}");
}

/// proves: A5
#[test]
fn deltas_that_cannot_be_used_are_given_up_and_chunks_are_fetched() {
    type Spoil = fn(&mut Vec<u8>);
    let ways: [(&str, Spoil); 7] = [
        ("a bit of the salt is flipped", |bytes| bytes[3] ^= 4),
        ("a bit of the head is flipped", |bytes| bytes[40] ^= 4),
        ("a bit of the index is flipped", |bytes| bytes[70] ^= 4),
        ("a bit of the last group is flipped", |bytes| *bytes.last_mut().unwrap() ^= 4),
        ("it is cut off", |bytes| bytes.truncate(bytes.len() - 1)),
        ("it is garbage", |bytes| bytes.iter_mut().for_each(|byte| *byte = 7)),
        ("it is of nothing", Vec::clear),
    ];
    for (what, spoil) in ways {
        let it = Updating::new();
        let offer = it.offer(it.parts());
        spoil(it.world.authority.contents.objects.lock().unwrap().get_mut(&offer.object).unwrap());
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len(), given_up[0].0), (WayKind::Chunks, 1, WayKind::Deltas), "{what}: {given_up:?}");
    }
}

/// proves: A5
#[test]
fn deltas_of_somebody_with_the_content_key_give_what_was_signed_or_nothing() {
    type Spoil = fn(&Updating, &mut Parts);
    let ways: [(&str, &str, Spoil); 8] = [
        ("for another base", "other releases", |_, parts| parts.index.from.0[0] ^= 1),
        ("for another release", "other releases", |_, parts| parts.index.to.0[0] ^= 1),
        ("by another compressor", "another compressor", |_, parts| parts.index.encoder = "zstd 0.0.1".into()),
        ("at another level", "than the publisher signed", |_, parts| parts.index.level = 19),
        ("another manifest", "another manifest", |it, parts| {
            let [old, new] = [OLD, NEW].map(|at| manifest_of(&it.world.contents[at]).encode());
            let changed = [&new[..new.len() - 1], &[new[new.len() - 1] ^ 1]].concat();
            parts.pieces[0] = delta(&old, &changed);
        }),
        ("another text", "other chunks", |it, parts| {
            let (old, new) = (&it.world.contents[OLD], &it.world.contents[NEW]);
            let group = &parts.index.groups[0];
            let mut made = text(new, &manifest_of(new), &group.new);
            made[7] ^= 1;
            parts.pieces[1] = delta(&text(old, &manifest_of(old), &group.old), &made);
        }),
        ("a text that is longer", "cannot be used", |it, parts| {
            let (old, new) = (&it.world.contents[OLD], &it.world.contents[NEW]);
            let group = &parts.index.groups[0];
            let made = [&text(new, &manifest_of(new), &group.new)[..], b"x"].concat();
            parts.pieces[1] = delta(&text(old, &manifest_of(old), &group.old), &made);
        }),
        ("chunks that are not there", "chunks that the releases have not", |_, parts| {
            parts.index.groups[0].old = vec![Run { first: 1_000_000, count: 1 }];
        }),
    ];
    for (what, reason, spoil) in ways {
        let it = Updating::new();
        let mut parts = it.parts();
        spoil(&it, &mut parts);
        it.offer(parts);
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len()), (WayKind::Chunks, 1), "{what}: {given_up:?}");
        assert!(given_up[0].1.contains(reason), "{what}: {given_up:?}");
    }
}

#[test]
fn deltas_that_are_gone_are_given_up() {
    let it = Updating::new();
    let offer = it.offer(it.parts());
    it.world.authority.contents.gone.lock().unwrap().push(offer.object.clone());
    let (brought, given_up) = it.update();
    assert_eq!((brought.way, given_up[0].0), (WayKind::Chunks, WayKind::Deltas));
}

/// proves: A5
#[test]
fn an_update_goes_on_after_a_contents_server_that_breaks_off_again_and_again() {
    let start = Start::by_deltas(false);
    let (disk, contents) = (start.disk.snapshot(), &start.world.authority.contents);
    let terminal = start.terminal(&disk, common::buggy::Bug::None);
    let mut attempts = 0;
    let brought = loop {
        // Each time a little more of an answer: what has come before does not come again.
        *contents.breaks_after.lock().unwrap() = (attempts < 40).then_some(70_000 + 10_000 * attempts);
        match update_once(&terminal) {
            Ok(brought) => break brought.unwrap(),
            Err(error) => assert!(matches!(error, Error::Update(_) | Error::Transport(_) | Error::Medium(_)), "{error}"),
        }
        plays(&start.world.contents[1], &terminal).unwrap();
        attempts += 1;
    };
    assert!(attempts > 1, "it was never broken off");
    assert!(brought.resumed && brought.fetched < new_bytes(&start.world.contents[1], &start.world.contents[0]), "{brought:?}");
    plays(&start.world.contents[0], &terminal).unwrap();
}
