//! Updates (A5): the cheapest way that leads there, what is fetched for it, and what happens where one does not; back again.

pub mod scene;

use crate::common;

use common::releases::*;
use common::*;
use counterfoil_core::wire::{PatchOnOffer, Way, WayKind};
use counterfoil_core::*;
use counterfoil_format::content::{ContentKey, Encoder, PatchHeader, PatchWriter};
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_terminal::io::Io;
use counterfoil_terminal::update::{UpdateError, UpdateOptions, rollback};
use counterfoil_terminal::*;
use scene::{NEW, OLD, Updating};
use std::path::Path;

/// proves: A5
#[test]
fn a_patch_fetches_little_and_gives_the_very_release_that_was_signed() {
    let it = Updating::new();
    let patch = it.patch();
    it.offer(vec![patch.clone()]);
    let (brought, given_up) = it.update();
    assert!(given_up.is_empty(), "{given_up:?}");
    let (old, new) = (&it.world.contents[OLD], &it.world.contents[NEW]);
    let packed: u64 = new.packs.values().map(|pack| pack.len() as u64).sum();
    assert_eq!((brought.way, brought.fetched), (WayKind::Patch, patch.length), "{brought:?}");
    assert_eq!((brought.written, brought.reused), (new_bytes(old, new), packed - new_bytes(old, new)), "{brought:?}");
    assert!(patch.length * 20 < brought.written, "{} bytes for {}", patch.length, brought.written);
    assert_eq!((brought.from.as_str(), brought.to.as_str()), ("1.0.0", "1.1.0"));
    it.no_plaintext();
    assert_eq!(it.verify(), 0);
}

/// proves: A5
#[test]
fn without_a_patch_only_new_chunks_are_fetched() {
    let it = Updating::new();
    it.offer(vec![]);
    let (brought, _) = it.update();
    let new = &it.world.contents[NEW];
    assert_eq!(brought.way, WayKind::Chunks);
    let fresh = new_bytes(&it.world.contents[OLD], new);
    assert_eq!(brought.written, fresh, "{brought:?}");
    // Chunks that were packed anew lie in the old packs, and need not come again.
    assert!(brought.fetched < fresh + new.release.manifest.length && brought.fetched > fresh / 2, "{brought:?}");
    it.no_plaintext();
}

/// proves: A5
#[test]
fn a_rollback_needs_no_network_and_going_back_once_more_goes_forward() {
    let it = Updating::new();
    let terminal = it.terminal();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let back = || rollback(&terminal, &library, &title(), &CardChoice::Default);
    assert!(matches!(back(), Err(Error::Update(UpdateError::NothingBefore(_)))));
    it.offer(vec![it.patch()]);
    it.update();
    it.world.faults.lock().unwrap().offline = true;
    assert_eq!(back().unwrap().release.as_str(), "1.0.0");
    plays(&it.world.contents[OLD], &terminal).unwrap();
    assert_eq!(library.list().unwrap()[0].previous.as_ref().unwrap().as_str(), "1.1.0");
    assert_eq!(back().unwrap().release.as_str(), "1.1.0");
    plays(&it.world.contents[NEW], &terminal).unwrap();
}

#[test]
fn what_is_not_kept_makes_room_and_cannot_be_gone_back_to() {
    let it = Updating::new();
    it.offer(vec![]);
    let options = UpdateOptions { no_keep: true, ..UpdateOptions::default() };
    let brought = update_as(&it.terminal(), &options, &|_| {}).unwrap().unwrap();
    assert!(brought.freed > 0, "{brought:?}");
    plays(&it.world.contents[NEW], &it.terminal()).unwrap();
    let library = Library::open(&it.terminal(), Path::new(LIBRARY)).unwrap();
    assert!(matches!(
        rollback(&it.terminal(), &library, &title(), &CardChoice::Default),
        Err(Error::Update(UpdateError::NothingBefore(_)))
    ));
    for name in it.world.contents[OLD].packs.keys().filter(|name| !it.world.contents[NEW].packs.contains_key(name)) {
        let is_it = |path: &Path| path.starts_with(LIBRARY) && path.to_str().unwrap().contains(&name.to_string());
        assert!(!it.disk.named_files().iter().any(|(path, _)| is_it(path)), "{name} is still there");
    }
}

/// proves: A5
#[test]
fn a_patch_that_cannot_be_used_is_given_up_and_chunks_are_fetched() {
    type Spoil = fn(&Updating, &mut PatchOnOffer);
    let ways: [(&str, Spoil); 6] = [
        ("a bit is flipped", |it, offer| it.edit_object(&offer.object, |bytes| bytes[200] ^= 4)),
        ("it is cut off", |it, offer| it.edit_object(&offer.object, |bytes| bytes.truncate(bytes.len() / 2))),
        ("it is garbage", |it, offer| it.edit_object(&offer.object, |bytes| bytes.iter_mut().for_each(|byte| *byte = 7))),
        ("its length is another", |_, offer| offer.length += 1),
        ("it is of nothing", |it, offer| it.edit_object(&offer.object, Vec::clear)),
        ("it is not there", |it, offer| it.world.authority.contents.gone.lock().unwrap().push(offer.object.clone())),
    ];
    for (what, spoil) in ways {
        let it = Updating::new();
        let mut offer = it.patch();
        spoil(&it, &mut offer);
        it.offer(vec![offer]);
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len(), given_up[0].0), (WayKind::Chunks, 1, WayKind::Patch), "{what}: {given_up:?}");
        it.no_plaintext();
    }
}

/// proves: A5
#[test]
fn a_patch_for_another_base_changes_nothing() {
    let it = Updating::new();
    // Between two releases that are not here.
    let third = next_release(&it.world.contents[NEW], "1.2.0", |files| {
        files.insert("more".into(), vec![1; 5000]);
    });
    let other = it.world.patch(&it.world.contents[NEW], &third);
    it.offer(vec![other]);
    let (brought, given_up) = it.update();
    assert_eq!(brought.way, WayKind::Chunks);
    assert!(given_up[0].1.contains("other releases"), "{given_up:?}");
}

/// proves: A5
#[test]
fn a_patch_that_gives_other_text_than_was_signed_is_noticed_at_the_first_chunk() {
    // Whoever has the content key can seal a patch; that its text is the publisher's is shown by the chunks' names.
    for what in ["manifest", "file", "compressor"] {
        let it = Updating::new();
        let (old, new) = (&it.world.contents[OLD], &it.world.contents[NEW]);
        let manifests = [manifest_of(old), manifest_of(new)];
        let entry = |at: usize, path: &str| manifests[at].find(path).unwrap() as u32;
        let header = PatchHeader {
            from: old.release.manifest.id,
            to: new.release.manifest.id,
            encoder: if what == "compressor" { "zstd 0.0.1".into() } else { Encoder::name() },
            level: LEVEL,
            old: vec![entry(0, "data/noise.bin")],
            new: vec![entry(1, "data/noise.bin")],
        };
        let mut texts = vec![manifests[1].encode(), new.files["data/noise.bin"].clone()];
        match what {
            "manifest" => *texts[0].last_mut().unwrap() ^= 1,
            "file" => texts[1][300_001] ^= 1,
            _ => {}
        }
        let before = vec![manifests[0].encode(), old.files["data/noise.bin"].clone()];
        let key = ContentKey::new(new.key.clone()).patch_key();
        let mut writer = PatchWriter::new(key, &header, &mut SystemRandom, Vec::new()).unwrap();
        counterfoil_patch::make(&before, &texts, &counterfoil_patch::Options::default(), &mut writer, &mut |_| {}).unwrap();
        let (bytes, object) = writer.finish().unwrap();
        it.world.authority.contents.objects.lock().unwrap().insert(object.name.to_string(), bytes);
        let (from, to) = (old.title.release.clone(), new.title.release.clone());
        let offer = PatchOnOffer { from, to, object: object.name.to_string(), length: object.length };

        it.offer(vec![offer]);
        let (brought, given_up) = it.update();
        assert_eq!(brought.way, WayKind::Chunks, "{what}");
        let expected = match what {
            "manifest" => "another manifest",
            "file" => "other text",
            _ => "another compressor",
        };
        assert!(given_up[0].1.contains(expected), "{what}: {given_up:?}");
        assert_eq!(it.verify(), 0);
    }
}

/// proves: A5
#[test]
fn a_chain_of_patches_leads_over_releases_that_are_not_played() {
    let mut it = Updating::new();
    let third = next_release(&it.world.contents[NEW], "1.2.0", |files| {
        files.get_mut("data/noise.bin").unwrap()[250_000..250_100].fill(9);
    });
    it.world.release(&third);
    let patches = vec![it.patch(), it.world.patch(&it.world.contents[NEW], &third)];
    let fetch: u64 = patches.iter().map(|patch| patch.length).sum();
    it.world.contents[NEW] = third;
    it.offer(patches);
    let (brought, given_up) = it.update();
    assert_eq!((brought.way, brought.fetched, given_up.len()), (WayKind::Chain, fetch, 0), "{brought:?} {given_up:?}");
    // What was between is not kept.
    assert!(it.disk.named_files().iter().all(|(path, _)| !path.to_str().unwrap().contains("releases/1.1.0")));
    it.no_plaintext();
}

/// proves: A5
#[test]
fn damage_is_reported_and_healed_by_the_way_that_the_plan_names() {
    let it = Updating::new();
    it.damage(true);
    assert_eq!(it.verify(), 1);
    let old = &it.world.contents[OLD];
    it.world.offer(old, old, vec![Way { kind: WayKind::Heal, patches: vec![], fetch: 70_000, reuse: 0, write: 70_000 }]);
    let brought = update_once(&it.terminal()).unwrap().unwrap();
    assert_eq!((brought.way, &brought.from), (WayKind::Heal, &brought.to));
    assert!(brought.fetched > 0 && brought.fetched <= 300_000, "{brought:?}");
    let reported = it.world.authority.state.lock().unwrap().reported.clone();
    assert_eq!((reported[0].damaged.len(), reported[0].damaged[0].1), (1, 1), "{reported:?}");
    assert_eq!(it.verify(), 0);
    plays(old, &it.terminal()).unwrap();
}

/// proves: A5
#[test]
fn damage_in_what_a_patch_reads_is_healed_first_and_damage_that_both_releases_share_is_not_taken_along() {
    for (shared, way) in [(false, WayKind::HealAndPatch), (true, WayKind::HealAndPatch), (true, WayKind::Chunks), (false, WayKind::Chunks)]
    {
        let it = Updating::new();
        it.damage(shared);
        assert_eq!(it.verify(), 1);
        let (old, new) = (&it.world.contents[OLD], &it.world.contents[NEW]);
        let mut ways = ways(old, new, vec![it.patch()]);
        match way {
            WayKind::HealAndPatch => ways[0].kind = way,
            _ => drop(ways.remove(0)),
        }
        it.world.offer(old, new, ways);
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len()), (way, 0), "{given_up:?}");
        assert_eq!(it.verify(), 0, "shared: {shared}, {way:?}");
    }
}

#[test]
fn a_damaged_base_that_nobody_knew_of_costs_the_patch_and_nothing_else() {
    let it = Updating::new();
    it.damage(false);
    it.offer(vec![it.patch()]);
    let (brought, given_up) = it.update();
    assert_eq!((brought.way, given_up.len()), (WayKind::Chunks, 1), "{given_up:?}");
    assert_eq!(it.verify(), 0);
}

#[test]
fn a_library_from_before_there_were_updates_is_played_and_moved_over() {
    let it = Updating::new();
    let files = it.disk.named_files();
    for (path, bytes) in files.iter().filter(|(path, _)| path.to_str().unwrap().contains("/releases/")) {
        let grant = path.parent().unwrap().parent().unwrap().parent().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != "release.json" {
            put(&it.disk, grant.to_str().unwrap(), &[(name, bytes.clone())]);
        }
        it.disk.remove_file(path).unwrap();
    }
    plays(&it.world.contents[OLD], &it.terminal()).unwrap();
    assert_eq!(it.verify(), 0);
    it.offer(vec![it.patch()]);
    let (brought, given_up) = it.update();
    assert_eq!((brought.way, given_up.len()), (WayKind::Patch, 0), "{given_up:?}");
    let library = Library::open(&it.terminal(), Path::new(LIBRARY)).unwrap();
    rollback(&it.terminal(), &library, &title(), &CardChoice::Default).unwrap();
    plays(&it.world.contents[OLD], &it.terminal()).unwrap();
    let flat = |path: &Path| path.parent().is_some_and(|parent| parent.parent().is_some_and(|parent| parent.ends_with(TITLE)));
    let left = it.disk.named_files();
    let left: Vec<_> =
        left.iter().filter(|(path, _)| flat(path) && (path.ends_with("manifest") || path.ends_with("release.jws"))).collect();
    assert!(left.is_empty(), "{:?}", left.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn a_release_that_was_begun_is_reported_and_a_half_update_plays_the_old_one() {
    let it = Updating::new();
    it.offer(vec![]);
    *it.world.authority.contents.breaks_after.lock().unwrap() = Some(100_000);
    update_once(&it.terminal()).unwrap_err();
    plays(&it.world.contents[OLD], &it.terminal()).unwrap();
    *it.world.authority.contents.breaks_after.lock().unwrap() = None;
    let (brought, _) = it.update();
    let reported = it.world.authority.state.lock().unwrap().reported.clone();
    let begun = reported[0].begun.clone().unwrap();
    assert_eq!(begun.release.as_str(), "1.1.0");
    assert!(
        begun.have > 0 && brought.resumed && brought.fetched < new_bytes(&it.world.contents[OLD], &it.world.contents[NEW]),
        "{brought:?}"
    );
    it.no_plaintext();
}

/// proves: C10
#[test]
fn nobody_updates_on_other_hardware() {
    let it = Updating::new();
    it.offer(vec![]);
    std::fs::write(it.device.root.path().join("etc/counterfoil/drive-id"), "another disk").unwrap();
    let before = it.disk.named_files().len();
    assert!(matches!(update_once(&it.terminal()), Err(Error::Refused(_))));
    assert_eq!(it.disk.named_files().iter().filter(|(path, _)| path.to_str().unwrap().contains("update/")).count(), 0);
    assert!(it.disk.named_files().len() <= before + 1, "nothing but what was offered is noted");
}

/// proves: A5
#[test]
fn a_release_that_another_publisher_signed_is_refused_before_anything_is_fetched() {
    let it = Updating::new();
    it.offer(vec![it.patch()]);
    {
        let mut state = it.world.authority.state.lock().unwrap();
        let stranger = counterfoil_format::sign::SigningKey::from_seed(&Secret::new([0xEE; 32]));
        let new = &it.world.contents[NEW];
        for (title, token) in state.released.iter_mut().filter(|(title, _)| title.release == new.title.release) {
            title.publisher.key = stranger.verifying_key().to_string();
            *token = new.release.sign("acme", &stranger);
        }
    }
    let sent = || it.world.authority.contents.sent.load(std::sync::atomic::Ordering::Relaxed);
    let before = sent();
    assert_eq!(refusal(update_once(&it.terminal())), Code::UpdateNotAuthentic);
    assert_eq!(sent(), before);
    plays(&it.world.contents[OLD], &it.terminal()).unwrap();
}

/// proves: A5
#[test]
fn a_patch_whose_name_is_that_of_no_object_is_no_file_anywhere() {
    for name in ["../../../../home/evil", "/evil", "", "evil"] {
        let it = Updating::new();
        let mut offer = it.patch();
        let bytes = it.world.authority.contents.objects.lock().unwrap()[&offer.object].clone();
        it.world.authority.contents.objects.lock().unwrap().insert(name.into(), bytes);
        offer.object = name.into();
        it.offer(vec![offer]);
        put(&it.disk, "/home", &[("evil.patch".to_owned(), b"somebody's own".to_vec())]);
        let (brought, given_up) = it.update();
        assert_eq!((brought.way, given_up.len()), (WayKind::Chunks, 1), "{name}: {given_up:?}");
        assert!(given_up[0].1.contains("no object has such a name"), "{given_up:?}");
        let patches = it.disk.named_files().into_iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "patch"));
        assert_eq!(patches.collect::<Vec<_>>(), [(Path::new("/home/evil.patch").to_owned(), b"somebody's own".to_vec())], "{name}");
    }
}
