//! Installing against an authority and contents servers in memory: what is fetched and what is not, files to install from, and what is refused.

use crate::common;

use common::buggy::{Bug, Buggy};
use common::*;
use counterfoil_core::{Code, JobId, LicenseId, wire};
use counterfoil_format::content::ReadAt as _;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::io::{Create, Io, read_small};
use counterfoil_terminal::*;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A world that sells its title, and a registered device.
fn selling(contents: Vec<Content>) -> (World, Device, DiskModel, Terminal) {
    let (world, device) = (World::with(contents), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    world.sell(&world.contents[0]);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    (world, device, disk, terminal)
}

/// Bytes that have come from the contents servers since the last time.
fn sent(world: &World) -> u64 {
    world.authority.contents.sent.swap(0, Ordering::Relaxed)
}

fn packed(content: &Content) -> u64 {
    content.packs.values().map(|pack| pack.len() as u64).sum()
}

#[test]
fn d4_d6_a_title_is_installed_over_several_connections_and_plays_offline() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    let installed = install_as(&terminal, &InstallOptions::default()).unwrap();
    let whole = packed(&world.contents[0]);
    assert_eq!((installed.title.written, installed.title.reused, installed.title.taken), (whole, 0, 0));
    assert_eq!(sent(&world), whole + world.contents[0].manifest.len() as u64, "nothing is fetched twice");
    assert!(installed.network && !installed.already && !installed.resumed);

    let card = card_show(&terminal, &CardChoice::Default).unwrap();
    assert!(card.grants.len() == 1 && !card.grants[0].content_key && card.grants[0].origin.license().is_some());
    assert!(disk.list(Path::new("/home/requests")).unwrap().is_empty());
    world.faults.lock().unwrap().offline = true;
    assert_plays(&world, &terminal);
    for bytes in disk.all_bytes() {
        assert!(!has_plaintext(&bytes));
    }
    // The license lies beside the copy, with the authentication information of D7.
    let license = Library::open(&terminal, Path::new(LIBRARY)).unwrap().license(&title()).unwrap().unwrap();
    assert_eq!((license.license_id, license.device_id), (installed.license.license_id, terminal.device_id().unwrap()));
    // Again, without a network: it is there.
    assert!(install_once(&terminal).unwrap().already);
}

#[test]
fn d9_only_what_the_library_lacks_is_fetched_of_another_release() {
    let key = Secret::random(&mut SystemRandom);
    let first = release_of(TITLE, "1.0.0", key.clone(), &[]);
    let mut more = vec![0; 200_000];
    blake3::Hasher::new().update(b"more").finalize_xof().fill(&mut more);
    let second = release_of(TITLE, "1.1.0", key, &[("data/more.bin", more)]);
    let (mut world, _device, disk, terminal) = selling(vec![first]);
    install_once(&terminal).unwrap();
    world.sell(&second);
    sent(&world);

    let again = InstallOptions { again: true, ..InstallOptions::default() };
    let installed = install_as(&terminal, &again).unwrap();
    let fetched = sent(&world) - second.manifest.len() as u64;
    assert_eq!(installed.title.release.as_str(), "1.1.0");
    assert_eq!(installed.title.written, packed(&second));
    assert_eq!(installed.title.taken + fetched, packed(&second), "each byte comes from one place");
    assert!((200_000..300_000).contains(&fetched), "{fetched} bytes were fetched for one new file");
    world.contents[0] = second;
    assert_plays(&world, &terminal);
    // The first copy is gone, and so are its keys.
    assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap().grants.len(), 1);
    assert_eq!(disk.list(Path::new("/library/titles/sky-raider")).unwrap().iter().filter(|name| *name != "current").count(), 1);
}

#[test]
fn d9_what_is_damaged_in_the_other_copy_is_fetched() {
    let (world, device, disk, terminal) = selling(vec![content(TITLE)]);
    install_once(&terminal).unwrap();
    let pack = disk.named_files().into_iter().map(|(path, _)| path).find(|path| path.extension().is_some_and(|name| name == "pack"));
    let pack = pack.filter(|path| path.starts_with(LIBRARY)).or_else(|| find_pack(&disk));
    let file = disk.create(&pack.unwrap(), Create::Resume, 0o644).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 60).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 60).unwrap();
    sent(&world);
    let terminal_again = world.terminal(Arc::new(disk), &device);
    let installed = install_as(&terminal_again, &InstallOptions { again: true, ..InstallOptions::default() }).unwrap();
    let fetched = sent(&world) - world.contents[0].manifest.len() as u64;
    assert!(fetched > 0 && fetched < 262_200, "{fetched} bytes: one chunk");
    assert_eq!(installed.title.taken + fetched, packed(&world.contents[0]));
    assert_plays(&world, &terminal_again);
}

fn find_pack(disk: &DiskModel) -> Option<std::path::PathBuf> {
    let pack = |path: &Path| path.starts_with(LIBRARY) && path.extension().is_some_and(|name| name == "pack");
    disk.named_files().into_iter().map(|(path, _)| path).find(|path| pack(path))
}

/// Row 5 over the network: the line breaks at every chunk boundary and beside it.
#[test]
fn row_5_a_line_that_breaks_anywhere_costs_a_chunk_at_most() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    install_once(&terminal).unwrap();
    let lengths: Vec<u64> = open(&terminal).unwrap().manifest().chunks().iter().map(|chunk| u64::from(chunk.sealed_len)).collect();
    let longest = lengths.iter().copied().max().unwrap();
    for (number, limit) in [longest, longest + 1, longest + 20_000].into_iter().enumerate() {
        world.authority.state.lock().unwrap().licenses.clear();
        let device = Device::new(&format!("pc {number}"), "disk");
        let disk = disk.snapshot();
        for name in ["home", "library"] {
            counterfoil_terminal::io::remove_all(&disk, &Path::new("/").join(name)).unwrap();
        }
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        card_new(&terminal, None).unwrap();
        register_default(&terminal).unwrap();
        sent(&world);
        *world.authority.contents.breaks_after.lock().unwrap() = Some(limit);
        let mut tries = 0;
        let installed = loop {
            tries += 1;
            assert!(tries < 1000, "it does not get on");
            match install_once(&terminal) {
                Ok(installed) => break installed,
                Err(error) => assert_eq!(error.code(), "unreachable", "{error}"),
            }
        };
        *world.authority.contents.breaks_after.lock().unwrap() = None;
        assert!(tries > 1 && installed.resumed);
        let most = packed(&world.contents[0]) + tries * longest + world.contents[0].manifest.len() as u64;
        assert!(sent(&world) <= most, "cut after {limit}: more than a chunk for each of {tries} tries");
        assert_plays(&world, &terminal);
        assert_eq!(world.effects("redeem"), number + 2, "the keys are issued once");
    }
}

#[test]
fn c10_keys_redeemed_on_one_device_install_nothing_on_other_hardware() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    *world.authority.contents.breaks_after.lock().unwrap() = Some(100_000);
    install_once(&terminal).unwrap_err();
    let before = disk.named_files().len();
    let other = Device::new("pc 2", "disk 1");
    assert_eq!(refusal(install_once(&world.terminal(Arc::new(disk.clone()), &other))), Code::CopyNotPermitted);
    assert_eq!(disk.named_files().len(), before);
}

#[test]
fn d10_a_license_that_ends_meanwhile_leaves_no_content_key() {
    let (world, _device, _disk, terminal) = selling(vec![content(TITLE)]);
    *world.authority.contents.breaks_after.lock().unwrap() = Some(100_000);
    install_once(&terminal).unwrap_err();
    assert!(card_show(&terminal, &CardChoice::Default).unwrap().grants[0].content_key);
    *world.authority.contents.breaks_after.lock().unwrap() = None;
    world.authority.state.lock().unwrap().licenses[0].ended = true;
    assert_eq!(refusal(install_once(&terminal)), Code::LicenseEnded);
    assert!(!card_show(&terminal, &CardChoice::Default).unwrap().grants[0].content_key);
}

#[test]
fn content_that_its_publisher_did_not_sign_is_not_installed() {
    let (world, _device, _disk, terminal) = selling(vec![content(TITLE)]);
    let manifest = world.contents[0].release.manifest.object.to_string();
    let change = |name: &str, at: usize| {
        let mut objects = world.authority.contents.objects.lock().unwrap();
        let object = objects.get_mut(name).unwrap();
        object[at] ^= 1;
    };
    change(&manifest, 20);
    assert_eq!(install_once(&terminal).unwrap_err().code(), "content_not_authentic");
    change(&manifest, 20);
    let pack = world.contents[0].packs.keys().next().unwrap().to_string();
    change(&pack, 70_000);
    let error = install_once(&terminal).unwrap_err();
    assert_eq!(error.code(), "content_damaged", "{error}");
    assert!(error.to_string().contains(&pack), "{error}");
    change(&pack, 70_000);
    install_once(&terminal).unwrap();
    assert_plays(&world, &terminal);
}

#[test]
fn a_damaged_title_is_healed_over_the_network() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    install_once(&terminal).unwrap();
    let path = find_pack(&disk).unwrap();
    let file = disk.create(&path, Create::Resume, 0o644).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 40).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 40).unwrap();
    let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
    let look = || verify(&terminal, &library, &title(), &CardChoice::Default, NonZeroUsize::new(1), &|_| {}).unwrap();
    let report = look();
    assert_eq!(report.damaged.len(), 1);
    sent(&world);
    let repaired = repair(&terminal, &library, &title(), &CardChoice::Default, None, &report).unwrap();
    assert_eq!((repaired.healed, sent(&world)), (1, u64::from(report.damaged[0].length)), "exactly the damaged chunk is fetched");
    assert!(look().damaged.is_empty());
    assert_plays(&world, &terminal);
}

#[test]
fn a_full_drive_is_told_before_a_pack_is_fetched() {
    let (world, device, disk, terminal) = selling(vec![content(TITLE)]);
    let full = Arc::new(Buggy { inner: Arc::new(disk.clone()), bug: Bug::NoRoom });
    let error = install_once(&world.terminal(full, &device)).unwrap_err();
    assert_eq!(error.code(), "no_space", "{error}");
    assert_eq!(sent(&world), world.contents[0].manifest.len() as u64, "the manifest alone says how much it is");
    install_once(&terminal).unwrap();
    assert_plays(&world, &terminal);
}

const FILE: &str = "/sky-raider.cfoil";

fn fetch_file(terminal: &Terminal) -> counterfoil_terminal::Result<Downloaded> {
    download(terminal, &title(), None, None, Path::new(FILE), &|_| {})
}

fn from_file() -> InstallOptions {
    InstallOptions { from: Some(FILE.into()), ..InstallOptions::default() }
}

#[test]
fn d4_c18_an_installation_file_is_the_same_whoever_makes_it_and_installs_without_contents_servers() {
    let (world, device, disk, terminal) = selling(vec![content(TITLE)]);
    let done = fetch_file(&terminal).unwrap();
    let bytes = read_small(&disk, Path::new(FILE), 1 << 30).unwrap().unwrap();
    assert_eq!((done.size, done.written, done.reused), (bytes.len() as u64, bytes.len() as u64, 0));
    assert!(find_canary(&world, &bytes).is_none());
    assert_eq!(world.effects("license") + world.effects("redeem"), 0, "it costs nothing and asks for nothing");
    // Somebody else, who was cut off again and again.
    let other = registered(&world, &Device::new("pc 2", "disk 2"));
    let other_terminal = world.terminal(Arc::new(other.clone()), &device);
    *world.authority.contents.breaks_after.lock().unwrap() = Some(50_000);
    let tries = (0..200).take_while(|_| fetch_file(&other_terminal).is_err()).count();
    assert!(tries > 5, "cut off {tries} times only");
    *world.authority.contents.breaks_after.lock().unwrap() = None;
    assert_eq!(read_small(&other, Path::new(FILE), 1 << 30).unwrap().unwrap(), bytes);
    assert_eq!(fetch_file(&terminal).unwrap().written, 0, "it is there");

    // Any tar unpacks it.
    let unpacked = tempfile::tempdir().unwrap();
    tar::Archive::new(&bytes[..]).unpack(unpacked.path()).unwrap();
    for (name, pack) in &world.contents[0].packs {
        assert_eq!(std::fs::read(unpacked.path().join(layout::pack(&title(), name))).unwrap(), *pack);
    }
    world.authority.contents.objects.lock().unwrap().clear();
    let installed = install_as(&terminal, &from_file()).unwrap();
    assert!(!installed.network);
    assert_plays(&world, &terminal);
}

/// proves: C18
#[test]
fn c18_content_on_a_medium_without_identity_installs_once_it_is_licensed() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    disk.remove_file(&Path::new(MEDIUM).join(layout::IDENTITY)).unwrap();
    world.authority.contents.objects.lock().unwrap().clear();
    let options = InstallOptions { from: Some(MEDIUM.into()), ..InstallOptions::default() };
    install_as(&terminal, &options).unwrap();
    assert_plays(&world, &terminal);
    assert_eq!(world.effects("redeem"), 1);
}

#[test]
fn a_partial_file_that_is_damaged_or_of_something_else_is_made_good() {
    let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
    fetch_file(&terminal).unwrap();
    let good = read_small(&disk, Path::new(FILE), 1 << 30).unwrap().unwrap();
    let partial = Path::new("/sky-raider.cfoil.partial");
    for (cut, flip) in [(good.len() - 900, 200_000), (300_000, 299_000), (700, 600), (100, 5), (good.len(), good.len() - 10)] {
        disk.remove_file(Path::new(FILE)).unwrap();
        let file = disk.create(partial, Create::Truncate, 0o644).unwrap();
        let mut bytes = good[..cut].to_vec();
        bytes[flip] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        fetch_file(&terminal).unwrap();
        assert!(read_small(&disk, Path::new(FILE), 1 << 30).unwrap().unwrap() == good, "cut at {cut}, changed at {flip}");
    }
    // A contents server that has another object by that name.
    let pack = world.contents[0].packs.keys().next().unwrap().to_string();
    world.authority.contents.objects.lock().unwrap().get_mut(&pack).unwrap()[9] ^= 1;
    disk.remove_file(Path::new(FILE)).unwrap();
    assert_eq!(fetch_file(&terminal).unwrap_err().code(), "content_not_authentic");
    assert!(disk.metadata(Path::new(FILE)).is_err());
}

#[test]
fn hostile_installation_files_are_refused_and_install_nothing() {
    let (world, device, disk, terminal) = selling(vec![content(TITLE)]);
    fetch_file(&terminal).unwrap();
    let good = read_small(&disk, Path::new(FILE), 1 << 30).unwrap().unwrap();
    let mut tried = 0;
    let mut refuse = |what: &str, bytes: &[u8]| {
        // Each in a library of its own: what an earlier one has brought would not be read again.
        let disk = disk.snapshot();
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        disk.create(Path::new(FILE), Create::Truncate, 0o644).unwrap().write_all_at(bytes, 0).unwrap();
        let error = install_as(&terminal, &from_file()).err().unwrap_or_else(|| panic!("{what} was installed"));
        let known = ["bad_installation_file", "not_a_medium", "content_not_authentic", "other_title"];
        assert!(known.contains(&error.code()), "{what}: {} {error}", error.code());
        let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
        assert!(library.list().unwrap().iter().all(|listed| !listed.complete), "{what}");
        tried += 1;
    };
    // Every entry: where its header is, and how long it is with its padding.
    let mut entries = Vec::new();
    let mut archive = tar::Archive::new(&good[..]);
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let start = entry.raw_header_position() as usize;
        entries.push((start, 512 + entry.size().next_multiple_of(512) as usize));
    }
    let member = |index: usize| good[entries[index].0..entries[index].0 + entries[index].1].to_vec();
    let end = [vec![0; 1024]];
    let of = |parts: &[Vec<u8>]| parts.concat();
    let all: Vec<Vec<u8>> = (0..entries.len()).map(member).collect();

    for cut in [0, 1, 511, 512, 600, 1500, good.len() / 2, good.len() - 1024, good.len() - 512, good.len() - 1] {
        refuse(&format!("cut at {cut}"), &good[..cut]);
    }
    for (start, length) in &entries {
        for at in [0, 99, 100, 124, 136, 148, 156, 157, 257, 263, 265, 297, 329, 345, 500, 511] {
            let mut bytes = good.clone();
            bytes[start + at] ^= 1;
            refuse(&format!("header at {start} changed at {at}"), &bytes);
        }
        // Content and padding.
        let mut bytes = good.clone();
        bytes[start + 512 + 40] ^= 1;
        refuse(&format!("content behind {start} changed"), &bytes);
        let mut bytes = good.clone();
        bytes[start + length - 1] ^= 1;
        refuse(&format!("end of what is behind {start} changed"), &bytes);
    }
    refuse("swapped packs", &of(&[&all[..2], &[all[3].clone(), all[2].clone()], &all[4..], &end].concat()));
    refuse("a pack doubled", &of(&[&all[..3], &all[2..3], &all[3..], &end].concat()));
    refuse("manifest first", &of(&[&[all[1].clone(), all[0].clone()], &all[2..], &end].concat()));
    refuse("a pack missing", &of(&[&all[..2], &all[3..], &end].concat()));
    refuse("two releases", &of(&[&all[..1], &all[..], &end].concat()));
    refuse("something behind it", &of(&[&all[..], &end, &[vec![0; 512]]].concat()));
    for path in ["../../etc/passwd", "content/sky-raider/../../x.pack", "/content/x", "content/other/release.jws"] {
        for kind in [
            tar::EntryType::Regular,
            tar::EntryType::Symlink,
            tar::EntryType::GNULongName,
            tar::EntryType::XHeader,
            tar::EntryType::GNUSparse,
        ] {
            for size in [0, 3, 1 << 40] {
                let mut header = tar::Header::new_ustar();
                header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
                header.set_size(size);
                header.set_entry_type(kind);
                header.set_mode(0o644);
                header.set_cksum();
                let body = if size == 3 { vec![b'x'; 512] } else { vec![] };
                let hostile = [header.as_bytes().to_vec(), body].concat();
                refuse(&format!("{path} {kind:?} {size} first"), &of(&[std::slice::from_ref(&hostile), &all[..], &end].concat()));
                refuse(&format!("{path} {kind:?} {size} last"), &of(&[&all[..], &[hostile], &end].concat()));
            }
        }
    }
    assert!(tried > 150, "only {tried}");
    // The good one, after all that.
    disk.create(Path::new(FILE), Create::Truncate, 0o644).unwrap().write_all_at(&good, 0).unwrap();
    let options = InstallOptions { release: Some("9.9".parse().unwrap()), ..from_file() };
    assert_eq!(install_as(&terminal, &options).unwrap_err().code(), "other_title");
    install_as(&terminal, &from_file()).unwrap();
    assert_plays(&world, &terminal);
}

/// Has somebody in between refuse the request that comes after so many others.
fn refuse_unsigned(world: &World, after: u64, code: Code) {
    let mut faults = world.faults.lock().unwrap();
    let number = faults.sent + after;
    faults.refused.push((number, code));
}

#[test]
fn d10_a_no_that_nobody_has_signed_ends_no_license_and_the_confirmation_is_sent_again() {
    for code in [Code::LicenseEnded, Code::GrantUnknown, Code::NotEntitled] {
        let (world, _device, disk, terminal) = selling(vec![content(TITLE)]);
        refuse_unsigned(&world, 2, code);
        let error = install_once(&terminal).unwrap_err();
        assert_eq!((error.code(), error.exit_code(), error.refusal()), (code.as_str(), 3, None), "{error}");
        assert_eq!(disk.list(Path::new("/home/requests")).unwrap().len(), 1, "{code:?}: the request stays");
        assert!(card_show(&terminal, &CardChoice::Default).unwrap().grants[0].content_key, "{code:?}");
        assert_eq!(world.effects("confirm"), 0);
        install_once(&terminal).unwrap();
        assert_eq!((world.effects("confirm"), world.effects("redeem")), (1, 1), "{code:?}");
        assert!(!card_show(&terminal, &CardChoice::Default).unwrap().grants[0].content_key, "{code:?}");
        assert!(disk.list(Path::new("/home/requests")).unwrap().is_empty());
        assert_plays(&world, &terminal);
    }
}

#[test]
fn d9_a_job_that_somebody_in_between_refuses_stays_open() {
    let (world, _device, _disk, terminal) = selling(vec![content(TITLE)]);
    let library = Library::create_or_open(&terminal, Path::new(LIBRARY)).unwrap();
    let job: wire::Job = serde_json::from_value(serde_json::json!({
        "job_id": JobId::from_bytes([7; 16]), "since": authority::NOW, "work": "install",
        "title": TITLE, "license_id": LicenseId::from_bytes([8; 16]),
    }))
    .unwrap();
    for after in [0, 1] {
        refuse_unsigned(&world, after, Code::LicenseEnded);
        let error = carry_out(&terminal, &library, &CardChoice::Default, &job, &|_| {}).unwrap_err();
        assert_eq!((error.code(), error.refusal()), ("license_ended", None), "{error}");
    }
    let done = carry_out(&terminal, &library, &CardChoice::Default, &job, &|_| {}).unwrap();
    assert!(matches!(done, Carried::Installed { already: false, .. }), "{done:?}");
    assert_eq!((world.effects("license"), world.effects("redeem")), (1, 1));
}
