//! The fields of rights: what they hold, what was typed into them, and what would be otherwise by it.

use counterfoil_core::rules::rights::RightsChange;
use counterfoil_core::{Rights, Timestamp};

use crate::api::page::rfc3339;
use crate::problem::{ApiCode, Problem};
use crate::web::visitor::Fields;

/// A right that is allowed or not: its name, what people call it, what it is.
const SWITCHES: [(&str, &str, &str); 6] = [
    ("play", "Play", "from the library"),
    ("update", "Update", "to later releases"),
    ("download", "Download", "releases from the network"),
    ("transfer", "Transfer", "to another device of the user"),
    ("upload", "Upload", "saves, and what providers take"),
    ("upload_readable", "Readable uploads", "so that providers can read them"),
];

/// What the fields of a form of rights hold.
pub struct Kept {
    /// Whether the form changes what is there, so that everything may stay as it is.
    pub change: bool,
    /// Copies that can be claimed.
    pub copies: String,
    /// As they are now.
    pub copies_now: String,
    /// Allowed or not.
    pub switches: Vec<Switch>,
    /// A day; empty: as it is, or without end.
    pub expires: String,
    /// As it is now.
    pub expires_now: String,
    /// MiB; empty: as it is, or the usual.
    pub upload_mib: String,
    /// `name=value`, a line each.
    pub attributes: String,
}

/// One of the rights that are allowed or not.
pub struct Switch {
    /// As the form sends it.
    pub name: &'static str,
    /// As people read it.
    pub label: &'static str,
    /// What it is.
    pub about: &'static str,
    /// `yes` or `no` now.
    pub now: &'static str,
    /// `yes`, `no` or empty.
    pub chosen: String,
}

fn yes(allowed: bool) -> &'static str {
    if allowed { "yes" } else { "no" }
}

fn allows(rights: &Rights, name: &str) -> bool {
    match name {
        "play" => rights.play,
        "update" => rights.update,
        "download" => rights.download,
        "transfer" => rights.transfer,
        "upload" => rights.upload,
        _ => rights.upload_readable,
    }
}

impl Kept {
    /// For something new, with the usual rights.
    pub fn of(rights: &Rights) -> Self {
        let switch = |(name, label, about): (&'static str, &'static str, &'static str)| {
            let now = yes(allows(rights, name));
            Switch { name, label, about, now, chosen: now.to_owned() }
        };
        Self {
            change: false,
            copies: rights.copies.to_string(),
            copies_now: rights.copies.to_string(),
            switches: SWITCHES.into_iter().map(switch).collect(),
            expires: String::new(),
            expires_now: rights.expires_at.map_or_else(|| "without end".to_owned(), |at| rfc3339(at.0)),
            upload_mib: String::new(),
            attributes: String::new(),
        }
    }

    /// The same with what was typed.
    pub fn typed(fields: &Fields) -> Self {
        Self::of(&Rights::default()).with(fields)
    }

    /// For a change of what is there: nothing is chosen, so that everything stays.
    pub fn change(rights: &Rights, fields: &Fields) -> Self {
        let mut kept = Self { change: true, copies: String::new(), ..Self::of(rights) };
        kept.switches.iter_mut().for_each(|switch| switch.chosen.clear());
        kept.with(fields)
    }

    fn with(mut self, fields: &Fields) -> Self {
        let take = |into: &mut String, name: &str| {
            if let Some(typed) = fields.some(name) {
                *into = typed.to_owned();
            }
        };
        take(&mut self.copies, "copies");
        take(&mut self.expires, "expires");
        take(&mut self.upload_mib, "upload_mib");
        take(&mut self.attributes, "attributes");
        for switch in &mut self.switches {
            take(&mut switch.chosen, switch.name);
        }
        self
    }
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}

/// What a form says of rights; an empty field says nothing.
///
/// # Errors
/// `unprocessable`.
pub fn typed(fields: &Fields) -> Result<RightsChange, Problem> {
    let switch = |name: &str| match fields.text(name) {
        "" => Ok(None),
        "yes" => Ok(Some(true)),
        "no" => Ok(Some(false)),
        _ => Err(wrong(format!("{name}: yes or no"))),
    };
    let number = |name: &str, what: &str| match fields.some(name) {
        None => Ok(None),
        Some(text) => text.parse::<u32>().map(Some).map_err(|_| wrong(format!("{what}: a whole number"))),
    };
    let expires_at = match fields.some("expires") {
        None if fields.text("endless") == "yes" => Some(None),
        None => None,
        Some(text) => {
            let day: jiff::civil::Date = text.parse().map_err(|_| wrong("the last day is written as 2026-11-22"))?;
            let end = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong("there is no such day"))?.timestamp().as_millisecond();
            Some(Some(Timestamp(end + Timestamp::DAY)))
        }
    };
    let mut change = RightsChange {
        copies: number("copies", "copies")?,
        download: switch("download")?,
        upload: switch("upload")?,
        upload_mib: number("upload_mib", "MiB")?.map(Some),
        upload_readable: switch("upload_readable")?,
        update: switch("update")?,
        play: switch("play")?,
        transfer: switch("transfer")?,
        expires_at,
        attributes: Default::default(),
    };
    for line in fields.text("attributes").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("attributes are written as name=value, a line each"))?;
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        change.attributes.insert(name.trim().to_owned(), value);
    }
    Ok(change)
}

/// What is otherwise, a sentence each.
pub fn difference(before: &Rights, after: &Rights) -> Vec<String> {
    let mut said = vec![];
    let mut compare = |what: &str, was: String, is: String| {
        if was != is {
            said.push(format!("{what}: {was} → {is}"));
        }
    };
    compare("Copies", before.copies.to_string(), after.copies.to_string());
    for (name, label, _) in SWITCHES {
        compare(label, yes(allows(before, name)).to_owned(), yes(allows(after, name)).to_owned());
    }
    let end = |rights: &Rights| rights.expires_at.map_or_else(|| "without end".to_owned(), |at| rfc3339(at.0));
    compare("Can be copied until", end(before), end(after));
    let held = |rights: &Rights| format!("{} MiB", rights.upload_mib.unwrap_or(Rights::UPLOAD_MIB));
    compare("Uploads held", held(before), held(after));
    let of = |rights: &Rights, name: &str| rights.attributes.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
    let names: std::collections::BTreeSet<&String> = before.attributes.keys().chain(after.attributes.keys()).collect();
    for name in names {
        compare(name, of(before, name), of(after, name));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        Fields::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn only_what_is_chosen_changes() {
        assert!(typed(&fields(&[("copies", ""), ("play", ""), ("attributes", "\n")])).unwrap().is_empty());
        let change =
            typed(&fields(&[("copies", "3"), ("play", "no"), ("expires", "2026-01-01"), ("attributes", "edition = gold\nold=")])).unwrap();
        let before = Rights { attributes: [("old".to_owned(), "x".to_owned())].into(), ..Rights::default() };
        let after = change.of(&before);
        assert_eq!((after.copies, after.play, after.update), (3, false, true));
        assert_eq!(after.expires_at, Some(Timestamp(1_767_225_600_000 + Timestamp::DAY)), "the day itself is still good");
        assert_eq!(after.attributes, [("edition".to_owned(), "gold".to_owned())].into());
        let said = difference(&before, &after);
        assert!(said.contains(&"Play: yes → no".to_owned()) && said.contains(&"old: x → nothing".to_owned()), "{said:?}");
        assert_eq!(typed(&fields(&[("endless", "yes")])).unwrap().expires_at, Some(None));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for pairs in
            [[("copies", "many")], [("play", "maybe")], [("expires", "tomorrow")], [("attributes", "gold")], [("upload_mib", "-1")]]
        {
            assert!(typed(&fields(&pairs)).is_err(), "{pairs:?}");
        }
    }
}
