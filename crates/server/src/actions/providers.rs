//! Providers (B4): the operator registers them, with the publishers whose media they may have judged.

use counterfoil_core::ProviderId;
use counterfoil_core::wire::provider_address;
use serde_json::json;

use super::checks::{check_name, check_url};
use crate::api::providers::{NewProvider, ProviderDocument, ProvidersDocument};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::provider::{self, MOST, Provider};
use crate::store::{audit, pseudonym, publisher};

/// Publishers whose media one provider may have judged.
const MOST_PUBLISHERS: usize = 100;

/// Registers a provider.
///
/// # Errors
/// `unprocessable`.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewProvider) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    let now = app.clock.now().0;
    let provider = Provider {
        id: ProviderId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes())),
        name: new.name.trim().to_owned(),
        // As terminals spell it, so that the two can be compared.
        url: provider_address(&check_url(&new.url)?),
        created_at: now,
    };
    let mut publishers = new.publishers;
    publishers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    publishers.dedup();
    if publishers.is_empty() || publishers.len() > MOST_PUBLISHERS {
        return Err(wrong(format!("`publishers` has 1 to {MOST_PUBLISHERS} entries")));
    }
    let (actor, pseudonym_key, family) = (caller.actor(), app.rng.bytes(), provider::family(provider.id));
    once.write(app, "add_provider", family.clone(), async move |tx: &mut Tx| {
        if provider::list(tx).await?.len() as i64 >= MOST {
            return Err(wrong(format!("{MOST} providers are the most")));
        }
        for one in &publishers {
            publisher::get(tx, &Scope::All, one).await?.ok_or_else(|| wrong(format!("there is no publisher `{}`", one.as_str())))?;
        }
        pseudonym::settle_key(tx, pseudonym_key).await?;
        provider::insert(tx, &provider, &publishers).await?;
        let detail = json!({ "name": provider.name, "url": provider.url, "publishers": publishers });
        audit::append(tx, &family, now, &actor, "provider.added", &detail).await?;
        Ok(Reply::created(&ProviderDocument::of(provider.clone(), publishers.clone())))
    })
    .await
}

/// Those that are registered, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App) -> Result<ProvidersDocument, Problem> {
    let items = app
        .db
        .read("providers", async move |tx: &mut Tx| -> Result<Vec<ProviderDocument>, Problem> {
            let mut items = vec![];
            for one in provider::list(tx).await? {
                let publishers = provider::publishers(tx, one.id).await?;
                items.push(ProviderDocument::of(one, publishers));
            }
            Ok(items)
        })
        .await?;
    Ok(ProvidersDocument { items })
}

/// One of them.
///
/// # Errors
/// `not_found`; a failure of the database.
pub async fn get(app: &App, id: ProviderId) -> Result<ProviderDocument, Problem> {
    app.db
        .read("provider", async move |tx: &mut Tx| -> Result<ProviderDocument, Problem> {
            let one = provider::find(tx, id).await?.ok_or(ApiCode::NotFound)?;
            Ok(ProviderDocument::of(one, provider::publishers(tx, id).await?))
        })
        .await
}

/// Ends one: nothing is judged for it any more, and its tokens are good for nothing, from this moment on.
///
/// # Errors
/// `not_found`.
pub async fn end(app: &App, caller: &Caller, once: &Once, id: ProviderId) -> Result<Reply, Problem> {
    let (now, actor, family) = (app.clock.now().0, caller.actor(), provider::family(id));
    once.write(app, "end_provider", family.clone(), async move |tx: &mut Tx| {
        if !provider::end(tx, id, now).await? {
            return Err(ApiCode::NotFound.into());
        }
        audit::append(tx, &family, now, &actor, "provider.ended", &json!({})).await?;
        Ok(Reply::no_content())
    })
    .await
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}
