//! The terminal's own flows against an authority in memory: registration, copy, play, and every refusal that the terminal decides.

use crate::common;

use common::*;
use counterfoil_core::Code;
use counterfoil_terminal::io::{Create, Io, read_small};
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

#[test]
fn c11_c12_a_medium_is_copied_and_plays_without_it_and_without_a_network() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    let steps = std::sync::Mutex::new(Vec::new());
    let copied = copy_with(&terminal, 2, &|step| steps.lock().unwrap().push(step)).unwrap();
    assert!(!copied.resumed);
    let packed: u64 = world.contents[0].packs.values().map(|pack| pack.len() as u64).sum();
    assert_eq!((copied.titles[0].written, copied.titles[0].reused), (packed, 0));
    let steps = steps.into_inner().unwrap();
    assert_eq!(steps[0], Step::Claiming);
    assert_eq!(steps.last(), Some(&Step::Confirming));
    let most = steps.iter().filter_map(|step| if let Step::Bytes(progress) = step { Some(progress.done) } else { None }).max();
    assert_eq!(most, Some(packed));

    // C11: the content key is gone from the card, and the request from the home.
    let info = card_show(&terminal, &CardChoice::Default).unwrap();
    assert!(info.registered && info.grants.len() == 1 && !info.grants[0].content_key);
    assert!(disk.list(Path::new("/home/requests")).unwrap().is_empty());

    world.faults.lock().unwrap().offline = true;
    counterfoil_terminal::io::remove_all(&disk, Path::new(MEDIUM)).unwrap();
    assert_plays(&world, &terminal);
    for (path, bytes) in disk.named_files() {
        let own_secret = path == Path::new("/home/device.json");
        assert!(find_canary(&world, &bytes).is_none() || own_secret, "{}", path.display());
    }
    for bytes in disk.all_bytes() {
        assert!(!has_plaintext(&bytes));
    }
}

#[test]
fn the_canary_search_would_find_what_it_looks_for() {
    let world = World::new();
    let key = world.contents[0].key.expose().to_vec();
    assert_eq!(find_canary(&world, &[b"x".as_slice(), &key, b"y"].concat()), Some("key"));
    assert_eq!(find_canary(&world, &[b"x".as_slice(), CANARY].concat()), Some("plaintext"));
    assert_eq!(find_canary(&world, b"nothing"), None);
}

#[test]
fn reading_at_offsets_lists_links_and_directories() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let terminal = world.terminal(Arc::new(registered(&world, &device)), &device);
    copy_once(&terminal).unwrap();
    let opened = open(&terminal).unwrap();
    assert_eq!(opened.entry_point(), Some("bin/game"));
    let through_link = opened.file("bin/link").unwrap();
    assert_eq!(through_link.path(), "data/größe.txt");
    let whole = &world.contents[0].files["data/größe.txt"];
    for (offset, length) in [(0, 10), (65_000, 70_000), (299_990, 100), (whole.len() as u64, 10), (u64::MAX, 1)] {
        let mut buffer = vec![0; length];
        let count = opened.read(&through_link, offset, &mut buffer).unwrap();
        let expected = whole.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        assert_eq!(buffer[..count], expected[..expected.len().min(length)]);
    }
    let names = |path: &str| opened.list(path).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(""), ["bin", "data", "empty", "nothing"]);
    assert_eq!(names("bin"), ["game", "link"]);
    assert!(names("nothing").is_empty());
    assert!(opened.file("bin/game").unwrap().executable());
    assert_eq!(opened.file("data").unwrap_err().code(), "wrong_kind");
    assert_eq!(opened.file("../../etc/passwd").unwrap_err().code(), "no_such_file");
}

#[test]
fn c8_a_medium_that_was_copied_is_spent_for_everybody_its_owner_included() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    copy_once(&terminal).unwrap();
    assert_eq!(refusal(copy_once(&terminal)), Code::MediumSpent);
    assert_plays(&world, &terminal);

    // A borrowed medium: another user, another device.
    let (other_device, other_disk) = (Device::new("pc 2", "disk 2"), io::model::DiskModel::new());
    for (path, bytes) in disk.named_files() {
        if let Ok(inner) = path.strip_prefix(MEDIUM) {
            put(&other_disk, MEDIUM, &[(inner.to_str().unwrap().to_owned(), bytes)]);
        }
    }
    let other = world.terminal(Arc::new(other_disk.clone()), &other_device);
    card_new(&other, None).unwrap();
    register_default(&other).unwrap();
    assert_eq!(refusal(copy_once(&other)), Code::MediumSpent);
    let library = Library::open(&other, Path::new(LIBRARY)).unwrap();
    assert!(library.list().unwrap().is_empty());
    assert!(other_disk.list(Path::new("/home/requests")).unwrap().is_empty(), "a refused request is not repeated");
}

#[test]
fn c13_a_lent_card_a_lent_card_with_its_drive_and_a_cloned_library_do_not_play() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    copy_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
    for (device, what) in [
        (Device::new("pc 2", "disk 2"), "home, card and library cloned to another computer and drive"),
        (Device::new("pc 2", "disk 1"), "cloned to another computer, with the drive"),
        (Device::new("pc 1", "disk 2"), "cloned to another drive of the same computer"),
    ] {
        let cloned = disk.snapshot();
        assert_eq!(refusal(open(&world.terminal(Arc::new(cloned), &device))), Code::PlayNotPermitted, "{what}");
    }
    // The card and the drive lent, to a computer with a home of its own.
    let lent = disk.snapshot();
    lent.remove_file(Path::new("/home/device.json")).unwrap();
    lent.remove_file(Path::new("/home/profile.json")).unwrap();
    let other = Device::new("pc 2", "disk 1");
    let terminal = world.terminal(Arc::new(lent.clone()), &other);
    assert_eq!(refusal(open(&terminal)), Code::PlayNotPermitted);
    // And with the hardware's labels forged as well, the device's secret is still missing: arithmetic, not comparison.
    assert_eq!(refusal(open(&world.terminal(Arc::new(lent), &device))), Code::PlayNotPermitted);
    // Another card opens nothing.
    let swapped = disk.snapshot();
    swapped.remove_file(&card_path()).unwrap();
    let terminal = world.terminal(Arc::new(swapped), &device);
    card_new(&terminal, None).unwrap();
    assert_eq!(refusal(open(&terminal)), Code::PlayNotPermitted);
    // The right card on the right computer still does.
    assert_plays(&world, &world.terminal(Arc::new(disk), &device));
}

#[test]
fn c10_keys_that_were_claimed_for_other_hardware_copy_nothing() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    // Claimed, and cut off before the first pack: the medium cannot be read that far.
    let plan = io::faults::Plan { pulled_out: Some((MEDIUM.into(), 20_000)), ..Default::default() };
    let faulty = io::faults::FaultyIo::new(Arc::new(disk.clone()), plan);
    assert_eq!(copy_once(&world.terminal(Arc::new(faulty), &device)).unwrap_err().code(), "medium_unreadable");
    assert_eq!(world.effects("claim"), 1);
    for other in [Device::new("pc 2", "disk 1"), Device::new("pc 1", "disk 2")] {
        let moved = disk.snapshot();
        let before = moved.named_files();
        assert_eq!(refusal(copy_once(&world.terminal(Arc::new(moved.clone()), &other))), Code::CopyNotPermitted);
        let changed: Vec<_> = moved.named_files().into_iter().filter(|file| !before.contains(file)).map(|(path, _)| path).collect();
        assert!(changed.iter().all(|path| path.ends_with("lock")), "written before the check: {changed:?}");
    }
    copy_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
    assert_plays(&world, &world.terminal(Arc::new(disk), &device));
}

#[test]
fn a_medium_whose_identity_area_was_edited_is_unknown() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let path = Path::new(MEDIUM).join(layout::IDENTITY);
    let original = read_small(&disk, &path, 1 << 20).unwrap().unwrap();
    let text = String::from_utf8(original.clone()).unwrap();
    let unsigned = text.find("\"authority\"").unwrap();
    for place in (0..original.len()).step_by(original.len() / 100) {
        let mut edited = original.clone();
        edited[place] ^= 1;
        let copy = disk.snapshot();
        copy.create(&path, Create::Truncate, 0o644).unwrap().write_all_at(&edited, 0).unwrap();
        let terminal = world.terminal(Arc::new(copy), &device);
        if place < unsigned {
            // Identity and claim secret: one is signed, the other proves itself to the authority.
            assert_eq!(refusal(copy_once(&terminal)), Code::MediumUnknown, "byte {place}");
        } else if let Err(error) = Medium::open(&terminal, Path::new(MEDIUM)) {
            // Address and keys of the authority are not signed, and not used where they are known already.
            assert_eq!(error.code(), "medium_unknown", "byte {place}");
        }
    }
    assert_eq!(world.effects("claim"), 0);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    disk.create(&path, Create::Truncate, 0o644).unwrap().write_all_at(&vec![b' '; 65 * 1024], 0).unwrap();
    assert_eq!(refusal(Medium::open(&terminal, Path::new(MEDIUM)).map(|_| ())), Code::MediumUnknown);
}

#[test]
fn content_that_its_publisher_did_not_sign_is_refused_before_the_medium_is_used() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let forger = counterfoil_format::sign::SigningKey::from_seed(&counterfoil_format::secret::Secret::new([9; 32]));
    let forged = world.contents[0].release.sign("acme", &forger);
    put(&disk, MEDIUM, &[(layout::release(&title()), forged.into_bytes())]);
    let terminal = world.terminal(Arc::new(disk), &device);
    assert_eq!(copy_once(&terminal).unwrap_err().code(), "content_not_authentic");
    assert_eq!(world.effects("claim"), 0);
}

#[test]
fn a_lost_answer_and_a_lost_request_are_repeated_and_issue_nothing_twice() {
    for number in 0..2 {
        for lose_answer in [false, true] {
            let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
            let disk = registered(&world, &device);
            let terminal = world.terminal(Arc::new(disk), &device);
            {
                let mut faults = world.faults.lock().unwrap();
                let number = faults.sent + number;
                if lose_answer { faults.lose_answers.push(number) } else { faults.lose_requests.push(number) }
            }
            let error = copy_once(&terminal).unwrap_err();
            assert_eq!((error.code(), error.exit_code()), ("unreachable", 3));
            if number == 1 {
                assert!(error.to_string().contains("the copy is complete and plays"), "{error}");
                assert_plays(&world, &terminal);
            }
            let copied = copy_once(&terminal).unwrap();
            assert_eq!(copied.resumed, number == 1);
            assert_eq!((world.effects("claim"), world.effects("confirm")), (1, 1));
            assert_plays(&world, &terminal);
        }
    }
}

#[test]
fn a_damaged_chunk_is_named_with_file_and_offset_and_healed_from_the_medium() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    copy_once(&terminal).unwrap();
    let packs: Vec<_> = disk.named_files().into_iter().filter(|(path, _)| path.starts_with(LIBRARY) && path.ends_with_pack()).collect();
    let (path, bytes) = &packs[1];
    disk.create(path, Create::Resume, 0o644).unwrap().write_all_at(&[bytes[100] ^ 1], 100).unwrap();
    disk.remove_file(&packs[0].0).unwrap();

    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let report = verify(&terminal, &library, &title(), &CardChoice::Default, None, &|_| {}).unwrap();
    assert!(report.damaged.len() >= 2);
    let flipped = report.damaged.iter().find(|damaged| path.to_str().unwrap().contains(&damaged.pack.to_string())).unwrap();
    assert!(flipped.offset <= 100 && !flipped.files.is_empty(), "{flipped:?}");
    let opened = open(&terminal).unwrap();
    let (file, offset) = &flipped.files[0];
    let error = opened.read(&opened.file(file).unwrap(), *offset, &mut [0; 10]).unwrap_err();
    assert_eq!(error.code(), "damaged");
    assert!(error.to_string().contains(file.as_str()) && error.to_string().contains(&offset.to_string()), "{error}");

    let repaired = repair(&terminal, &library, &title(), &CardChoice::Default, Some(Path::new(MEDIUM)), &report).unwrap();
    assert_eq!((repaired.healed, repaired.left.len()), (report.damaged.len(), 0));
    assert!(verify(&terminal, &library, &title(), &CardChoice::Default, None, &|_| {}).unwrap().damaged.is_empty());
    assert_plays(&world, &terminal);

    // The manifest as well.
    let manifest = disk.named_files().into_iter().find(|(path, _)| path.starts_with(LIBRARY) && path.ends_with("manifest")).unwrap().0;
    disk.create(&manifest, Create::Resume, 0o644).unwrap().set_len(40).unwrap();
    disk.create(path, Create::Resume, 0o644).unwrap().write_all_at(&[bytes[100] ^ 1], 100).unwrap();
    assert_eq!(open(&terminal).map(|_| ()).unwrap_err().code(), "damaged");
    let report = verify(&terminal, &library, &title(), &CardChoice::Default, None, &|_| {}).unwrap();
    assert_eq!((report.damaged.len(), report.damaged[0].chunk), (1, None));
    repair(&terminal, &library, &title(), &CardChoice::Default, Some(Path::new(MEDIUM)), &report).unwrap();
    assert_plays(&world, &terminal);
}

#[test]
fn a_library_lists_and_removes_and_has_one_writer() {
    let (world, device) = (World::with(vec![content(TITLE), content("moon-base")]), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    assert_eq!(Library::open(&terminal, Path::new(LIBRARY)).map(|_| ()).unwrap_err().code(), "no_library");
    copy_once(&terminal).unwrap();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let listed = library.list().unwrap();
    assert_eq!(listed.iter().map(|one| (one.title.as_str(), one.complete)).collect::<Vec<_>>(), [("moon-base", true), (TITLE, true)]);
    let lock = library.lock().unwrap();
    assert_eq!(library.remove(&title()).unwrap_err().code(), "busy");
    drop(lock);
    assert!(library.remove(&title()).unwrap() >= listed[1].packed);
    assert_eq!(library.remove(&title()).unwrap_err().code(), "no_title");
    assert_eq!(library.list().unwrap().len(), 1);
    assert_eq!(open(&terminal).map(|_| ()).unwrap_err().code(), "no_title");
}

#[test]
fn a_title_whose_record_is_damaged_keeps_nobody_from_the_others_and_can_be_removed() {
    let (world, device) = (World::with(vec![content(TITLE), content("moon-base")]), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    copy_once(&terminal).unwrap();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    assert!(library.damaged().unwrap().is_empty());
    let other = Path::new(LIBRARY).join("titles/moon-base");
    let records = ["current", "title.json"];
    let files: Vec<_> = disk.named_files().into_iter().filter(|(path, _)| path.starts_with(&other)).collect();
    let mut tried = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| records.iter().any(|name| path.ends_with(name))) {
        put_file(&disk, path, b"{");
        assert_eq!(library.list().unwrap().iter().map(|one| one.title.as_str()).collect::<Vec<_>>(), [TITLE], "{}", path.display());
        let damaged = library.damaged().unwrap();
        assert!(damaged.len() == 1 && damaged[0].0.as_str() == "moon-base", "{damaged:?}");
        assert!(damaged[0].1.to_string().contains(path.to_str().unwrap()), "{damaged:?}");
        assert_plays(&world, &terminal);
        put_file(&disk, path, bytes);
        assert!(library.damaged().unwrap().is_empty());
        tried += 1;
    }
    assert!(tried >= 2, "{tried} records of {files:?}");
    put_file(&disk, &other.join("current"), b"{");
    library.remove(&"moon-base".parse().unwrap()).unwrap();
    assert!(library.damaged().unwrap().is_empty() && library.list().unwrap().len() == 1);
}

fn put_file(disk: &io::model::DiskModel, path: &Path, bytes: &[u8]) {
    let file = disk.create(path, Create::Resume, 0o644).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

#[test]
fn a_second_copy_of_a_title_takes_the_place_of_the_first_when_it_is_complete() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    copy_once(&terminal).unwrap();
    put(&disk, MEDIUM, &world.press(2));
    assert_eq!(copy_once(&terminal).unwrap_err().code(), "present", "and its one copy is still there:");
    copy_again(&terminal).unwrap();
    assert_plays(&world, &terminal);
    assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap().grants.len(), 1);
    assert_eq!(disk.list(Path::new("/library/titles/sky-raider")).unwrap().len(), 2, "`current` and one grant");
}

#[test]
fn a11_inspecting_asks_for_what_is_there() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk), &device);
    let medium = Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
    assert_eq!(medium.verdict(), Signature::Pinned);
    let verdict = inspect(&terminal, Some(&medium), &CardChoice::Default, &|_| {}).unwrap();
    assert_eq!(verdict.medium.unwrap().copies_left, 1);
    assert!(verdict.user.is_some());
    copy_once(&terminal).unwrap();
    assert_eq!(inspect(&terminal, Some(&medium), &CardChoice::Default, &|_| {}).unwrap().medium.unwrap().copies_left, 0);

    let stranger = world.terminal(Arc::new(io::model::DiskModel::new()), &device);
    assert_eq!(refusal(inspect(&stranger, None, &CardChoice::Default, &|_| {})), Code::UserInvalid);
}

trait PackPath {
    fn ends_with_pack(&self) -> bool;
}

impl PackPath for std::path::PathBuf {
    fn ends_with_pack(&self) -> bool {
        self.extension().is_some_and(|extension| extension == "pack")
    }
}

#[test]
fn c8_a_no_that_nobody_has_signed_is_not_the_authoritys_and_the_same_claim_is_sent_again() {
    for number in [0, 1] {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        {
            let mut faults = world.faults.lock().unwrap();
            let number = faults.sent + number;
            faults.refused.push((number, Code::MediumSpent));
        }
        let error = copy_once(&terminal).unwrap_err();
        assert_eq!((error.code(), error.refusal()), ("medium_spent", None), "{error}");
        assert_eq!(disk.list(Path::new("/home/requests")).unwrap().len(), 1);
        copy_once(&terminal).unwrap();
        assert_eq!((world.effects("claim"), world.effects("confirm")), (1, 1));
        assert_plays(&world, &terminal);
    }
}
