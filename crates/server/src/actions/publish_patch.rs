//! Publishing a patch: both releases are the title's, and its bytes are in the contents store.
//!
//! What it says is not looked into: a wrong patch gives chunks that no manifest names, and terminals fetch chunks instead.

use counterfoil_core::TitleId;
use serde_json::json;

use super::checks::check_text;
use crate::api::patches::{NewPatch, PatchDocument};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::patch::{self, Patch};
use crate::store::{audit, release, title};

/// Longest name of an encoder, in bytes, as in the header of a patch.
const MAX_ENCODER: usize = 64;

/// Adds a patch to a title; the same again changes nothing, another one between the same releases takes its place.
///
/// # Errors
/// `not_found`; `unprocessable` for releases or an object that are not there, or do not fit.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: TitleId, new: NewPatch) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), title::family(&id));
    check_text(&new.encoder)?;
    if new.encoder.len() > MAX_ENCODER {
        return Err(wrong(format_args!("`encoder` has at most {MAX_ENCODER} bytes")));
    }
    if new.from == new.to {
        return Err(wrong("a patch goes from one release to another"));
    }
    // Before the store is asked: whoever may not see the title does not learn what objects there are.
    let (name, to_see) = (id.clone(), scope.clone());
    app.db
        .read("patch_check", async move |tx: &mut Tx| -> Result<(), Problem> {
            title::get(tx, &to_see, &name).await?.ok_or(ApiCode::NotFound)?;
            Ok(())
        })
        .await?;
    match app.blobs.length(new.object).await? {
        Some(length) if length == new.length => {}
        Some(length) => return Err(wrong(format_args!("object {} has {length} bytes, not {}", new.object, new.length))),
        None => return Err(wrong(format_args!("object {} is not in the contents store; upload it first", new.object))),
    }
    let NewPatch { from, to, object, length, encoder } = new;
    let row = Patch { from, to, object, length, encoder, created_at: now };
    once.write(app, "publish_patch", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        let mut generations = vec![];
        for version in [&row.from, &row.to] {
            let missing = || wrong(format_args!("the title has no release {version}"));
            generations.push(release::get(tx, &id, version).await?.ok_or_else(missing)?.generation);
        }
        if generations[0] != generations[1] {
            return Err(wrong("the two releases are sealed under content keys of different generations"));
        }
        if let Some(there) = patch::get(tx, &id, &row.from, &row.to).await?
            && (there.object, &there.encoder) == (row.object, &row.encoder)
        {
            return Ok(Reply::ok(&PatchDocument::from(there)));
        }
        patch::put(tx, &id, &row).await?;
        let detail = json!({ "from": row.from, "to": row.to, "object": row.object, "length": row.length, "encoder": row.encoder });
        audit::append(tx, &family, now, &actor, "patch.published", &detail).await?;
        Ok(Reply::created(&PatchDocument::from(row.clone())))
    })
    .await
}

fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, what.to_string())
}
