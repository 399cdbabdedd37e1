//! Importing media whose IDs were made elsewhere, line by line (B1).

use std::collections::BTreeSet;

use counterfoil_core::{BatchId, MediumId};
use serde::Deserialize;
use serde_json::json;

use crate::api::batches::{Imported, RejectedLine};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, Origin};
use crate::store::{audit, imported};

/// Lines of one call: a transaction that others need not wait for long.
const MAX_LINES: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    medium_id: String,
}

/// Takes every line that is right, and says what is wrong with the others; for a dry run, only says what would become of them.
///
/// # Errors
/// `not_found`; `unprocessable` for a batch whose IDs are made here; `too_large` for too many lines.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: BatchId, body: &[u8], dry_run: bool) -> Result<Reply, Problem> {
    let lines = Lines::parse(body)?;
    let now = app.clock.now().0;
    let (actor, scope, family) = (caller.actor(), caller.scope(), batch::family(id));
    if dry_run {
        once.by_nature();
        let looked = app.db.read("media to import", async move |tx: &mut Tx| compare(tx, &scope, id, &lines).await).await?;
        return Ok(Reply::ok(&looked.answer));
    }
    once.write(app, "import_media", family.clone(), async move |tx: &mut Tx| {
        let Compared { batch, new, answer } = compare(tx, &scope, id, &lines).await?;
        let inserted = imported::insert(tx, id, batch.count + 1, &new, now).await?;
        let total = batch.count + i64::try_from(new.len()).unwrap_or(i64::MAX);
        if inserted != new.len() || !(new.is_empty() || batch::advance(tx, id, batch.count, total).await?) {
            return Err(tx.conflict("the list of media").into());
        }
        if let (Some(first), Some(last)) = (new.first(), new.last()) {
            let detail = json!({ "from": batch.count + 1, "until": total, "first": first, "last": last });
            audit::append(tx, &family, now, &actor, "media.imported", &detail).await?;
        }
        Ok(Reply::ok(&answer))
    })
    .await
}

/// Lines beside what is here.
struct Compared {
    batch: Batch,
    new: Vec<MediumId>,
    answer: Imported,
}

async fn compare(tx: &mut Tx, scope: &Scope, id: BatchId, lines: &Lines) -> Result<Compared, Problem> {
    let batch = batch::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    if batch.origin != Origin::Imported {
        return Err(Problem::with(ApiCode::Unprocessable, "the IDs of this batch are made here; make a batch with `imported: true`"));
    }
    let media: Vec<MediumId> = lines.good.iter().map(|(_, medium)| medium.clone()).collect();
    let there = imported::batches_of(tx, &media).await?;
    let new: Vec<MediumId> = media.iter().filter(|medium| !there.contains_key(medium)).cloned().collect();
    let elsewhere = lines.good.iter().filter(|(_, medium)| there.get(medium).is_some_and(|other| *other != id));
    let mut rejected: Vec<RejectedLine> =
        elsewhere.map(|(line, medium)| reject(*line, medium.as_str(), "it belongs to another batch")).collect();
    let repeated = lines.doubled + media.len() - new.len() - rejected.len();
    rejected.extend(lines.bad.iter().map(|(line, medium, reason)| RejectedLine {
        line: *line,
        medium_id: medium.clone(),
        reason: reason.clone(),
    }));
    rejected.sort_by_key(|rejected| rejected.line);
    Ok(Compared { batch, answer: Imported { imported: new.len(), repeated, rejected }, new })
}

/// What was handed in, each ID once.
struct Lines {
    good: Vec<(usize, MediumId)>,
    doubled: usize,
    bad: Vec<(usize, Option<String>, String)>,
}

impl Lines {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut lines = Self { good: vec![], doubled: 0, bad: vec![] };
        let mut seen = BTreeSet::new();
        for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if number > MAX_LINES {
                return Err(Problem::with(ApiCode::TooLarge, format!("at most {MAX_LINES} lines a call")));
            }
            match parse(line) {
                Ok(medium) if seen.insert(medium.clone()) => lines.good.push((number, medium)),
                Ok(_) => lines.doubled += 1,
                Err((medium, reason)) => lines.bad.push((number, medium, reason)),
            }
        }
        Ok(lines)
    }
}

fn parse(line: &[u8]) -> Result<MediumId, (Option<String>, String)> {
    let Line { medium_id } =
        serde_json::from_slice(line).map_err(|_| (None, "a line is one JSON object: {\"medium_id\": \"…\"}".to_owned()))?;
    match medium_id.parse::<MediumId>() {
        // `med-…` is what media pressed here are called; one that parses may be another batch's, even one that is still to be made.
        Ok(medium) if medium.batch_and_serial().is_some() => Err((Some(medium_id), "it looks like an ID that is pressed here".to_owned())),
        Ok(medium) => Ok(medium),
        Err(error) => Err((Some(medium_id), error.to_string())),
    }
}

fn reject(line: usize, medium: &str, reason: &str) -> RejectedLine {
    RejectedLine { line, medium_id: Some(medium.to_owned()), reason: reason.to_owned() }
}
