//! Making a batch: what will be pressed, decided once, so that every identity of it can be derived.

use counterfoil_core::{BatchId, Channel, Rights};
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::checks::check_text;
use super::press;
use crate::api::batches::{BatchDocument, NewBatch, NewBatchTitle};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, BatchTitle};
use crate::store::publisher::PublisherId;
use crate::store::{audit, release, title};

/// Titles that fit on one medium; the size of the identity area limits them further.
pub(super) const MAX_TITLES: usize = 64;
/// Copies of one medium; what is meant as "any number" is no copy management.
const MAX_COPIES: u32 = 1_000_000;

/// Makes a batch with a claim key of its own.
///
/// # Errors
/// `unprocessable` for titles that are missing, of several publishers or without a release, and for rights that cannot be.
pub async fn run(app: &App, caller: &Caller, once: &Once, new: NewBatch) -> Result<Reply, Problem> {
    check_text(&new.name)?;
    check_rights(&new.rights)?;
    let (origin, count) = new.origin()?;
    if !(1..=MAX_TITLES).contains(&new.titles.len()) {
        return Err(wrong(format_args!("a medium has 1 to {MAX_TITLES} titles")));
    }
    let (scope, wanted) = (caller.scope(), new.titles);
    let (publisher, titles) =
        app.db.read("create_batch_check", async move |tx: &mut Tx| -> Result<_, Problem> { choose(tx, &scope, &wanted).await }).await?;

    let now = app.clock.now();
    let id = BatchId(app.rng.bytes());
    let mut rng = app.rng.clone();
    let secret = Secret::<32>::random(&mut rng);
    let claim_key = app.keys.wrap(&Place::ClaimKey { batch: &id.to_string() }, secret.expose(), &mut rng)?;
    let (name, rights, paid_on_copy) = (new.name, new.rights, new.paid_on_copy);
    let row = Batch { id, publisher, name, origin, count, rights, claim_key, created_at: now.0, refreshes: 0, paid_on_copy };

    press::check_size(app, &row, &titles, ClaimSecretKey::new(secret)).await?;

    let (actor, owner) = (caller.actor(), row.publisher.family());
    // In its publisher's family, because a repeat of the request would draw another ID.
    once.write(app, "create_batch", owner.clone(), async move |tx: &mut Tx| {
        let made = Reply::created(&BatchDocument::of(row.clone(), &titles));
        if !batch::insert(tx, &row).await? {
            return Ok(made);
        }
        for (position, on) in (1..).zip(&titles) {
            batch::insert_title(tx, id, position, on).await?;
        }
        let on: Vec<_> = titles.iter().map(|on| json!({ "title": on.title, "version": on.version })).collect();
        let detail = json!({ "batch": id, "origin": row.origin.as_str(), "count": row.count, "titles": on, "rights": row.rights,
            "paid_on_copy": row.paid_on_copy });
        audit::append(tx, &owner, now.0, &actor, "batch.made", &detail).await?;
        Ok(made)
    })
    .await
}

/// Copies are at least 1 and not without end.
///
/// # Errors
/// `unprocessable`.
pub fn check_rights(rights: &Rights) -> Result<(), Problem> {
    if !(1..=MAX_COPIES).contains(&rights.copies) {
        return Err(wrong(format_args!("`rights.copies` is 1 to {MAX_COPIES}")));
    }
    Ok(())
}

/// The titles with the releases that they are pressed in, and whose they are.
pub(super) async fn choose(tx: &mut Tx, scope: &Scope, wanted: &[NewBatchTitle]) -> Result<(PublisherId, Vec<BatchTitle>), Problem> {
    let mut owner = None;
    let mut chosen: Vec<BatchTitle> = vec![];
    for want in wanted {
        let name = &want.title;
        let found = title::get(tx, scope, name).await?.ok_or_else(|| wrong(format_args!("there is no title {name}")))?;
        if *owner.get_or_insert_with(|| found.publisher.clone()) != found.publisher {
            return Err(wrong("the titles of a batch are of one publisher"));
        }
        if chosen.iter().any(|on| on.title == *name) {
            return Err(wrong(format_args!("title {name} is named twice")));
        }
        let release = match &want.version {
            Some(version) => {
                let found = release::get(tx, name, version).await?.filter(|release| release.said.withdrawn_at.is_none());
                found.ok_or_else(|| wrong(format_args!("title {name} has no release {version}, or it was withdrawn")))?
            }
            None => release::newest(tx, name, &Channel::default())
                .await?
                .ok_or_else(|| wrong(format_args!("title {name} has no release on the channel stable; publish one first, or name one")))?,
        };
        chosen.push(BatchTitle { title: name.clone(), version: release.version });
    }
    let owner = owner.ok_or_else(|| Problem::from(ApiCode::Unprocessable))?;
    Ok((owner, chosen))
}

pub(super) fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, what.to_string())
}
