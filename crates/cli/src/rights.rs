//! `rights`: what media allow, shown and changed: one, a batch, those that fit (B2, B7).

use clap::{Args, Subcommand};
use counterfoil_core::rules::rights::RightsChange;
use counterfoil_core::{BatchId, MediumId, Rights};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::inspect;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;
use crate::units;

/// For publishers: what your media allow
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  counterfoil rights show --medium ACWS-…-0001
  counterfoil rights set --medium ACWS-…-0001 copies=2 upload=yes --reason 'asked for by mail'
  counterfoil rights set --batch ACWS-… upload=yes upload_mib=256
  counterfoil rights set --batch ACWS-… --from 1 --to 500 --state claimed transfer=no")]
pub enum RightsCommand {
    Show(Show),
    Set(Set),
}

/// Show what a medium or a batch allows
#[derive(Args, Debug)]
pub struct Show {
    #[command(flatten)]
    of: Of,
}

/// Change what a medium allows, or a batch, or those of a batch that fit
///
/// The database decides from that moment on. Writable media are brought the new rights, with a new claim secret, when they are next heard of;
/// on read-only media the rights stay as pressed. A medium that was changed by itself, or as one that fits, keeps its own rights whatever
/// becomes of its batch's.
#[derive(Args, Debug)]
pub struct Set {
    #[command(flatten)]
    of: Of,
    /// copies and upload_mib (numbers), download, upload, upload_readable, update, play, transfer (yes or no), expires (a date), or anything
    /// that your program reads; KEY= takes away what may be absent
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = right)]
    rights: Vec<(String, String)>,
    /// Of the batch only from this number on
    #[arg(long, value_name = "N", requires = "batch")]
    from: Option<i64>,
    /// Of the batch only up to this number
    #[arg(long, value_name = "N", requires = "batch")]
    to: Option<i64>,
    /// Of the batch only those in this state
    #[arg(long, value_name = "STATE", requires = "batch", value_parser = ["unclaimed", "claimed", "retired"])]
    state: Option<String>,
    /// For the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Leave what is on the media as it is
    #[arg(long)]
    no_refresh: bool,
}

/// A medium or a batch.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Of {
    /// Which medium
    #[arg(long, value_name = "MEDIUM-ID")]
    medium: Option<MediumId>,
    /// Which batch
    #[arg(long, value_name = "BATCH-ID")]
    batch: Option<BatchId>,
}

impl Of {
    /// Its path below the API.
    pub fn path(&self) -> String {
        match (&self.medium, &self.batch) {
            (Some(medium), _) => format!("/v1/media/{medium}"),
            (None, batch) => format!("/v1/batches/{}", batch.as_ref().map(ToString::to_string).unwrap_or_default()),
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        match (&self.medium, &self.batch) {
            (Some(medium), _) => format!("medium {medium}"),
            (None, batch) => format!("batch {}", batch.as_ref().map(ToString::to_string).unwrap_or_default()),
        }
    }
}

/// What there is of a medium or a batch, as far as it is told here.
#[derive(Deserialize)]
struct Document {
    rights: Rights,
    count: Option<u64>,
    epoch: Option<u32>,
    target_epoch: Option<u32>,
}

/// What became of one part of a query.
#[derive(Deserialize)]
struct Part {
    matched: u64,
    changed: u64,
    next: Option<i64>,
}

#[derive(Serialize)]
struct Query<'a> {
    rights: &'a RightsChange,
    reason: &'a str,
    refresh: bool,
    from: Option<i64>,
    until: Option<i64>,
    state: Option<&'a str>,
}

impl RightsCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        match self {
            RightsCommand::Show(Show { of }) => show(context, &of, &api.get(&of.path())?),
            RightsCommand::Set(set) => set.run(context, &api),
        }
    }
}

fn show(context: &Context, of: &Of, value: &Value) -> Result<(), Failure> {
    let document: Document = serde_json::from_value(value.clone()).map_err(not_understood)?;
    context.output.result(value, || {
        let mut text = format!("{}: {}\n", of.words(), inspect::rights(&document.rights));
        if let (Some(epoch), Some(target)) = (document.epoch, document.target_epoch)
            && epoch < target
        {
            text += &format!("refresh    under way: epoch {epoch} was seen last, {target} waits for the medium to be presented\n");
        }
        text
    })
}

impl Set {
    fn run(self, context: &Context, api: &Api) -> Result<(), Failure> {
        let change = change(&self.rights)?;
        let selected = self.from.is_some() || self.to.is_some() || self.state.is_some();
        if let (Some(batch), true) = (&self.of.batch, selected) {
            return self.query(context, api, *batch, &change);
        }
        let body = json!({ "rights": change, "reason": self.reason, "refresh": !self.no_refresh });
        let value: Value = api.patch(&format!("{}/rights", self.of.path()), &body)?;
        show(context, &self.of, &value)
    }

    /// Part after part, as the authority takes them.
    fn query(&self, context: &Context, api: &Api, batch: BatchId, change: &RightsChange) -> Result<(), Failure> {
        let document: Document = api.get(&format!("/v1/batches/{batch}"))?;
        let last = self.to.unwrap_or(i64::MAX).min(document.count.and_then(|count| i64::try_from(count).ok()).unwrap_or(i64::MAX));
        let first = self.from.unwrap_or(1).max(1);
        let total = u64::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
        let progress = Progress::counting(&context.output, "changed", Unit::Media);
        let (mut matched, mut changed, mut from) = (0, 0, Some(first));
        while let Some(at) = from {
            let state = self.state.as_deref();
            let query = Query { rights: change, reason: &self.reason, refresh: !self.no_refresh, from: Some(at), until: self.to, state };
            let part: Part = api.post(&format!("/v1/batches/{batch}/media/rights"), None, &query)?;
            (matched, changed) = (matched + part.matched, changed + part.changed);
            // Whoever sends one back would have one ask for ever.
            from = part.next.filter(|next| *next > at);
            progress.at(u64::try_from(from.unwrap_or(last + 1) - first).unwrap_or(total), total);
        }
        progress.finish();
        context.output.result(&json!({ "batch": batch, "matched": matched, "changed": changed }), || {
            let (matched, changed) = (units::count(matched, "medium fits", "media fit"), units::count(changed, "is", "are"));
            format!("batch {batch}: {matched}, the rights of {changed} others now\n")
        })
    }
}

/// `key=value`, or `key=`.
fn right(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a right is KEY=VALUE, such as transfer=no".to_owned()),
    }
}

/// As it is sent. What is given reads as at `press`.
fn change(given: &[(String, String)]) -> Result<RightsChange, Failure> {
    let mut change = RightsChange::default();
    for (key, value) in given {
        let mut one = Rights::default();
        if !value.is_empty() {
            crate::press::rights::set(&mut one, key, value)?;
        }
        let named = !value.is_empty();
        match key.as_str() {
            "upload_mib" => change.upload_mib = Some(one.upload_mib),
            "expires" => change.expires_at = Some(one.expires_at),
            "copies" if named => change.copies = Some(one.copies),
            "download" if named => change.download = Some(one.download),
            "upload" if named => change.upload = Some(one.upload),
            "upload_readable" if named => change.upload_readable = Some(one.upload_readable),
            "update" if named => change.update = Some(one.update),
            "play" if named => change.play = Some(one.play),
            "transfer" if named => change.transfer = Some(one.transfer),
            "copies" | "download" | "upload" | "upload_readable" | "update" | "play" | "transfer" => {
                return Err(Failure::usage(format!("the right {key} cannot be taken away, only set to another value")));
            }
            _ => {
                change.attributes.insert(key.clone(), named.then(|| value.clone()));
            }
        }
    }
    Ok(change)
}

pub fn not_understood(error: serde_json::Error) -> Failure {
    Failure::operation("answer_invalid", format!("the authority answered with something else than was asked for: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Result<Value, Failure> {
        let given: Vec<_> = texts.iter().map(|text| right(text).expect("key and value")).collect();
        change(&given).map(|change| serde_json::to_value(change).expect("JSON"))
    }

    #[test]
    fn b2_only_what_is_named_is_sent() {
        assert_eq!(given(&["upload=yes", "copies=2"]).expect("good"), json!({ "upload": true, "copies": 2 }));
        assert_eq!(given(&["transfer=no"]).expect("good"), json!({ "transfer": false }));
        let taken = given(&["upload_mib=", "expires=", "region="]).expect("good");
        assert_eq!(taken, json!({ "upload_mib": null, "expires_at": null, "attributes": { "region": null } }));
        let set = given(&["upload_mib=9", "expires=2027-01-01", "region=eu"]).expect("good");
        assert_eq!(set, json!({ "upload_mib": 9, "expires_at": 1_798_761_600_000_i64, "attributes": { "region": "eu" } }));
    }

    #[test]
    fn b2_what_makes_no_sense_is_named() {
        for bad in ["copies=", "copies=two", "play=perhaps", "play=", "expires=tomorrow"] {
            assert_eq!(given(&[bad]).expect_err("bad").code, "usage", "{bad}");
        }
        assert!(right("play").is_err() && right("=x").is_err());
    }
}
