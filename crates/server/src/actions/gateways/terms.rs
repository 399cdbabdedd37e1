//! Terms of a gateway that change from a moment on (C17). What was prepared before keeps those that it was made under.

use counterfoil_core::{GatewayId, Timestamp};
use serde_json::json;

use super::{check_share, known, live};
use crate::api::gateways::terms::{NewTerms, TermsDocument};
use crate::api::page::{Page, PageQuery, rfc3339};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::gateway;
use crate::store::gateway::terms::{self, Terms};

/// Sets the share that holds from a moment on: from now, or from one to come.
///
/// # Errors
/// `not_found`; `conflict` where it has ended; `unprocessable` for a share that is none, and a moment that has passed.
pub async fn put(app: &App, caller: &Caller, once: &Once, id: GatewayId, new: NewTerms) -> Result<Reply, Problem> {
    check_share(new.share)?;
    let now = app.clock.now();
    let since = new.from.as_deref().map_or(Ok(now), moment)?;
    if since < now {
        return Err(Problem::with(ApiCode::Unprocessable, "`from` has passed: what was charged keeps the share that it was charged under"));
    }
    let (actor, family) = (caller.actor(), gateway::family(id));
    once.write(app, "set_gateway_terms", family.clone(), async move |tx: &mut Tx| {
        // What was before stays so until this is written.
        audit::hold(tx, &family).await?;
        let before = live(tx, id, now).await?;
        let set = Terms { since, share: new.share, created_at: now, actor: actor.clone() };
        terms::put(tx, id, &set).await?;
        let detail = json!({ "gateway": id, "share": new.share, "before": before.share, "from": rfc3339(since.0) });
        audit::append(tx, &family, now.0, &actor, "gateway.terms_set", &detail).await?;
        Ok(Reply::created(&TermsDocument::from(set)))
    })
    .await
}

/// Terms of a gateway, those that it began with first.
///
/// # Errors
/// `not_found`.
pub async fn list(app: &App, id: GatewayId, query: PageQuery) -> Result<Page<TermsDocument>, Problem> {
    let (after, rows) = (query.after.as_deref().filter(|after| !after.is_empty()).map(cursor).transpose()?, query.rows());
    let found = app
        .db
        .read("list_gateway_terms", async move |tx: &mut Tx| -> Result<_, Problem> {
            // As they were when it was made known: before anything else was said.
            let first = known(tx, id, Timestamp(i64::MIN)).await?;
            let mut found = match after {
                None => vec![Terms { since: first.created_at, share: first.share, created_at: first.created_at, actor: String::new() }],
                Some(_) => vec![],
            };
            found.extend(terms::list(tx, id, after.unwrap_or(Timestamp(i64::MIN)), rows).await?);
            Ok(found)
        })
        .await?;
    Ok(Page::of(found, &query, |row: &Terms| row.since.0.to_string(), TermsDocument::from))
}

fn moment(text: &str) -> Result<Timestamp, Problem> {
    let read: Result<jiff::Timestamp, _> = text.parse();
    let wrong = |_| Problem::with(ApiCode::Unprocessable, "`from` is a moment such as 2026-12-01T00:00:00Z");
    read.map(|at| Timestamp(at.as_millisecond())).map_err(wrong)
}

fn cursor(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map(Timestamp).map_err(|_| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of a page before, or absent"))
}
