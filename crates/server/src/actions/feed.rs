//! The feed of a title: taken only where its publisher has signed it and it follows the one before; vouched for, never made, here (A5).

use std::collections::BTreeMap;

use counterfoil_core::{ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::content::{FRESH_TYP, Feed, Fresh, ListedRelease, ObjectName};
use counterfoil_format::jws::unverified_payload;
use counterfoil_format::sign::VerifyingKey;
use serde_json::json;

use crate::api::feeds::{FeedDocument, FeedTaken, NewFeed};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::feed::{self, Feed as Row};
use crate::store::{audit, publisher, release, title};

/// How long the word on which feed is the newest is good for.
const GOOD_FOR: i64 = Timestamp::DAY / 1000;
/// Bytes of feeds in one answer to a terminal, which is bounded as a whole; who reports many titles at once asks again for the others.
pub const ROOM: usize = 512 * 1024;

/// Takes a feed in the place of the one that it was made from; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable` for a feed that is not the publisher's, is over, or lists what was not published; `conflict` where another
/// feed was handed in meanwhile, or one with this number or a higher one is there.
pub async fn put(app: &App, caller: &Caller, once: &Once, id: TitleId, new: NewFeed) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now(), caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "put_feed", family.clone(), async move |tx: &mut Tx| {
        let key = publishers_key(tx, &scope, &id).await?;
        let signed = Feed::verify(&new.document, |kid| (kid == key.0).then_some(key.1)).map_err(wrong)?;
        check(&signed, &id, now)?;
        let there = feed::get(tx, &id).await?;
        if there.as_ref().is_some_and(|there| there.document == new.document) {
            return Ok(Reply::ok(&FeedTaken::of(&id, &signed)));
        }
        let before = there.as_ref().map_or(0, |there| there.sequence);
        if new.after != before || signed.sequence <= before {
            return Err(Problem::with(ApiCode::Conflict, format!("the feed that is there has number {before}")));
        }
        check_releases(tx, &id, &signed, there.as_ref()).await?;
        let expires_at = signed.expires_at.saturating_mul(1000);
        let row = Row { sequence: signed.sequence, document: new.document.clone(), expires_at, updated_at: now.0 };
        if !feed::put(tx, &id, before, &row).await? {
            return Err(tx.conflict("the feed").into());
        }
        let detail =
            json!({ "sequence": row.sequence, "feed": name(&row), "releases": signed.releases.len(), "expires_at": signed.expires_at });
        audit::append(tx, &family, now.0, &actor, "feed.taken", &detail).await?;
        Ok(Reply::ok(&FeedTaken::of(&id, &signed)))
    })
    .await
}

async fn publishers_key(tx: &mut Tx, scope: &Scope, id: &TitleId) -> Result<(String, VerifyingKey), Problem> {
    let title = title::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    let owner = publisher::get(tx, scope, &title.publisher).await?.ok_or(ApiCode::NotFound)?;
    let key = owner.key.ok_or_else(|| wrong("the publisher has handed in no key; PUT it to /v1/publishers/{publisher}/key"))?;
    Ok((owner.id.as_str().to_owned(), key))
}

fn check(signed: &Feed, id: &TitleId, now: Timestamp) -> Result<(), Problem> {
    if signed.title != id.as_str() {
        return Err(wrong(format_args!("the feed is of title {:?}", signed.title)));
    }
    if signed.expires_at <= now.seconds() {
        return Err(wrong("the feed is over already"));
    }
    if signed.issued_at > now.seconds().saturating_add(GOOD_FOR) {
        return Err(wrong("the feed was signed in the future; is the publisher's clock right?"));
    }
    Ok(())
}

/// Every release that a feed lists was published, with this document and on this channel. What stood in the feed before was looked at then.
async fn check_releases(tx: &mut Tx, id: &TitleId, signed: &Feed, there: Option<&Row>) -> Result<(), Problem> {
    let listed = there.map(|there| listed_in(&there.document)).unwrap_or_default();
    let looked_at: BTreeMap<_, _> = listed.iter().map(|one| (one.version.as_str(), (one.document, one.channel.as_str()))).collect();
    for one in &signed.releases {
        if looked_at.get(one.version.as_str()) == Some(&(one.document, one.channel.as_str())) {
            continue;
        }
        let unknown = || wrong(format_args!("the feed lists {}, which was not published", one.version));
        let version: ReleaseVersion = one.version.parse().map_err(|_| unknown())?;
        let published = release::get(tx, id, &version).await?.ok_or_else(unknown)?;
        if ObjectName::of(published.document.as_bytes()) != one.document {
            return Err(wrong(format_args!("the feed lists {version} with another document than was published")));
        }
        if published.channel.as_str() != one.channel {
            return Err(wrong(format_args!(
                "the feed lists {version} on channel {}; it was published on {}",
                one.channel, published.channel
            )));
        }
    }
    Ok(())
}

/// What a feed lists that was verified when it was taken.
pub fn listed_in(document: &str) -> Vec<ListedRelease> {
    let feed = unverified_payload(document).and_then(|payload| serde_json::from_slice::<Feed>(&payload).ok());
    feed.map(|feed| feed.releases).unwrap_or_default()
}

/// The newest feed of a title, where `scope` covers it.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn look(tx: &mut Tx, scope: &Scope, id: &TitleId) -> Result<Row, Problem> {
    title::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    Ok(feed::get(tx, id).await?.ok_or(ApiCode::NotFound)?)
}

/// A feed with the word that it is the newest.
///
/// # Errors
/// Where the authority has no key to sign with.
pub fn document(app: &App, id: &TitleId, row: Row, now: Timestamp) -> Result<FeedDocument, Problem> {
    let fresh = vouch(app, id, &row, now)?;
    Ok(FeedDocument::of(id, row, fresh))
}

/// What a terminal is told of a title's feed: the feed itself where it knows an older one and there is `room`, and the word on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The feed.
    pub feed: Option<String>,
    /// The word.
    pub fresh: Option<String>,
}

/// Tells a terminal that knows the feed of number `known`; nothing where the title has none. `room` is what is left of [`ROOM`].
///
/// # Errors
/// Where the authority has no key to sign with.
pub fn tell(app: &App, id: &TitleId, row: Option<Row>, known: u64, room: &mut usize, now: Timestamp) -> Result<Told, Problem> {
    let Some(row) = row else { return Ok(Told::default()) };
    let fresh = Some(vouch(app, id, &row, now)?);
    // Also to whoever claims to know a later one: that it was signed, and is not here any more, is for them to find out.
    let wanted = row.sequence != known && row.document.len() <= *room;
    if wanted {
        *room -= row.document.len();
    }
    Ok(Told { feed: wanted.then_some(row.document), fresh })
}

/// The authority's word that a feed is the newest.
fn vouch(app: &App, id: &TitleId, row: &Row, now: Timestamp) -> Result<String, Problem> {
    let iat = now.seconds();
    let fresh = Fresh {
        iss: app.name.clone(),
        title: id.to_string(),
        sequence: row.sequence,
        feed: name(row),
        iat,
        exp: iat.saturating_add(GOOD_FOR),
    };
    Ok(app.keys.sign(FRESH_TYP, &fresh, now)?)
}

fn name(row: &Row) -> ObjectName {
    ObjectName::of(row.document.as_bytes())
}

fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, what.to_string())
}
