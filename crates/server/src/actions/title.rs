//! Making titles, each with its first content key, and handing that key to its publisher.

use counterfoil_core::TitleId;
use counterfoil_format::grant::{purpose, seal_box};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::checks::check_name;
use crate::api::titles::{ContentKeyDocument, NewTitle, TitleDocument};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::publisher::{self, PublisherId};
use crate::store::title::{self, Title};
use crate::store::{audit, content_key};

/// Of the content key that a title begins with.
const FIRST_GENERATION: u32 = 1;

/// Adds a title with a random content key (C1); the same again changes nothing.
///
/// # Errors
/// `unprocessable` for a publisher that is missing; `conflict` when the name is taken.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewTitle) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    let owner = owner(&caller.scope(), new.publisher)?;
    let now = app.clock.now().0;
    let row = Title { id: new.title, publisher: owner, name: new.name, kind: new.kind, generation: FIRST_GENERATION, created_at: now };
    let mut rng = app.rng.clone();
    let place = Place::ContentKey { title: row.id.as_str(), generation: FIRST_GENERATION };
    let wrapped = app.keys.wrap(&place, Secret::<32>::random(&mut rng).expose(), &mut rng)?;
    let (actor, scope) = (caller.actor(), caller.scope());
    let family = title::family(&row.id);
    once.write(app, "create_title", family.clone(), async move |tx: &mut Tx| {
        let there = title::get(tx, &Scope::All, &row.id).await?;
        if let Some(there) = there {
            let same = there.publisher == row.publisher && there.name == row.name && there.kind == row.kind;
            return match scope.covers(there.publisher.as_str()) {
                true if same => Ok(Reply::ok(&TitleDocument::from(there))),
                true => Err(Problem::with(ApiCode::Conflict, "the title exists with another name, kind or publisher")),
                false => Err(Problem::with(ApiCode::Conflict, "the title's name is taken")),
            };
        }
        publisher::get(tx, &scope, &row.publisher)
            .await?
            .ok_or_else(|| Problem::with(ApiCode::Unprocessable, "there is no such publisher"))?;
        if !title::insert(tx, &row).await? {
            return Err(tx.conflict("the title").into());
        }
        content_key::insert(tx, &row.id, FIRST_GENERATION, &wrapped, now).await?;
        let detail = json!({ "publisher": row.publisher.as_str(), "name": row.name, "kind": row.kind });
        audit::append(tx, &family, now, &actor, "title.made", &detail).await?;
        Ok(Reply::created(&TitleDocument::from(row.clone())))
    })
    .await
}

/// A publisher makes titles of its own; the operator says whose.
fn owner(scope: &Scope, given: Option<PublisherId>) -> Result<PublisherId, Problem> {
    match (scope, given) {
        (Scope::All, Some(given)) => Ok(given),
        (Scope::All, None) => Err(Problem::with(ApiCode::Unprocessable, "`publisher` says whose title it is")),
        (Scope::Publisher(own), None) => own.parse().map_err(|_| Problem::with(ApiCode::Unprocessable, "the token has no publisher")),
        (Scope::Publisher(own), Some(given)) if given.as_str() == own => Ok(given),
        (Scope::Publisher(_), Some(_)) => Err(Problem::with(ApiCode::Unprocessable, "there is no such publisher")),
    }
}

/// Hands out the newest content key of a title, sealed to a key of its publisher. Recorded before it leaves.
///
/// # Errors
/// `not_found`; `unprocessable` for a key that nothing can be sealed to.
pub async fn content_key(app: &App, caller: &Caller, once: &Once, id: TitleId, recipient: SealingPublicKey) -> Result<Reply, Problem> {
    let now = app.clock.now().0;
    let (scope, name) = (caller.scope(), id.clone());
    let (generation, wrapped) = app
        .db
        .read("content_key", async move |tx: &mut Tx| -> Result<(u32, Vec<u8>), Problem> {
            let title = title::get(tx, &scope, &name).await?.ok_or(ApiCode::NotFound)?;
            let wrapped = content_key::get(tx, &name, title.generation).await?;
            Ok((title.generation, wrapped.ok_or_else(|| Problem::internal(format!("title {name} has no content key")))?))
        })
        .await?;
    let key: Secret<32> = app.keys.open(&app.db, &Place::ContentKey { title: id.as_str(), generation }, &wrapped).await?;
    let sealed_for = [purpose::CONTENT_KEY, id.as_str(), &generation.to_string()];
    let sealed = seal_box(&recipient, &sealed_for, key.expose(), &mut app.rng.clone())
        .map_err(|_| Problem::with(ApiCode::Unprocessable, "nothing can be sealed to this recipient's key"))?;
    let document = ContentKeyDocument { generation, sealed: serde_json::to_value(&sealed).map_err(Problem::internal)? };
    let actor = caller.actor();
    let family = title::family(&id);
    once.write(app, "hand_out_content_key", family.clone(), async move |tx: &mut Tx| {
        let detail = json!({ "generation": generation, "recipient": recipient });
        audit::append(tx, &family, now, &actor, "content_key.handed_out", &detail).await?;
        Ok(Reply::ok(&document))
    })
    .await
}
