//! `/console`: where those work who run the authority, publish, exchange what broke, and answer those who ask.
//!
//! A page takes a [`Staff`], asks [`Staff::needs`] whether this role sees it at all (404 where not), reads through [`Staff::scope`], and is
//! shown in a [`Frame`]. What changes something comes as a [`Sent`], whose origin and form token were checked, runs the same action as the
//! API does, as [`Staff::caller`], and goes on with `done=` of the table in [`told`]. Everything works without scripts.

use std::sync::LazyLock;

use super::{assets, visitor::Fields};
use crate::app::App;
use crate::auth::Role;

pub mod audit;
pub mod batches;
pub mod confirm;
pub mod entrance;
pub mod factor;
pub mod hardware;
pub mod media;
pub mod orders;
pub mod overview;
pub mod people;
pub mod press;
pub mod reissue;
pub mod releases;
pub mod repair;
pub mod revoke;
pub mod rights;
pub mod search;
pub mod settings;
pub mod staff;
pub mod table;
pub mod tasks;
pub mod thing;
pub mod timeline;
pub mod titles;
pub mod tokens;
pub mod users;
pub mod webhooks;
pub mod words;

pub use staff::{Sees, Sent, Staff};

/// The parts of the console. In the order of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// How things stand.
    Overview,
    /// What was found.
    Search,
    /// Requests for new cards.
    Reissues,
    /// What is sold and owned.
    Titles,
    /// Pressing runs.
    Batches,
    /// Purchases.
    Orders,
    /// Who works here.
    Staff,
    /// Bearer tokens.
    Tokens,
    /// Who is told of events.
    Webhooks,
    /// What was done, by whom.
    Audit,
    /// How the server is set.
    Settings,
    /// One's own way in.
    Security,
    /// Users, devices, cards, drives, media: found, not listed.
    Things,
}

/// An entry of the menu: section, address, name, who sees it, and the heading that it stands under.
type Listed = (Section, &'static str, &'static str, Sees, &'static str);

const MENU: &[Listed] = &[
    (Section::Overview, "/console", "Overview", Sees::Everybody, ""),
    (Section::Search, "/console/search", "Find", Sees::Things, ""),
    (Section::Reissues, "/console/reissues", "Lost cards", Sees::Entries, "People"),
    (Section::Orders, "/console/orders", "Orders", Sees::Orders, "People"),
    (Section::Titles, "/console/titles", "Titles", Sees::Catalogue, "Catalogue"),
    (Section::Batches, "/console/batches", "Batches", Sees::Catalogue, "Catalogue"),
    (Section::Staff, "/console/staff", "Staff", Sees::Operators, "Authority"),
    (Section::Tokens, "/console/tokens", "Tokens", Sees::Operators, "Authority"),
    (Section::Webhooks, "/console/webhooks", "Webhooks", Sees::Publishers, "Authority"),
    (Section::Audit, "/console/audit", "Audit log", Sees::Operators, "Authority"),
    (Section::Settings, "/console/settings", "Settings", Sees::Operators, "Authority"),
];

/// What stands around every page: the field `frame` of its template, which extends `console/frame.html`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Name of the authority.
    pub authority: String,
    /// Who is signed in.
    pub name: String,
    /// As what: `Operator`, or `Publisher blue-fox`.
    pub role: String,
    /// The menu.
    pub groups: Vec<Group>,
    /// Whether the search box is there.
    pub finds: bool,
    /// What was looked for.
    pub asked: String,
    /// What was just done.
    pub told: Option<&'static str>,
    /// For the form that signs out.
    pub form: String,
}

/// Entries of the menu under one heading.
#[derive(Clone, Debug)]
pub struct Group {
    /// Empty for the first.
    pub name: &'static str,
    /// Below it.
    pub entries: Vec<super::Entry>,
}

impl Frame {
    /// For a page of `section`, seen by `staff`.
    pub fn new(app: &App, staff: &Staff, section: Section) -> Self {
        Self { groups: menu(staff.role(), section), ..Self::bare(app, staff) }
    }

    /// The same with what was just done: `done=` in the query names a sentence, so that no link can put words on a page.
    pub fn told(app: &App, staff: &Staff, section: Section, query: Option<&str>) -> Self {
        let done = Fields::parse(query.unwrap_or_default().as_bytes());
        Self { told: told(done.text("done")), ..Self::new(app, staff, section) }
    }

    /// Without a menu, for who has to set up something first.
    pub fn bare(app: &App, staff: &Staff) -> Self {
        let role = words::role(staff.role());
        Self {
            authority: app.name.clone(),
            name: staff.row().name.clone(),
            role: staff.row().tenant.as_ref().map_or_else(|| role.to_owned(), |tenant| format!("{role} {tenant}")),
            groups: vec![],
            finds: staff.is_complete() && Sees::Things.admits(staff.role()),
            asked: String::new(),
            told: None,
            form: staff.form_token(),
        }
    }
}

fn menu(role: Role, here: Section) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    for (section, path, name, _, heading) in MENU.iter().filter(|(.., sees, _)| sees.admits(role)) {
        let entry = super::Entry { path, name, here: *section == here };
        match groups.iter_mut().find(|group| group.name == *heading) {
            Some(group) => group.entries.push(entry),
            None => groups.push(Group { name: heading, entries: vec![entry] }),
        }
    }
    groups
}

/// Addresses of the styles: that of all pages, and what the console adds.
pub fn styles() -> [&'static str; 2] {
    static STYLES: LazyLock<[String; 2]> = LazyLock::new(|| ["style.css", "console.css"].map(assets::address));
    [&STYLES[0], &STYLES[1]]
}

/// Address of the icon.
pub fn icon() -> &'static str {
    static ICON: LazyLock<String> = LazyLock::new(|| assets::address("icon.svg"));
    &ICON
}

/// What a page says was done: a word of the query, and the sentence that it stands for.
pub fn told(word: &str) -> Option<&'static str> {
    TOLD.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
}

/// In the order of the alphabet, so that two who add one do not meet at the end.
const TOLD: &[(&str, &str)] = &[
    ("card-revoked", "The card is dead: it registers nobody and claims nothing any more."),
    ("codes-off", "One-time codes are off."),
    (
        "codes-on",
        "One-time codes are on. Every other browser is signed out. Make recovery codes, under your name, for the day the phone is lost.",
    ),
    ("decided", "This request was decided already."),
    ("declined", "The request is declined."),
    ("erased", "The person is erased. What the user owns stays theirs."),
    ("exchanged", "It is exchanged: its copies are free, and can be made again on the new one."),
    ("license-ended", "The license has ended, and its place is free."),
    ("medium-retired", "The medium is out of use."),
    ("order-ended", "The order has ended, with everything that came of it."),
    ("out", "You are signed out."),
    ("passkey", "The passkey is kept. Every other browser is signed out. Make recovery codes, under your name, for the day it is lost."),
    ("passkey-removed", "The passkey is removed."),
    ("password", "The password is changed, and every other browser signed out."),
    ("pressed", "The batch is made. Its identities can be taken away now, or at any time."),
    ("release", "It is so from now on."),
    ("replaced", "The card is replaced. The old one is dead, and everything plays with the new one."),
    ("resent", "It is sent again."),
    ("rights", "The rights are changed."),
    ("session", "That browser is signed out."),
    ("staff-ended", "They are signed out, and cannot sign in any more."),
    ("tested", "A test is on its way; look at the deliveries in a moment."),
    ("token-revoked", "The token is taken back."),
    ("webhook-ended", "The webhook has ended."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_shows_a_role_what_it_may_open_and_nothing_else() {
        let names =
            |role| menu(role, Section::Overview).into_iter().flat_map(|group| group.entries).map(|entry| entry.name).collect::<Vec<_>>();
        assert_eq!(names(Role::Operator).len(), MENU.len());
        assert_eq!(names(Role::Publisher), ["Overview", "Find", "Titles", "Batches", "Webhooks"]);
        assert_eq!(names(Role::Repair), ["Overview", "Find", "Lost cards"]);
        assert_eq!(names(Role::Shop), ["Overview"]);
        assert!(TOLD.is_sorted());
    }
}
