//! Deletes a person's data on request: one transaction of the user's family; the names that they signed in with go by the outbox.

use counterfoil_core::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::checks::check_name;
use crate::api::page::rfc3339;
use crate::api::people::ErasedPerson;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::account::{self, Email};
use crate::store::erased::{self, Erased};
use crate::store::{audit, outbox, user};

/// Outbox: an erased person signs in no more by a name.
pub const RELEASE_NAME: &str = "release_name";

/// What such a message says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseName {
    /// Whose it was.
    pub user: UserId,
    /// Its family.
    pub name: String,
}

/// Does so; the second time it deletes what has come since. What is kept, and why, is in docs/data.md.
///
/// # Errors
/// `not_found`; `unprocessable` without a reason.
pub async fn run(app: &App, actor: String, once: &Once, user: UserId, reason: String) -> Result<Reply, Problem> {
    if check_name(&reason).is_err() {
        return Err(Problem::with(ApiCode::Unprocessable, "`reason`: 1 to 200 characters of one line, which are kept; name nobody in it"));
    }
    let (family, now) = (user::family(user), app.clock.now());
    let reply = once
        .write(app, "erase_person", family.clone(), async move |tx: &mut Tx| -> Result<Reply, Problem> {
            audit::hold(tx, &family).await?;
            if !account::user_exists(tx, user).await? {
                return Err(ApiCode::NotFound.into());
            }
            let names = erased::sign_in_names(tx, user).await?;
            let gone = Erased { sign_in_names: names.len() as u64, ..erased::forget(tx, user, &actor, now).await? };
            for name in &names {
                let payload = json!(ReleaseName { user, name: name.clone() }).to_string();
                outbox::enqueue(tx, &family, &format!("release:{name}"), RELEASE_NAME, &payload, now.0, now.0).await?;
            }
            let detail = json!({ "reason": reason, "erased": gone });
            audit::append(tx, &family, now.0, &actor, "person.erased", &detail).await?;
            Ok(Reply::ok(&ErasedPerson { user_id: user, erased_at: rfc3339(now.0), erased: gone }))
        })
        .await?;
    app.outbox.notify_one();
    Ok(reply)
}

/// Gives up a name that an erased person signed in with; not one that they have taken again since. Within a transaction of the name's family.
///
/// # Errors
/// A failure of the database.
pub async fn release(tx: &mut Tx, told: &ReleaseName, now: Timestamp) -> Result<(), DbError> {
    let ReleaseName { user, name } = told;
    let account = account::find(tx, *user).await?;
    let taken_again = account.is_some_and(|account| Email::parse(&account.email).is_some_and(|email| email.family() == *name));
    if !taken_again && account::release_name(tx, name, *user).await? {
        audit::append(tx, name, now.0, "/erased", "sign_in_name.released", &json!({})).await?;
    }
    Ok(())
}
