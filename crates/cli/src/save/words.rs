//! What `save` shows: for people, and for programs.

use counterfoil_core::wire::UploadedVersion;
use counterfoil_core::{Code, TitleId};
use counterfoil_terminal::save::{Conflict, Listed, Pulled, Pushed, Saves, Slot};
use serde_json::{Value, json};

use crate::units;

const READABLE: &str = "It is not sealed: the rights say that providers are to read it.";

/// After `save push`.
pub fn pushed(title: &TitleId, slot: &Slot, done: &Pushed) -> String {
    let Pushed { path, version, unchanged, resumed, sealed, used, quota } = done;
    if *unchanged {
        return format!("{title}: slot {slot} has it already, as version {version}\npath  {}\n", path.display());
    }
    let resumed = if *resumed { ", begun before" } else { "" };
    let mut text = format!("{title}: slot {slot} is at version {version}{resumed}\n");
    text += &format!("path  {}\nheld  {} of {}\n", path.display(), units::bytes(*used), units::bytes(*quota));
    if !sealed {
        text += &format!("{READABLE}\n");
    }
    text
}

/// The same for programs.
pub fn of_pushed(title: &TitleId, slot: &Slot, done: &Pushed) -> Value {
    let Pushed { path, version, unchanged, resumed, sealed, used, quota } = done;
    json!({
        "title": title, "slot": slot.as_str(), "path": path, "version": version, "unchanged": unchanged, "resumed": resumed,
        "sealed": sealed, "used": used, "quota": quota,
    })
}

/// After `save pull`.
pub fn pulled(title: &TitleId, done: &Pulled) -> String {
    let UploadedVersion { slot, version, at, .. } = &done.version;
    let is = if done.unchanged { "was there already:" } else { "is here:" };
    let by = device(&done.version);
    let mut text =
        format!("{title}: slot {slot} {is} version {version}, saved {} by {by}\npath  {}\n", units::moment(*at), done.path.display());
    if !done.sealed {
        text += &format!("{READABLE}\n");
    }
    text
}

/// The same for programs.
pub fn of_pulled(title: &TitleId, done: &Pulled) -> Value {
    json!({ "title": title, "path": done.path, "version": units::dated(&done.version), "unchanged": done.unchanged, "sealed": done.sealed })
}

/// `save list`.
pub fn listed(title: &TitleId, saves: &Saves) -> String {
    let mut text = String::new();
    let mut slot = "";
    for listed in &saves.versions {
        if listed.version.slot != slot {
            slot = &listed.version.slot;
            text += &format!("{slot}\n");
        }
        text += &line(listed);
    }
    if saves.versions.is_empty() {
        text += &format!("nothing of {title} was handed in\n");
    }
    text + &format!("held  {} of {}\n", units::bytes(saves.used), units::bytes(saves.quota))
}

fn line(listed: &Listed) -> String {
    let UploadedVersion { version, length, at, note, .. } = &listed.version;
    let mine = if listed.mine { " (this device)" } else { "" };
    let note = note.as_ref().map(|note| format!("  {}", note.escape_debug())).unwrap_or_default();
    let here: String = listed.here.iter().map(|path| format!("\n       here: {}", path.display())).collect();
    format!("  {version:>4}  {}  {}  {}{mine}{note}{here}\n", units::moment(*at), units::bytes(*length), device(&listed.version))
}

/// The same for programs.
pub fn of_saves(title: &TitleId, saves: &Saves) -> Value {
    let version = |listed: &Listed| {
        let mut value = units::dated(&listed.version);
        value["here"] = json!(listed.here);
        value["this_device"] = listed.mine.into();
        value
    };
    json!({
        "title": title, "versions": saves.versions.iter().map(version).collect::<Vec<_>>(),
        "used": saves.used, "quota": saves.quota, "readable": saves.readable,
    })
}

/// Both sides of a conflict.
pub fn conflict(conflict: &Conflict) -> String {
    let Conflict { slot, newest, follows } = conflict;
    let here = match follows {
        0 => "what lies here follows none of its versions".to_owned(),
        version => format!("what lies here follows version {version}"),
    };
    let by = device(newest);
    format!(
        "{}: slot {slot} has version {}, saved {} by {by}; {here}",
        Code::SaveConflict.message(),
        newest.version,
        units::moment(newest.at)
    )
}

/// What its user calls it, which is anybody's text; else its ID.
fn device(version: &UploadedVersion) -> String {
    version.device.as_ref().map_or_else(|| version.device_id.to_string(), |name| name.escape_debug().to_string())
}
