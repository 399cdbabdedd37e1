//! What webhooks can be told: each event, the record of the audit log that it is told of, and what of the record is passed on.
//!
//! A record's particulars are for the operator's log. Only members that are named here leave, and none that is a secret, a text that somebody
//! typed, or a person's; of users no more than IDs, and those only to the operator's webhooks.

use std::collections::BTreeSet;

use counterfoil_core::{
    BatchId, CardId, DeviceId, DriveId, EntitlementId, GrantId, HolderId, LicenseId, MediumId, OrderId, ProviderId, ReissueId, RepairId,
    Rights, Timestamp, TitleId, UploadId, UserId,
};
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::store::publisher::PublisherId;

pub use table::EVENTS;

mod table;

/// The batch of the examples.
const EXAMPLES_BATCH: BatchId = BatchId([1, 35, 69, 103, 137, 171, 205, 239]);

/// What a webhook is told when it is tried.
pub const TEST: &str = "webhook.test";

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A medium, and so its publisher's.
    Medium,
    /// A batch, and so its publisher's.
    Batch,
    /// A title, and so its publisher's.
    Title,
    /// A publisher, its own.
    Publisher,
    /// A user's entry; only the operator is told.
    User,
    /// A card; only the operator is told.
    Card,
    /// A provider; only the operator is told.
    Provider,
}

/// Something that a webhook can be told.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// As in `type`.
    pub name: &'static str,
    /// The record of the audit log.
    pub record: &'static str,
    /// What it is about.
    pub kind: Kind,
    /// In words.
    pub says: &'static str,
    /// Members of the particulars that every webhook is told.
    pub open: &'static [&'static str],
    /// Those that only the operator's are told.
    pub closed: &'static [&'static str],
    /// Particulars as they may be, for the documentation.
    pub example: &'static str,
}

/// What an event is about, read from the family of its record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A medium.
    Medium(MediumId),
    /// A batch.
    Batch(BatchId),
    /// A title.
    Title(TitleId),
    /// A publisher.
    Publisher(PublisherId),
    /// Anything that is only the operator's business.
    Other(String),
}

impl Kind {
    /// The subject that a family of the audit log is; none where it is another kind's.
    pub fn read(self, family: &str) -> Option<Subject> {
        let below = |prefix: &str| family.strip_prefix(prefix);
        match self {
            Self::Medium => family.parse().ok().filter(|_| !family.starts_with('/')).map(Subject::Medium),
            Self::Batch => below("/batch/")?.parse().ok().map(Subject::Batch),
            Self::Title => below("/title/")?.parse().ok().map(Subject::Title),
            Self::Publisher => below("/publisher/")?.parse().ok().map(Subject::Publisher),
            Self::User => family.parse::<UserId>().ok().map(|id| Subject::Other(id.to_string())),
            Self::Card => family.parse::<HolderId>().ok().map(|id| Subject::Other(CardId::from(id).to_string())),
            Self::Provider => below("/provider/")?.parse::<ProviderId>().ok().map(|id| Subject::Other(id.to_string())),
        }
    }

    /// Whether publishers are told, of what is theirs.
    pub fn is_publishers(self) -> bool {
        matches!(self, Self::Medium | Self::Batch | Self::Title | Self::Publisher)
    }
}

impl Subject {
    /// As in `data.id`.
    pub fn id(&self) -> String {
        match self {
            Self::Medium(id) => id.to_string(),
            Self::Batch(id) => id.to_string(),
            Self::Title(id) => id.to_string(),
            Self::Publisher(id) => id.to_string(),
            Self::Other(id) => id.clone(),
        }
    }
}

/// A record of the audit log, as a webhook is told of it.
pub struct Told<'a> {
    /// Of what.
    pub subject: &'a Subject,
    /// The medium's batch, where the subject is a medium.
    pub batch: Option<BatchId>,
    /// The record's place in its subject's chain.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Its particulars.
    pub detail: &'a Value,
}

impl Event {
    /// The body of a delivery, for the operator's webhooks or a publisher's.
    pub fn body(&self, told: &Told<'_>, operators: bool) -> String {
        let mut data = Map::from_iter([("id".to_owned(), json!(told.subject.id())), ("seq".to_owned(), json!(told.seq))]);
        if let Some(batch) = told.batch {
            data.insert("batch".to_owned(), json!(batch.to_string()));
        }
        let closed = if operators { self.closed } else { &[] };
        for member in self.open.iter().chain(closed) {
            if let Some(value) = told.detail.get(*member).filter(|value| !value.is_null()) {
                data.insert((*member).to_owned(), value.clone());
            }
        }
        body(self.name, told.at, data)
    }
}

/// The body of a delivery: Standard Webhooks, "Payload structure".
pub fn body(name: &str, at: Timestamp, data: Map<String, Value>) -> String {
    json!({ "type": name, "timestamp": rfc3339(at), "data": data }).to_string()
}

/// The event that a record in a family is, with its subject.
pub fn find(record: &str, family: &str) -> Option<(&'static Event, Subject)> {
    EVENTS.iter().filter(|event| event.record == record).find_map(|event| event.kind.read(family).map(|subject| (event, subject)))
}

/// Which events a webhook wants: names, `medium.*`, or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(Vec<String>);

impl Wanted {
    /// Reads a list; sorted, each once.
    ///
    /// # Errors
    /// The first that no event is called, or that a publisher may not be told.
    pub fn parse(given: Vec<String>, operators: bool) -> Result<Self, String> {
        if given.is_empty() || given.len() > EVENTS.len() {
            return Err(format!("`events` has 1 to {} entries", EVENTS.len()));
        }
        let known = |one: &String| EVENTS.iter().any(|event| (operators || event.kind.is_publishers()) && matches(one, event.name));
        if let Some(wrong) = given.iter().find(|one| !known(one)) {
            let wrong: String = wrong.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(format!("`events`: there is no event `{wrong}`; GET /v1/webhook-events lists those that there are"));
        }
        Ok(Self(given.into_iter().collect::<BTreeSet<_>>().into_iter().collect()))
    }

    /// As it is kept.
    pub fn to_json(&self) -> String {
        json!(self.0).to_string()
    }

    /// From the database.
    pub fn of_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// As they were given.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether an event is among them.
    pub fn wants(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(group) if group.ends_with('.') => name.starts_with(group),
        _ => pattern == name,
    }
}

/// Every event with an example, in Markdown: the generated part of `docs/webhooks.md`.
pub fn documentation() -> String {
    let mut text = String::new();
    for event in EVENTS {
        text += &format!("### `{}`\n\n{}", event.name, event.says);
        text += if event.kind.is_publishers() { "\n" } else { " For the operator only.\n" };
        if event.kind.is_publishers() && !event.closed.is_empty() {
            let members: Vec<_> = event.closed.iter().map(|member| format!("`{member}`")).collect();
            text += &format!("For the operator only: {}.\n", members.join(", "));
        }
        text += &format!("\n```json\n{}\n```\n\n", example(event));
    }
    text
}

/// An event as the operator's webhooks are told of it.
pub fn example(event: &Event) -> String {
    let medium = MediumId::pressed(EXAMPLES_BATCH, 7);
    let family = match event.kind {
        Kind::Medium => medium.to_string(),
        Kind::Batch => format!("/batch/{EXAMPLES_BATCH}"),
        Kind::Title => "/title/sky-raider".to_owned(),
        Kind::Publisher => "/publisher/blue-fox".to_owned(),
        Kind::User => UserId::from_bytes([1; 16]).to_string(),
        Kind::Card => HolderId::from_bytes([2; 16]).to_string(),
        Kind::Provider => format!("/provider/{}", ProviderId::from_bytes([10; 16])),
    };
    let subject = event.kind.read(&family).expect("the families above are those that the kinds read");
    let batch = medium.batch_and_serial().map(|(batch, _)| batch).filter(|_| event.kind == Kind::Medium);
    let detail = serde_json::from_str(&filled(event.example)).expect("the examples in the table are JSON, which a test holds");
    let told = Told { subject: &subject, batch, seq: 7, at: Timestamp(1_767_225_600_000), detail: &detail };
    let value: Value = serde_json::from_str(&event.body(&told, true)).expect("a body is JSON");
    serde_json::to_string_pretty(&value).expect("a value has a JSON form")
}

/// An example with real IDs and rights in the place of their names.
fn filled(example: &str) -> String {
    let id = |n: u8| [n; 16];
    let of = |rights: &Rights| json!(rights).to_string();
    let names = [
        ("\"USR\"", json!(UserId::from_bytes(id(1))).to_string()),
        ("\"CRD\"", json!(CardId::from_bytes(id(2))).to_string()),
        ("\"CRD2\"", json!(CardId::from_bytes(id(12))).to_string()),
        ("\"REP\"", json!(RepairId::from_bytes(id(13))).to_string()),
        ("\"REI\"", json!(ReissueId::from_bytes(id(14))).to_string()),
        ("\"DEV\"", json!(DeviceId::from_bytes(id(3))).to_string()),
        ("\"DEV2\"", json!(DeviceId::from_bytes(id(4))).to_string()),
        ("\"DRV\"", json!(DriveId::from_bytes(id(5))).to_string()),
        ("\"GRT\"", json!(GrantId::from_bytes(id(6))).to_string()),
        ("\"ORD\"", json!(OrderId::from_bytes(id(7))).to_string()),
        ("\"ENT\"", json!(EntitlementId::from_bytes(id(8))).to_string()),
        ("\"LIC\"", json!(LicenseId::from_bytes(id(9))).to_string()),
        ("\"PRV\"", json!(ProviderId::from_bytes(id(10))).to_string()),
        ("\"UPL\"", json!(UploadId::from_bytes(id(11))).to_string()),
        ("\"MED\"", json!(MediumId::pressed(EXAMPLES_BATCH, 7)).to_string()),
        ("\"BAT\"", json!(EXAMPLES_BATCH).to_string()),
        ("RIGHTS1", of(&Rights::default())),
        ("RIGHTS2", of(&Rights { copies: 2, ..Rights::default() })),
    ];
    names.iter().fold(example.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own_and_an_example_that_shows_all_its_members() {
        let names: BTreeSet<_> = EVENTS.iter().map(|event| event.name).collect();
        assert_eq!(names.len(), EVENTS.len());
        for event in EVENTS {
            let shown: Value = serde_json::from_str(&example(event)).unwrap();
            let example: Value = serde_json::from_str(&filled(event.example)).unwrap();
            for member in event.open.iter().chain(event.closed) {
                let there = example.get(*member).unwrap_or_else(|| panic!("{}: the example has no {member}", event.name));
                assert!(there.is_null() || shown["data"][*member] == *there, "{}", event.name);
            }
            assert!(shown["data"]["id"].is_string() && shown["data"]["seq"] == 7, "{shown}");
            assert!(event.kind.is_publishers() || event.closed.is_empty(), "{}: only the operator is told anyway", event.name);
        }
    }

    #[test]
    fn what_somebody_typed_and_what_is_secret_stays_here() {
        for event in EVENTS {
            for member in event.open.iter().chain(event.closed) {
                let private = ["reason", "note", "transaction", "recipient", "contact", "email", "slot", "session", "token", "wrapped"];
                assert!(!private.contains(member), "{}: {member}", event.name);
            }
            assert!(!event.open.iter().any(|member| ["user", "card", "device", "drive"].contains(member)) || !event.kind.is_publishers());
        }
    }

    #[test]
    fn a_record_is_told_only_of_what_it_is_about() {
        let (user, medium) = (UserId::from_bytes([1; 16]).to_string(), MediumId::pressed(EXAMPLES_BATCH, 1).to_string());
        assert_eq!(find("library.healed", &medium).unwrap().0.name, "medium.healed");
        assert!(find("library.healed", &user).is_none() && find("claim.refused", &user).is_none());
        assert!(find("claim.refused", "/stranger/7").is_none() && find("title.made", "/batch/bat-0123456789abcdef").is_none());
        assert_eq!(find("claim.granted", "DISC-0001").unwrap().1, Subject::Medium("DISC-0001".parse().unwrap()));
        assert_eq!(find("title.made", "/title/sky-raider").unwrap().1.id(), "sky-raider");
        assert!(find("account.signed_in", &user).is_none());
    }

    #[test]
    fn what_is_wanted_is_told_by_name_group_or_everything() {
        let wanted = |names: &[&str], operators| Wanted::parse(names.iter().map(|&name| name.to_owned()).collect(), operators);
        let group = wanted(&["medium.*", "order.placed"], true).unwrap();
        assert!(group.wants("medium.claimed") && group.wants("order.placed") && !group.wants("order.paid") && !group.wants("media.x"));
        assert!(wanted(&["*"], false).unwrap().wants("medium.claimed"));
        for (bad, operators) in
            [(&["medium.claim"][..], true), (&["med*"], true), (&[], true), (&["order.*"], false), (&["order.placed"], false)]
        {
            assert!(wanted(bad, operators).is_err(), "{bad:?}");
        }
    }
}
