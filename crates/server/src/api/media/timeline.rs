//! What happened to a medium, from its records in the audit log, in words for people.

use counterfoil_core::{Code, ProviderId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::page::rfc3339;
use crate::store::audit_log::Record;

/// Something that happened to a medium.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MediumEvent {
    /// When.
    pub at: String,
    /// What.
    pub event: String,
    /// The same for people, without a word of users.
    pub text: String,
    /// Whether something was refused.
    pub refused: bool,
    /// The particulars, for the operator: they tell of users.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
    /// Who did it, for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// What a medium presented that is superseded: an old copy of it, or a clone.
pub const SUPERSEDED: &str = "medium.superseded_presented";
/// What publishers and operators do to it, without having it.
const FROM_AFAR: [&str; 3] = ["medium.rights_changed", "medium.refresh_ordered", "medium.retired"];

/// What is said of a medium as a whole.
#[derive(Default)]
pub struct Summary {
    /// When it was first heard of.
    pub first_seen_at: Option<String>,
    /// When its first copy was claimed.
    pub claimed_at: Option<String>,
    /// When it last moved on to a newer claim secret.
    pub refreshed_at: Option<String>,
    /// How often an old copy, or a clone, was presented.
    pub superseded: usize,
}

impl Summary {
    /// Of the records of its family, oldest first.
    pub fn of(records: &[Record]) -> Self {
        let of = |event: &str| records.iter().filter(|record| record.event == event).map(|record| rfc3339(record.at)).collect::<Vec<_>>();
        Self {
            first_seen_at: records.iter().find(|record| !FROM_AFAR.contains(&record.event.as_str())).map(|record| rfc3339(record.at)),
            claimed_at: of("claim.granted").into_iter().next(),
            refreshed_at: of("medium.refreshed").pop(),
            superseded: of(SUPERSEDED).len(),
        }
    }
}

/// The members of a record's particulars that tell of no user.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Particulars {
    copy: Option<u32>,
    epoch: Option<u32>,
    newest: Option<u32>,
    code: Option<Code>,
    operation: Option<String>,
    provider: Option<ProviderId>,
    refresh: bool,
}

/// An event, with its particulars where they may be seen.
pub fn event(record: Record, everything: bool) -> MediumEvent {
    let refused = record.event == SUPERSEDED || record.event.ends_with(".refused");
    MediumEvent {
        at: rfc3339(record.at),
        text: text(&record),
        refused,
        detail: everything.then(|| serde_json::from_str(&record.detail).unwrap_or_default()),
        actor: everything.then_some(record.actor),
        event: record.event,
    }
}

fn text(record: &Record) -> String {
    // What does not fit is left out; the event says what it was.
    let Particulars { copy, epoch, newest, code, operation, provider, refresh } = serde_json::from_str(&record.detail).unwrap_or_default();
    let (epoch, newest) = (epoch.unwrap_or_default(), newest.unwrap_or_default());
    let provider = provider.map_or_else(|| "a provider".to_owned(), |id| format!("provider {id}"));
    match record.event.as_str() {
        "medium.inspected" => "Looked at".to_owned(),
        "claim.granted" => format!("Copy {} claimed", copy.unwrap_or(1)),
        "claim.repeated" => "The same copy claimed again, before it was complete".to_owned(),
        "copy.confirmed" => "Copy complete".to_owned(),
        "library.healed" => "A damaged copy healed".to_owned(),
        "medium.verified" => format!("Vouched for to {provider}"),
        "medium.refresh_ordered" => "Refresh ordered".to_owned(),
        "medium.refreshed" => format!("Refreshed: it has proven itself under claim secret {epoch}"),
        "medium.rights_changed" if refresh => "Rights changed, and a refresh ordered".to_owned(),
        "medium.rights_changed" => "Rights changed".to_owned(),
        "medium.retired" => "Taken out of use".to_owned(),
        SUPERSEDED => {
            let what = operation.as_deref().unwrap_or("a request");
            format!("Refused ({what}): an old copy of this medium, or a clone, with claim secret {epoch}; the newest seen is {newest}")
        }
        event => match (event.strip_suffix(".refused"), code) {
            (Some("verify"), Some(code)) => format!("Not vouched for to {provider}: {code}"),
            (Some(what), Some(code)) => format!("Refused ({what}): {code}"),
            _ => event.to_owned(),
        },
    }
}
