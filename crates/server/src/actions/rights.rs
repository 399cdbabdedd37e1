//! Changing what media allow (B2), and refreshing them (B7): one, or all of a batch.

use counterfoil_core::rules::rights::RightsChange;
use counterfoil_core::{BatchId, MediumId, Rights, Timestamp};
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::checks::check_text;
use super::create_batch::check_rights;
use super::press;
use crate::api::batches::BatchDocument;
use crate::api::media;
use crate::api::rights::ChangeRights;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::audit::{self, Head};
use crate::store::batch::{self, Batch};
use crate::store::medium::{self, Known};

pub mod query;

/// Changes the rights of one medium, touched or not: from then on they are its own.
///
/// # Errors
/// `not_found`; `unprocessable` for rights that cannot be.
pub async fn of_medium(app: &App, caller: &Caller, once: &Once, id: MediumId, asked: ChangeRights) -> Result<Reply, Problem> {
    let scope = caller.scope();
    let (of, medium) = (scope.clone(), id.clone());
    let batch = app
        .db
        .read("batch of a medium", async move |tx: &mut Tx| -> Result<Batch, Problem> {
            let known = medium::known(tx, &medium).await?.ok_or(ApiCode::NotFound)?;
            let batch = batch::get(tx, &of, known.batch).await?.ok_or(ApiCode::NotFound)?;
            Ok(Batch { rights: known.rights, ..batch })
        })
        .await?;
    check(app, &batch, &asked).await?;
    let change = Change { actor: caller.actor(), asked, now: app.clock.now() };
    once.write(app, "medium rights", medium::family(&id), async move |tx: &mut Tx| {
        let head = audit::head(tx, &medium::family(&id)).await?;
        let known = medium::known(tx, &id).await?.ok_or(ApiCode::NotFound)?;
        change.medium(tx, head, &id, &known).await?;
        Ok(Reply::ok(&media::load(tx, &scope, &id).await?))
    })
    .await
}

/// Changes the rights of a batch, and so of all its media that have none of their own.
///
/// # Errors
/// As for [`of_medium`].
pub async fn of_batch(app: &App, caller: &Caller, once: &Once, id: BatchId, asked: ChangeRights) -> Result<Reply, Problem> {
    let scope = caller.scope();
    check(app, &find(app, &scope, id).await?, &asked).await?;
    let change = Change { actor: caller.actor(), asked, now: app.clock.now() };
    let reply = once
        .write(app, "batch rights", batch::family(id), async move |tx: &mut Tx| {
            let head = audit::head(tx, &batch::family(id)).await?;
            let row = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            change.batch(tx, head, &row).await?;
            document(tx, &scope, id).await
        })
        .await?;
    app.batches.forget(id);
    Ok(reply)
}

/// Orders a refresh of one medium.
///
/// # Errors
/// `not_found`.
pub async fn refresh_medium(app: &App, caller: &Caller, once: &Once, id: MediumId, reason: String) -> Result<Reply, Problem> {
    check_text(&reason)?;
    let (scope, actor, now, family) = (caller.scope(), caller.actor(), app.clock.now(), medium::family(&id));
    once.write(app, "refresh medium", family.clone(), async move |tx: &mut Tx| {
        let known = medium::known(tx, &id).await?.ok_or(ApiCode::NotFound)?;
        batch::get(tx, &scope, known.batch).await?.ok_or(ApiCode::NotFound)?;
        medium::touch(tx, &id, &known, now).await?;
        medium::order_refresh(tx, &id).await?;
        let detail = json!({ "epoch": known.target.saturating_add(1), "reason": reason });
        audit::append(tx, &family, now.0, &actor, "medium.refresh_ordered", &detail).await?;
        Ok(Reply::ok(&media::load(tx, &scope, &id).await?))
    })
    .await
}

/// Orders a refresh of all media of a batch.
///
/// # Errors
/// `not_found`.
pub async fn refresh_batch(app: &App, caller: &Caller, once: &Once, id: BatchId, reason: String) -> Result<Reply, Problem> {
    check_text(&reason)?;
    let (scope, actor, now, family) = (caller.scope(), caller.actor(), app.clock.now(), batch::family(id));
    let reply = once
        .write(app, "refresh batch", family.clone(), async move |tx: &mut Tx| {
            let row = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            batch::order_refresh(tx, id).await?;
            let detail = json!({ "refreshes": row.refreshes.saturating_add(1), "reason": reason });
            audit::append(tx, &family, now.0, &actor, "batch.refresh_ordered", &detail).await?;
            document(tx, &scope, id).await
        })
        .await?;
    app.batches.forget(id);
    Ok(reply)
}

async fn find(app: &App, scope: &Scope, id: BatchId) -> Result<Batch, Problem> {
    let scope = scope.clone();
    let found = app.db.read("batch", async move |tx: &mut Tx| batch::get(tx, &scope, id).await).await?;
    found.ok_or_else(|| ApiCode::NotFound.into())
}

async fn document(tx: &mut Tx, scope: &Scope, id: BatchId) -> Result<Reply, Problem> {
    let row = batch::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    let titles = batch::titles(tx, id).await?;
    Ok(Reply::ok(&BatchDocument::of(row, &titles)))
}

/// Whether the rights of a batch, or of one of its media, can be what they would be: also on a medium, where they are written with all else.
async fn check(app: &App, batch: &Batch, asked: &ChangeRights) -> Result<(), Problem> {
    check_text(&asked.reason)?;
    if asked.rights.is_empty() {
        return Err(Problem::with(ApiCode::Unprocessable, "no right is named that is to change"));
    }
    let changed = Batch { rights: asked.rights.of(&batch.rights), ..batch.clone() };
    check_rights(&changed.rights)?;
    let id = batch.id;
    let titles = app.db.read("titles of a batch", async move |tx: &mut Tx| batch::titles(tx, id).await).await?;
    let secret: Secret<32> = app.keys.open(&app.db, &Place::ClaimKey { batch: &id.to_string() }, &batch.claim_key).await?;
    press::check_size(app, &changed, &titles, ClaimSecretKey::new(secret)).await
}

/// A change that is carried out, where nothing has happened to the family since its `head` was read: what it changes was read after that.
struct Change {
    actor: String,
    asked: ChangeRights,
    now: Timestamp,
}

impl Change {
    fn rights(&self) -> &RightsChange {
        &self.asked.rights
    }

    fn detail(&self, before: &Rights, after: &Rights) -> serde_json::Value {
        json!({ "before": before, "after": after, "refresh": self.asked.refresh, "reason": self.asked.reason })
    }

    /// One medium; says whether anything was different before. Where not, nothing is written and no refresh is ordered.
    async fn medium(&self, tx: &mut Tx, head: Head, id: &MediumId, known: &Known) -> Result<bool, DbError> {
        let after = self.rights().of(&known.rights);
        if after == known.rights {
            return Ok(false);
        }
        medium::touch(tx, id, known, self.now).await?;
        medium::set_rights(tx, id, &after, known.rights.copies).await?;
        if self.asked.refresh {
            medium::order_refresh(tx, id).await?;
        }
        let detail = self.detail(&known.rights, &after);
        audit::append_after(tx, &medium::family(id), head, self.now.0, &self.actor, "medium.rights_changed", &detail).await?;
        Ok(true)
    }

    /// All media of a batch that have no rights of their own.
    async fn batch(&self, tx: &mut Tx, head: Head, row: &Batch) -> Result<(), DbError> {
        let after = self.rights().of(&row.rights);
        if after == row.rights {
            return Ok(());
        }
        batch::set_rights(tx, row.id, &after, row.rights.copies).await?;
        if self.asked.refresh {
            batch::order_refresh(tx, row.id).await?;
        }
        let detail = self.detail(&row.rights, &after);
        audit::append_after(tx, &batch::family(row.id), head, self.now.0, &self.actor, "batch.rights_changed", &detail).await.map(drop)
    }
}
