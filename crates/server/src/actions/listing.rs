//! Listing a title for sale, and its pictures (D2): by its publisher, or the operator.

use std::collections::BTreeSet;
use std::convert::Infallible;

use bytes::Bytes;
use counterfoil_core::TitleId;
use counterfoil_format::content::ObjectName;
use futures_util::stream;
use serde_json::json;

use super::checks::check_text;
use crate::api::listings::{ListingDocument, NewListing};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::listing::{self, Listing, MOST_PRICES};
use crate::store::picture::{self, Picture};
use crate::store::{audit, title};

/// Longest description, in characters.
const MOST_TEXT: usize = 20_000;
/// Highest price, in minor units; far below what the columns hold, so that sums fit as well.
const MOST_MONEY: u64 = 1_000_000_000_000;

/// What is known of a title's listing; the empty one where nobody has written any.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn look(tx: &mut Tx, scope: &Scope, id: &TitleId) -> Result<ListingDocument, Problem> {
    title::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    Ok(document(tx, id).await?)
}

async fn document(tx: &mut Tx, id: &TitleId) -> Result<ListingDocument, DbError> {
    let found = listing::get(tx, id).await?;
    let (listing, updated_at) = found.map_or_else(|| (Listing::default(), None), |(listing, at)| (listing, Some(at)));
    Ok(ListingDocument::of(id, listing, picture::list(tx, id).await?, updated_at))
}

/// Who lists a title, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// As in the audit log.
    pub actor: String,
    /// Whose titles.
    pub scope: Scope,
    /// Milliseconds UTC.
    pub now: i64,
}

/// Writes a listing in place of the one before; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable`.
pub async fn put(app: &App, caller: &Caller, once: &Once, id: TitleId, new: NewListing) -> Result<Reply, Problem> {
    let listing = check(new)?;
    let by = By { actor: caller.actor(), scope: caller.scope(), now: app.clock.now().0 };
    once.write(app, "put_listing", title::family(&id), async move |tx: &mut Tx| Ok(Reply::ok(&put_within(tx, &by, &id, &listing).await?)))
        .await
}

/// The same within a transaction of the title's family.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn put_within(tx: &mut Tx, by: &By, id: &TitleId, listing: &Listing) -> Result<ListingDocument, Problem> {
    title::get(tx, &by.scope, id).await?.ok_or(ApiCode::NotFound)?;
    let there = listing::get(tx, id).await?;
    if there.is_none_or(|(there, _)| there != *listing) {
        listing::put(tx, id, listing, by.now).await?;
        let detail = json!({ "on_sale": listing.on_sale, "prices": listing.prices, "policy": listing.policy });
        audit::append(tx, &title::family(id), by.now, &by.actor, "title.listed", &detail).await?;
    }
    Ok(document(tx, id).await?)
}

/// A listing as it is kept, where it is one that can be meant.
///
/// # Errors
/// `unprocessable`.
pub fn check(new: NewListing) -> Result<Listing, Problem> {
    let NewListing { summary, description, on_sale, mut prices, policy } = new;
    check_text(&summary)?;
    let description = description.replace("\r\n", "\n").trim().to_owned();
    if description.chars().count() > MOST_TEXT || description.chars().any(|c| c.is_control() && c != '\n') {
        return Err(wrong(format!("a description is plain text of at most {MOST_TEXT} characters")));
    }
    let mut currencies = BTreeSet::new();
    if prices.len() > MOST_PRICES || !prices.iter().all(|price| currencies.insert(price.currency)) {
        return Err(wrong(format!("a title has one price a currency, and at most {MOST_PRICES}")));
    }
    if prices.iter().any(|price| price.amount > MOST_MONEY) {
        return Err(wrong(format!("a price is at most {MOST_MONEY} minor units")));
    }
    if on_sale && prices.is_empty() {
        return Err(wrong("a title on sale has a price; 0 where it is free"));
    }
    prices.sort_by_key(|price| price.currency);
    policy.check().map_err(|what| wrong(format!("policy: {what}")))?;
    Ok(Listing { summary: summary.trim().to_owned(), description, on_sale, prices, policy })
}

/// Puts a picture at a place, in place of the one that was there.
///
/// # Errors
/// `not_found`; `unprocessable` for bytes that are no picture of `media_type`, a wrong place, or without `alt`.
pub async fn put_picture(
    app: &App,
    caller: &Caller,
    once: &Once,
    (id, position): (TitleId, i64),
    (media_type, alt): (&'static str, String),
    bytes: Bytes,
) -> Result<Reply, Problem> {
    if !(1..=picture::MOST).contains(&position) {
        return Err(wrong(format!("a picture's place is 1 to {}", picture::MOST)));
    }
    check_text(&alt)?;
    if alt.trim().is_empty() {
        return Err(wrong("`alt` says what the picture shows, for people who do not see it"));
    }
    if !is_a(media_type, &bytes) {
        return Err(wrong(format!("these bytes are no {media_type}")));
    }
    let (scope, name) = (caller.scope(), id.clone());
    let known = app.db.read("picture_title", async move |tx: &mut Tx| title::get(tx, &scope, &name).await).await?;
    known.ok_or(ApiCode::NotFound)?;
    let object = ObjectName::of(&bytes);
    app.blobs.put(object, stream::once(async { Ok::<_, Infallible>(bytes) })).await?;

    let picture = Picture { position, object, media_type: media_type.to_owned(), alt: alt.trim().to_owned() };
    let now = app.clock.now().0;
    let (actor, family) = (caller.actor(), title::family(&id));
    once.write(app, "put_picture", family.clone(), async move |tx: &mut Tx| {
        if !picture::list(tx, &id).await?.contains(&picture) {
            picture::put(tx, &id, &picture).await?;
            let detail = json!({ "position": position, "object": object });
            audit::append(tx, &family, now, &actor, "picture.put", &detail).await?;
        }
        Ok(Reply::ok(&document(tx, &id).await?))
    })
    .await
}

/// Takes the picture at a place away. Its bytes stay in the contents store, where nobody is told of them.
///
/// # Errors
/// `not_found`.
pub async fn remove_picture(app: &App, caller: &Caller, once: &Once, id: TitleId, position: i64) -> Result<Reply, Problem> {
    let now = app.clock.now().0;
    let (actor, scope, family) = (caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "remove_picture", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        if !picture::remove(tx, &id, position).await? {
            return Err(ApiCode::NotFound.into());
        }
        audit::append(tx, &family, now, &actor, "picture.removed", &json!({ "position": position })).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// Whether bytes begin as those of a media type do. Types that can hold scripts, such as SVG, are none of these.
fn is_a(media_type: &str, bytes: &[u8]) -> bool {
    let at = |from: usize, what: &[u8]| bytes.get(from..).is_some_and(|rest| rest.starts_with(what));
    match media_type {
        "image/png" => at(0, b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" => at(0, b"\xff\xd8\xff"),
        "image/webp" => at(0, b"RIFF") && at(8, b"WEBP"),
        "image/avif" => at(4, b"ftypavif") || at(4, b"ftypavis"),
        _ => false,
    }
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}
