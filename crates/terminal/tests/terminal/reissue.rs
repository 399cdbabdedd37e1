//! A lost card (C15): the new one is asked for with what was written down, and the existing library plays with it, offline.

use crate::common;

use common::buggy::{Bug, Buggy};
use common::*;
use counterfoil_core::wire::ReissueState;
use counterfoil_core::{Code, RecoveryCode, UserId};
use counterfoil_terminal::io::Io;
use counterfoil_terminal::io::faults::{FaultyIo, Plan};
use counterfoil_terminal::io::model::DiskModel;
use counterfoil_terminal::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A copied title whose card is lost.
struct Lost {
    world: World,
    device: Device,
    disk: DiskModel,
    /// The card, as whoever found it has it.
    found: Vec<u8>,
    user: UserId,
    code: RecoveryCode,
}

fn card_path() -> PathBuf {
    Path::new(HOME).join("card.json")
}

impl Lost {
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        let terminal = world.terminal(Arc::new(disk.clone()), &device);
        copy_once(&terminal).unwrap();
        let code = recovery_code(&terminal, &CardChoice::Default).unwrap();
        let card = card_show(&terminal, &CardChoice::Default).unwrap();
        assert!(card.recovery_at.is_some(), "the card knows that there is a code, and not which");
        let (_, found) = disk.named_files().into_iter().find(|(path, _)| *path == card_path()).unwrap();
        disk.remove_file(&card_path()).unwrap();
        disk.sync_dir(Path::new(HOME)).unwrap();
        Self { world, device, disk, found, user: card.user_id.unwrap(), code }
    }

    fn terminal(&self) -> Terminal {
        self.world.terminal(Arc::new(self.disk.clone()), &self.device)
    }

    fn written(&self) -> WrittenDown {
        WrittenDown { user_id: self.user, code: self.code.clone(), contact: Some("by phone".into()) }
    }

    fn decide(&self, state: ReissueState) {
        self.world.authority.state.lock().unwrap().decide_reissue(state);
    }

    fn replace(&self, terminal: &Terminal) -> counterfoil_terminal::Result<Replaced> {
        replace_card(terminal, &CardChoice::Default, Some(&self.written()))
    }
}

/// proves: C15
#[test]
fn c15_a_lost_card_is_replaced_and_the_library_plays_offline_with_the_new_one() {
    let lost = Lost::new();
    let terminal = lost.terminal();
    assert_eq!(open(&terminal).map(|_| ()).unwrap_err().code(), "play_not_permitted");
    let Replaced::Waiting { card_id, reissue_id, .. } = lost.replace(&terminal).unwrap() else { panic!("nobody has decided yet") };
    // Nothing is to be typed again, and nothing is asked for twice.
    let again = replace_card(&terminal, &CardChoice::Default, None).unwrap();
    assert!(matches!(again, Replaced::Waiting { reissue_id: same, .. } if same == reissue_id));
    let waiting = card_show(&terminal, &CardChoice::Default).unwrap();
    assert!((waiting.registered, waiting.reissuing, waiting.card_id) == (false, true, card_id));

    lost.decide(ReissueState::Done);
    let Replaced::Done { collected, already, .. } = replace_card(&terminal, &CardChoice::Default, None).unwrap() else {
        panic!("it was decided")
    };
    assert_eq!((already, collected.card_id, collected.user_id, collected.added.len()), (false, card_id, lost.user, 1));
    lost.world.faults.lock().unwrap().offline = true;
    assert_plays(&lost.world, &terminal);
    lost.world.faults.lock().unwrap().offline = false;
    let card = card_show(&terminal, &CardChoice::Default).unwrap();
    assert!(!card.grants[0].content_key && !card.reissuing, "{card:?}");
    // The same command again changes nothing, whether with or without what was written down.
    assert!(matches!(lost.replace(&terminal).unwrap(), Replaced::Done { already: true, .. }));
    assert_eq!(card_show(&terminal, &CardChoice::Default).unwrap(), card);
}

/// proves: C15
#[test]
fn c15_the_old_card_is_dead_and_is_not_overwritten() {
    let lost = Lost::new();
    let terminal = lost.terminal();
    lost.replace(&terminal).unwrap();
    lost.decide(ReissueState::Done);
    lost.replace(&terminal).unwrap();

    // Whoever found the old card, on the same computer.
    let found = Path::new("/found");
    put(&lost.disk, "/found", &[("card.json".into(), lost.found.clone())]);
    let file = found.join("card.json");
    // The model keeps modes as they were made.
    lost.disk.remove_file(&file).unwrap();
    io::write_private(&lost.disk, &file, &lost.found).unwrap();
    let old = CardChoice::File(file.clone());
    assert_eq!(refusal(collect(&terminal, &old)), Code::CardUnknown);
    let options = RegisterOptions { card: old.clone(), library: Some(LIBRARY.into()), ..RegisterOptions::default() };
    assert_eq!(refusal(register(&terminal, &options)), Code::CardUnknown);
    assert!(recovery_code(&terminal, &old).is_err());
    // Where an old card lies, no new one is put.
    let error = replace_card(&terminal, &old, Some(&lost.written())).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("exists", 1));
    let (_, after) = lost.disk.named_files().into_iter().find(|(path, _)| *path == file).unwrap();
    assert!(after == lost.found);
}

/// proves: C15
#[test]
fn c15_what_was_written_down_wrongly_is_refused_and_can_be_typed_again() {
    let lost = Lost::new();
    let terminal = lost.terminal();
    assert_eq!(replace_card(&terminal, &CardChoice::Default, None).unwrap_err().code(), "not_asked");
    assert!(!lost.disk.named_files().iter().any(|(path, _)| *path == card_path()), "no card is made for nothing");
    let wrong = WrittenDown { code: RecoveryCode::from_bytes([9; 10]), ..lost.written() };
    assert_eq!(refusal(replace_card(&terminal, &CardChoice::Default, Some(&wrong))), Code::UserInvalid);
    let card = card_show(&terminal, &CardChoice::Default).unwrap();
    assert_eq!(replace_card(&terminal, &CardChoice::Default, None).unwrap_err().code(), "not_asked");
    assert!(matches!(lost.replace(&terminal).unwrap(), Replaced::Waiting { card_id, .. } if card_id == card.card_id));
}

/// proves: C15
#[test]
fn c15_a_declined_request_stays_declined_and_says_what_to_do() {
    let lost = Lost::new();
    let terminal = lost.terminal();
    lost.replace(&terminal).unwrap();
    lost.decide(ReissueState::Declined);
    let error = lost.replace(&terminal).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("reissue_declined", 1));
    assert!(error.hint().unwrap().contains("card.json"), "{:?}", error.hint());
}

/// proves: C15
#[test]
fn c15_a_code_that_was_asked_for_again_replaces_the_one_from_before_and_lost_answers_change_nothing() {
    let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
    let disk = registered(&world, &device);
    let terminal = world.terminal(Arc::new(disk.clone()), &device);
    let first = recovery_code(&terminal, &CardChoice::Default).unwrap();
    let sent = world.faults.lock().unwrap().sent;
    world.faults.lock().unwrap().lose_answers = vec![sent];
    assert_eq!(recovery_code(&terminal, &CardChoice::Default).unwrap_err().code(), "unreachable");
    let second = recovery_code(&terminal, &CardChoice::Default).unwrap();
    assert!(first != second);
    assert_eq!(world.effects("recovery_code"), 2, "the repeat got the code that was lost on the way");
    for bytes in disk.all_bytes() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&first.to_string()) && !text.contains(&second.to_string()), "a code is on the disk");
    }
}

/// Where the power goes at every sync of the whole replacement, or the process dies: the same command goes on, one request is made, and the
/// library plays in the end.
fn interrupted(bug: Bug, seeds: u64) -> std::result::Result<u64, String> {
    let lost = Lost::new();
    let state = lost.world.authority.state.lock().unwrap().clone();
    let run = |plan: Plan, bug: Bug| {
        *lost.world.authority.state.lock().unwrap() = state.clone();
        let disk = lost.disk.snapshot();
        let below: Arc<dyn Io> = Arc::new(Buggy { inner: Arc::new(disk.clone()), bug });
        let faulty = Arc::new(FaultyIo::new(below, plan));
        let result = lost.world.try_terminal(faulty.clone(), &lost.device).and_then(|terminal| {
            lost.replace(&terminal)?;
            lost.decide(ReissueState::Done);
            lost.replace(&terminal)
        });
        (result.map(|_| ()), faulty.counts(), disk)
    };
    let (result, counts, _) = run(Plan::default(), Bug::None);
    result.map_err(|error| error.to_string())?;
    let check = |disk: &DiskModel, done: bool| -> std::result::Result<(), String> {
        let terminal = lost.terminal_on(disk);
        if done {
            open(&terminal).map_err(|error| format!("after success: {error}"))?;
        }
        let mut replaced = lost.replace(&terminal).map_err(|error| format!("the repeated command fails: {error}"))?;
        if matches!(replaced, Replaced::Waiting { .. }) {
            lost.decide(ReissueState::Done);
            replaced = lost.replace(&terminal).map_err(|error| format!("after the decision: {error}"))?;
        }
        if !matches!(replaced, Replaced::Done { .. }) {
            return Err("it still waits".into());
        }
        open(&terminal).map(|_| ()).map_err(|error| format!("the library does not play: {error}"))
    };
    let mut tried = 0;
    for sync in 0..=counts.syncs {
        let (result, _, disk) = run(Plan { kill_at_sync: Some(sync), ..Plan::default() }, bug);
        let after = lost.world.authority.state.lock().unwrap().clone();
        for seed in 0..seeds {
            *lost.world.authority.state.lock().unwrap() = after.clone();
            let disk = disk.lose_power(seed * 1000 + sync);
            check(&disk, result.is_ok()).map_err(|lost| format!("sync {sync}, seed {seed}: {lost}"))?;
            tried += 1;
        }
    }
    for number in 0..counts.operations {
        let (result, _, disk) = run(Plan { fail_at: Some(number), ..Plan::default() }, Bug::None);
        check(&disk, result.is_ok()).map_err(|lost| format!("operation {number}: {lost}"))?;
        tried += 1;
    }
    Ok(tried)
}

impl Lost {
    fn terminal_on(&self, disk: &DiskModel) -> Terminal {
        self.world.terminal(Arc::new(disk.clone()), &self.device)
    }
}

/// proves: C15
#[test]
fn c15_power_that_goes_anywhere_while_a_card_is_replaced_loses_nothing() {
    let tried = interrupted(Bug::None, seeds(3)).unwrap();
    assert!(tried > 60, "only {tried}");
}

#[test]
fn c15_notices_a_disk_that_does_not_sync() {
    interrupted(Bug::NoSync, 3).expect_err("planted bug");
}
