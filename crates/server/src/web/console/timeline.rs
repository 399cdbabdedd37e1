//! What happened to something, newest first: the audit log of its family, in words.

use serde_json::Value;

use super::words::{self, Why};
use crate::api::page::rfc3339;
use crate::db::{DbError, Tx};
use crate::store::audit_log::{self, Record};

/// Events on a page.
const SHOWN: usize = 50;

/// The field `timeline` of a template that includes `console/timeline.html`.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Newest first.
    pub events: Vec<Event>,
    /// Where older ones are, where there are any.
    pub older: Option<String>,
    /// Where the newest are, where these are not.
    pub newest: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, RFC 3339.
    pub at: String,
    /// What, in words.
    pub text: String,
    /// `bad` where something was refused.
    pub tone: &'static str,
    /// Who did it; nobody where that is not for whoever looks.
    pub actor: Option<String>,
    /// Why it was refused, where it was.
    pub why: Option<Why>,
    /// The particulars: name and value.
    pub facts: Vec<(String, String)>,
}

/// Which part of a timeline is asked for: `before=` of the query.
pub fn before(query: Option<&str>) -> Option<i64> {
    crate::web::visitor::Fields::parse(query.unwrap_or_default().as_bytes()).text("before").parse().ok()
}

/// A page of the records of a family, newest first, before a place in its chain. One query.
///
/// # Errors
/// A failure of the database.
pub async fn read(tx: &mut Tx, family: &str, before: Option<i64>) -> Result<Vec<Record>, DbError> {
    audit_log::newest(tx, family, before.unwrap_or(i64::MAX), SHOWN as i64 + 1).await
}

/// The same of a device, drive, order or license, which has no family of its own: what names it in its user's.
///
/// # Errors
/// A failure of the database.
pub async fn read_naming(tx: &mut Tx, family: &str, id: &str, before: Option<i64>) -> Result<Vec<Record>, DbError> {
    audit_log::naming(tx, family, id, before.unwrap_or(i64::MAX), SHOWN as i64 + 1).await
}

impl Timeline {
    /// Of what [`read`] found, on the page at `path`.
    pub fn of(records: Vec<Record>, before: Option<i64>, path: &str) -> Self {
        Self::told(records, before, path, true)
    }

    /// The same for a publisher: nothing of users, and not who.
    pub fn without_persons(records: Vec<Record>, before: Option<i64>, path: &str) -> Self {
        Self::told(records, before, path, false)
    }

    fn told(mut records: Vec<Record>, before: Option<i64>, path: &str, everything: bool) -> Self {
        let more = records.len() > SHOWN;
        records.truncate(SHOWN);
        let older = records.last().filter(|_| more).map(|last| format!("{path}?before={}#timeline", last.seq));
        let newest = before.map(|_| format!("{path}#timeline"));
        Self { events: records.into_iter().map(|record| Event::of(record, everything)).collect(), older, newest }
    }
}

impl Event {
    /// Of a record.
    pub fn of(record: Record, everything: bool) -> Self {
        let detail: Value = serde_json::from_str(&record.detail).unwrap_or_default();
        let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let why = text("code").map(|code| Why::of(&code, text("detail").filter(|_| everything)));
        let refused = why.is_some() || record.event.ends_with("refused") || record.event.ends_with("turned_up");
        let bad = refused || matches!(record.event.as_str(), "card.revoked" | "license.revoked" | "medium.superseded_presented");
        Self {
            at: rfc3339(record.at),
            text: words::event(&record.event),
            tone: if bad { "bad" } else { "" },
            actor: everything.then(|| words::actor(&record.actor)),
            why,
            facts: if everything { facts(&detail) } else { vec![] },
        }
    }
}

/// The members of a record's particulars, as people read them.
fn facts(detail: &Value) -> Vec<(String, String)> {
    let Some(members) = detail.as_object() else { return vec![] };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let told = members.iter().filter(|(name, value)| !matches!(name.as_str(), "code" | "detail") && !value.is_null());
    told.map(|(name, value)| (name.replace('_', " "), plain(value))).collect()
}
