//! Licenses of installed titles: on which hardware they start, until when, and what turning clocks, editing files and being offline gains.

use crate::common;

use common::authority::NOW;
use common::authority::leases::Lease;
use common::*;
use counterfoil_core::license::LICENSE_TYP;
use counterfoil_core::rules::run::Permission;
use counterfoil_core::{BatchId, Code, License, MediumId, Timestamp};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::jws::sign_compact;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::clock::FixedClock;
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A title that is installed, with a lease of 30 days and 7 more.
struct Leased {
    world: World,
    device: Device,
    disk: DiskModel,
}

impl Leased {
    fn new() -> Self {
        Self::with(Some(Lease { days: 30, grace_days: 7 }))
    }

    fn with(lease: Option<Lease>) -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.sell(&world.contents[0]);
        world.authority.state.lock().unwrap().lease = lease;
        install_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
        Self { world, device, disk }
    }

    /// The device's clock, so many days after the installation.
    fn at(&self, days: i64) -> Terminal {
        self.world.terminal_when(Arc::new(self.disk.clone()), self.device.setup(), day(days)).unwrap()
    }

    fn offline(&self, offline: bool) {
        self.world.faults.lock().unwrap().offline = offline;
    }

    /// The authority's clock as well.
    fn authority_at(&self, days: i64) {
        self.world.authority.state.lock().unwrap().now = Some(day(days));
    }

    fn sent(&self) -> u64 {
        self.world.faults.lock().unwrap().sent
    }

    /// As `run` does: asks, opens, and plays for so many days.
    fn run(&self, terminal: &Terminal, days: i64) -> Result<Permission> {
        let library = library(terminal);
        renew(terminal, &library, &title(), &CardChoice::Default)?;
        let opened = open(terminal)?;
        let permitted = opened.permitted().unwrap();
        note_run(&library, &title(), permitted, days * Timestamp::DAY)?;
        Ok(permitted.permission)
    }

    fn license_path(&self) -> PathBuf {
        let grant = Library::open(&self.at(0), Path::new(LIBRARY)).unwrap().list().unwrap()[0].grant_id;
        Path::new(LIBRARY).join(format!("titles/{TITLE}/{grant}/license.json"))
    }

    /// Changes the license file as somebody with an editor would.
    fn edit(&self, change: impl FnOnce(&mut LicenseFile)) {
        let mut file = library(&self.at(0)).license(&title()).unwrap().unwrap();
        change(&mut file);
        let path = self.license_path();
        put(&self.disk, "/", &[(path.to_str().unwrap()[1..].to_owned(), serde_json::to_vec(&file).unwrap())]);
    }
}

fn day(days: i64) -> Timestamp {
    Timestamp(NOW.0 + days * Timestamp::DAY)
}

fn library(terminal: &Terminal) -> Library {
    Library::open(terminal, Path::new(LIBRARY)).unwrap()
}

fn claims(token: &str) -> License {
    serde_json::from_slice(&counterfoil_format::encoding::from_base64url(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn d7_on_other_hardware_it_does_not_start_and_nobody_is_asked() {
    let leased = Leased::new();
    assert_eq!(leased.run(&leased.at(0), 0).unwrap(), Permission::Run);
    let other = Device::new("pc 2", "disk 1");
    let moved = leased.world.terminal(Arc::new(leased.disk.clone()), &other);
    let before = leased.sent();
    assert_eq!(refusal(leased.run(&moved, 0)), Code::RunNotPermitted);
    assert_eq!(refusal(open(&moved).map(|_| ())), Code::RunNotPermitted, "however it is played");
    assert_eq!(leased.sent(), before);
    // The authentication information edited to fit: the license still names the device that it was issued for.
    let stranger = moved.hardware().device().unwrap().id;
    leased.edit(|file| file.device_id = stranger);
    assert_eq!(refusal(open(&moved).map(|_| ())), Code::RunNotPermitted);
    assert_eq!(refusal(open(&leased.at(0)).map(|_| ())), Code::RunNotPermitted);
}

#[test]
fn d6_d7_only_the_authoritys_own_license_of_this_very_copy_counts() {
    let leased = Leased::new();
    let token = library(&leased.at(0)).license(&title()).unwrap().unwrap().license;
    let parts: Vec<&str> = token.split('.').collect();
    let longer = License { exp: None, ..claims(&token) };
    let payload = to_base64url(&serde_json::to_vec(&longer).unwrap());
    let stranger = SigningKey::from_seed(&Secret::new([9; 32]));
    let none = to_base64url(br#"{"alg":"none","typ":"counterfoil-license+jwt","kid":"sig-1"}"#);
    let (_, own) = leased.world.authority.signing_now();
    let elsewhere = License { title: "other-game".parse().unwrap(), ..longer.clone() };
    let earlier = License { grant: counterfoil_core::GrantId::from_bytes([7; 16]), ..longer.clone() };
    let another = License { iss: "another-authority".into(), ..longer.clone() };
    for (what, forged) in [
        ("edited", format!("{}.{payload}.{}", parts[0], parts[2])),
        ("cut", token[..token.len() - 4].to_owned()),
        ("without signature", format!("{}.{}.", parts[0], parts[1])),
        ("alg none", format!("{none}.{payload}.")),
        ("by somebody else", sign_compact(LICENSE_TYP, "sig-1", &longer, &stranger)),
        ("by an unknown key", sign_compact(LICENSE_TYP, "sig-9", &longer, &stranger)),
        ("another kind of document", sign_compact("counterfoil-answer+jwt", "sig-1", &longer, &own)),
        ("of another title", sign_compact(LICENSE_TYP, "sig-1", &elsewhere, &own)),
        ("of an earlier grant", sign_compact(LICENSE_TYP, "sig-1", &earlier, &own)),
        ("in another name", sign_compact(LICENSE_TYP, "sig-1", &another, &own)),
        ("nothing", String::new()),
    ] {
        leased.edit(|file| file.license = forged);
        let found = refusal(open(&leased.at(0)).map(|_| ()));
        assert_eq!(found, Code::LicenseInvalid, "{what}");
    }
    leased.edit(|file| file.license = sign_compact(LICENSE_TYP, "sig-1", &longer, &own));
    open(&leased.at(0)).unwrap();
    io::Io::remove_file(&leased.disk, &leased.license_path()).unwrap();
    assert_eq!(refusal(open(&leased.at(0)).map(|_| ())), Code::LicenseInvalid, "none at all");
}

#[test]
fn d7_a_licensed_title_that_the_library_calls_a_mediums_is_not_played() {
    let leased = Leased::new();
    leased.world.authority.state.lock().unwrap().licenses[0].ended = true;
    assert_eq!(refusal(leased.run(&leased.at(1), 0)), Code::LicenseEnded);
    let is_record = |path: &Path| path.ends_with("title.json") || path.ends_with("release.json");
    for (path, bytes) in leased.disk.named_files().into_iter().filter(|(path, _)| is_record(path)) {
        let mut edited: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        edited.remove("license_id").unwrap();
        edited.insert("medium_id".to_owned(), MediumId::pressed(BatchId([7; 8]), 1).to_string().into());
        put(&leased.disk, "/", &[(path.to_str().unwrap()[1..].to_owned(), serde_json::to_vec(&edited).unwrap())]);
    }
    for offline in [true, false] {
        leased.offline(offline);
        let terminal = leased.at(1);
        // Nobody is asked of a copy that seems to be a medium's; its keys are not opened either.
        assert!(matches!(renew(&terminal, &library(&terminal), &title(), &CardChoice::Default).unwrap(), Contact::NotLicensed));
        assert_eq!(refusal(open(&terminal).map(|_| ())), Code::LicenseInvalid);
    }
}

#[test]
fn a_lease_lasts_offline_to_its_end_and_is_renewed_by_being_online() {
    let leased = Leased::new();
    leased.offline(true);
    assert_eq!(leased.run(&leased.at(29), 0).unwrap(), Permission::Run);
    assert_eq!(leased.run(&leased.at(31), 0).unwrap(), Permission::Grace { until: day(37) });
    assert_eq!(refusal(leased.run(&leased.at(38), 0)), Code::LicenseExpired);
    leased.offline(false);
    leased.authority_at(38);
    assert_eq!(leased.run(&leased.at(38), 0).unwrap(), Permission::Run);
    leased.offline(true);
    assert_eq!(leased.run(&leased.at(67), 0).unwrap(), Permission::Run);
    assert_eq!(refusal(leased.run(&leased.at(80), 0)), Code::LicenseExpired);
}

#[test]
fn d10_what_was_taken_back_is_refused_from_the_next_contact_on_and_stays_so_offline() {
    let leased = Leased::with(None);
    leased.offline(true);
    leased.world.authority.state.lock().unwrap().licenses[0].ended = true;
    assert_eq!(leased.run(&leased.at(9), 0).unwrap(), Permission::Run, "nobody knows yet");
    leased.offline(false);
    leased.authority_at(9);
    assert_eq!(refusal(leased.run(&leased.at(9), 0)), Code::LicenseEnded);
    leased.offline(true);
    assert_eq!(refusal(leased.run(&leased.at(10), 0)), Code::LicenseEnded);
    assert_eq!(refusal(open(&leased.at(0)).map(|_| ())), Code::LicenseEnded);
    // Nothing was deleted.
    assert!(library(&leased.at(10)).list().unwrap()[0].complete);
}

#[test]
fn d10_what_an_agent_and_running_titles_note_at_the_same_time_is_all_kept() {
    let leased = Leased::new();
    let terminal = leased.at(1);
    let opened = open(&terminal).unwrap();
    leased.world.authority.state.lock().unwrap().licenses[0].ended = true;
    std::thread::scope(|scope| {
        for player in 0..4 {
            let (terminal, permitted) = (leased.at(1), opened.permitted().unwrap());
            scope.spawn(move || {
                for minute in 0..100 {
                    note_run(&library(&terminal), &title(), permitted, (minute * 4 + player) * 60_000).unwrap();
                }
            });
        }
        let contact = renew(&terminal, &library(&terminal), &title(), &CardChoice::Default).unwrap();
        assert!(matches!(contact, Contact::Ended), "{contact:?}");
    });
    let kept = library(&terminal).license(&title()).unwrap().unwrap();
    assert!(kept.ended_at.is_some(), "that it has ended is not forgotten for one that has run");
    assert_eq!(kept.seen, Some(Timestamp(day(1).0 + 399 * 60_000)));
}

#[test]
fn a_no_that_the_authority_has_not_signed_ends_nothing() {
    let leased = Leased::new();
    // Sealed to keys that the authority has thrown away, in an address that somebody else answers at: refused unsigned.
    leased.world.authority.rotate(true);
    leased.world.faults.lock().unwrap().unguarded = true;
    let terminal = leased.at(1);
    let contact = renew(&terminal, &library(&terminal), &title(), &CardChoice::Default).unwrap();
    assert!(matches!(contact, Contact::Unanswered(_)), "{contact:?}");
    open(&terminal).unwrap();
    assert_eq!(library(&terminal).license(&title()).unwrap().unwrap().ended_at, None);
    // At an address that nobody else can answer at, the new keys are learned, and the license of the new key with them.
    leased.world.faults.lock().unwrap().unguarded = false;
    let contact = renew(&terminal, &library(&terminal), &title(), &CardChoice::Default).unwrap();
    assert!(matches!(contact, Contact::Renewed), "{contact:?}");
    open(&terminal).unwrap();
}

#[test]
fn row_10_a_clock_turned_back_stretches_no_lease() {
    let leased = Leased::new();
    leased.offline(true);
    // A day is played each time, and the clock put back to the first one before.
    let mut days = 0;
    let refused = loop {
        match leased.run(&leased.at(0), 1) {
            Ok(_) => days += 1,
            Err(error) => break error,
        }
        assert!(days < 100, "it runs for ever");
    };
    assert_eq!((refused.code(), days), ("license_expired", 37));
    for back in [-1, -365, -3650] {
        assert_eq!(refusal(leased.run(&leased.at(back), 0)), Code::LicenseExpired, "{back}");
    }
    leased.offline(false);
    leased.authority_at(37);
    assert_eq!(leased.run(&leased.at(37), 0).unwrap(), Permission::Run);
}

#[test]
fn row_10_the_time_of_running_is_noted_while_it_runs_and_no_clock_that_is_set_changes_it() {
    let leased = Leased::new();
    leased.offline(true);
    let clock = Arc::new(FixedClock::at(day(0)));
    let terminal = leased.world.terminal_by(Arc::new(leased.disk.clone()), leased.device.setup(), clock.clone()).unwrap();
    let seen = || library(&terminal).license(&title()).unwrap().unwrap().seen;
    let minutes = |count: i64| Some(Timestamp(NOW.0 + count * 60_000));
    let opened = open(&terminal).unwrap();
    let running = Running::begin(&terminal, &library(&terminal), &opened).unwrap();
    clock.pass(Duration::from_secs(59));
    running.look();
    assert_eq!(seen(), None, "not written all the time");
    clock.set(day(-1));
    clock.pass(Duration::from_secs(61));
    running.look();
    assert_eq!(seen(), minutes(2), "so much is known however it ends");
    clock.set(day(20));
    clock.pass(Duration::from_secs(30));
    running.look();
    assert_eq!(seen(), minutes(2));
    clock.pass(Duration::from_secs(30));
    drop(running);
    assert_eq!(seen(), minutes(3));
}

#[test]
fn row_10_what_the_authority_said_last_counts_against_a_clock_that_is_behind() {
    let leased = Leased::new();
    leased.authority_at(20);
    // Not renewed, because the clock is years off; but the answer says, signed, what time it is.
    let behind = leased.at(-3650);
    assert_eq!(leased.run(&behind, 0).unwrap(), Permission::Run);
    assert_eq!(behind.home().profile().unwrap().latest_time, Some(day(20)));
    leased.authority_at(40);
    assert_eq!(refusal(leased.run(&leased.at(-3650), 0)), Code::LicenseExpired);
    assert_eq!(leased.run(&leased.at(40), 0).unwrap(), Permission::Run, "set right, it is renewed");
}

#[test]
fn row_10_a_clock_far_ahead_locks_nobody_out_for_good() {
    let leased = Leased::new();
    leased.offline(true);
    assert_eq!(refusal(leased.run(&leased.at(3650), 0)), Code::LicenseExpired);
    assert_eq!(leased.run(&leased.at(1), 0).unwrap(), Permission::Run, "set right, it runs as before");
    // Online with it, the request is refused for its time, and nothing is remembered of it.
    leased.offline(false);
    leased.authority_at(2);
    assert_eq!(refusal(leased.run(&leased.at(3650), 0)), Code::LicenseExpired);
    assert_eq!(leased.run(&leased.at(2), 0).unwrap(), Permission::Run);
    // It jumps ahead while the title runs: the lease is used up, until the authority is reached.
    leased.offline(true);
    assert_eq!(leased.run(&leased.at(3), 3650).unwrap(), Permission::Run);
    assert_eq!(refusal(leased.run(&leased.at(4), 0)), Code::LicenseExpired);
    leased.offline(false);
    leased.authority_at(4);
    assert_eq!(leased.run(&leased.at(4), 0).unwrap(), Permission::Run);
    // An hour either way in mid-session is nothing.
    for shift in [-3_600_000, 3_600_000] {
        let opened = open(&leased.at(4)).unwrap();
        note_run(&library(&leased.at(4)), &title(), opened.permitted().unwrap(), shift).unwrap();
        assert_eq!(leased.run(&leased.at(4), 0).unwrap(), Permission::Run);
    }
}

#[test]
fn c12_what_was_copied_from_a_medium_has_no_license_and_asks_nobody() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    copy_once(&terminal).unwrap();
    let before = world.faults.lock().unwrap().sent;
    let contact = renew(&terminal, &library(&terminal), &title(), &CardChoice::Default).unwrap();
    assert!(matches!(contact, Contact::NotLicensed));
    assert!(open(&terminal).unwrap().permitted().is_none());
    assert_eq!(world.faults.lock().unwrap().sent, before);
    assert_eq!(library(&terminal).license(&title()).unwrap(), None);
}
