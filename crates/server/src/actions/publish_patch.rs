//! Publishing a patch, or deltas: both releases are the title's, and its bytes are in the contents store.
//!
//! What it says is not looked into: a wrong patch gives chunks that no manifest names, and terminals fetch chunks instead.

use counterfoil_core::TitleId;
use serde_json::json;

use super::checks::check_text;
use crate::api::deltas::DeltaDocument;
use crate::api::patches::{NewPatch, PatchDocument};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::delta::{self, Delta};
use crate::store::patch::{self, Patch};
use crate::store::{audit, release, title};

/// Longest name of an encoder, in bytes, as in the header of a patch.
const MAX_ENCODER: usize = 64;

/// Adds a patch to a title, or deltas, which say how many sealed bytes of chunks they give. The same again changes nothing, another one
/// between the same releases takes its place.
///
/// # Errors
/// `not_found`; `unprocessable` for releases or an object that are not there, or do not fit.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: TitleId, new: NewPatch, covered: Option<u64>) -> Result<Reply, Problem> {
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
        let (reply, event) = match covered {
            None => (put_patch(tx, &id, &row).await?, "patch.published"),
            Some(covered) => (put_delta(tx, &id, Delta { patch: row.clone(), covered }).await?, "delta.published"),
        };
        if reply.is_new {
            let detail = json!({ "from": row.from, "to": row.to, "object": row.object, "length": row.length, "encoder": row.encoder });
            audit::append(tx, &family, now, &actor, event, &detail).await?;
        }
        Ok(reply.reply)
    })
    .await
}

/// The answer, and whether anything has changed.
struct Put {
    reply: Reply,
    is_new: bool,
}

async fn put_patch(tx: &mut Tx, id: &TitleId, row: &Patch) -> Result<Put, Problem> {
    match patch::get(tx, id, &row.from, &row.to).await? {
        Some(there) if same(&there, row) => Ok(Put { reply: Reply::ok(&PatchDocument::from(there)), is_new: false }),
        _ => {
            patch::put(tx, id, row).await?;
            Ok(Put { reply: Reply::created(&PatchDocument::from(row.clone())), is_new: true })
        }
    }
}

async fn put_delta(tx: &mut Tx, id: &TitleId, row: Delta) -> Result<Put, Problem> {
    match delta::get(tx, id, &row.patch.from, &row.patch.to).await? {
        Some(there) if same(&there.patch, &row.patch) && there.covered == row.covered => {
            Ok(Put { reply: Reply::ok(&DeltaDocument::from(there)), is_new: false })
        }
        _ => {
            delta::put(tx, id, &row).await?;
            Ok(Put { reply: Reply::created(&DeltaDocument::from(row)), is_new: true })
        }
    }
}

fn same(there: &Patch, row: &Patch) -> bool {
    (there.object, &there.encoder) == (row.object, &row.encoder)
}

fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, what.to_string())
}
