//! Pressing: the identity areas of a batch's media, made on all cores and streamed in the order of serials (B1, B2).

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use counterfoil_core::rules::epoch;
use counterfoil_core::wire::{AuthorityDocument, IdentityArea, IdentityClaims, PublisherOnMedium, TitleOnMedium};
use counterfoil_core::{BatchId, MediumId, Timestamp};
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::Secret;
use futures_util::{Stream, TryStreamExt as _, stream};
use serde_json::json;

use crate::api::well_known;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::keys::{Keys, Place};
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, BatchTitle, Origin};
use crate::store::imported::{self, Pressed};
use crate::store::medium::FIRST_EPOCH;
use crate::store::{audit, publisher, title};

/// `typ` of what the authority vouches for about a medium.
pub const IDENTITY_TYP: &str = "counterfoil-identity+jwt";
/// Identities that one core makes at a time: what is in memory is this, times the cores.
const BLOCK: i64 = 256;

/// Everything that the identities of one batch have in common.
#[derive(Clone)]
pub struct Press {
    keys: Keys,
    claim: ClaimSecretKey,
    now: Timestamp,
    /// With the rights of the batch.
    claims: IdentityClaims,
    authority: AuthorityDocument,
}

impl Press {
    /// Loads what the batch's media say of their titles.
    ///
    /// # Errors
    /// Failures of the database, or a batch whose title or publisher's key is gone.
    pub async fn prepare(app: &App, batch: &Batch, titles: &[BatchTitle], claim: ClaimSecretKey) -> Result<Self, Problem> {
        let on = titles.to_vec();
        let titles = app
            .db
            .read("press", async move |tx: &mut Tx| -> Result<Vec<TitleOnMedium>, Problem> {
                let mut titles = vec![];
                for on in &on {
                    titles.push(title_on_medium(tx, on).await?);
                }
                Ok(titles)
            })
            .await?;
        let claims = IdentityClaims {
            iss: app.name.clone(),
            // Of the batch and not of the request, so that the same identity has the same bytes whenever it is asked for.
            iat: Timestamp(batch.created_at).seconds(),
            medium_id: MediumId::pressed(batch.id, 1),
            batch: batch.id,
            serial: 1,
            epoch: FIRST_EPOCH,
            titles,
            rights: batch.rights.clone(),
        };
        Ok(Self { keys: app.keys.clone(), claim, now: app.clock.now(), claims, authority: well_known::document(app) })
    }

    /// One identity area as a line.
    ///
    /// # Errors
    /// When there is no signing key.
    pub fn line(self, medium: Pressed) -> Result<Vec<u8>, Problem> {
        self.lines([medium])
    }

    /// Identity areas, a line each. Takes its own copy of what they have in common, and changes in it what differs.
    fn lines(self, media: impl IntoIterator<Item = Pressed>) -> Result<Vec<u8>, Problem> {
        let Self { keys, claim, now, mut claims, authority } = self;
        let of_batch = claims.rights.clone();
        let mut area = IdentityArea { counterfoil: 1, identity: String::new(), claim_secret: String::new(), authority };
        let mut lines = vec![];
        keys.with_signing_key(now, |kid, key| {
            for Pressed { medium, serial, epoch, rights } in media {
                area.claim_secret = to_base64url(claim.derive(medium.as_str(), epoch).expose());
                claims.serial = serial.unsigned_abs();
                claims.epoch = epoch;
                claims.rights = rights.unwrap_or_else(|| of_batch.clone());
                claims.medium_id = medium;
                area.identity = counterfoil_format::jws::sign_compact(IDENTITY_TYP, kid, &claims, key);
                serde_json::to_writer(&mut lines, &area).expect("an identity area has text for keys, and memory takes every byte");
                lines.push(b'\n');
            }
        })?;
        Ok(lines)
    }
}

/// Whether the longest identity area that a batch may ever come to fits on a medium.
///
/// # Errors
/// `unprocessable`, and as for [`Press::prepare`].
pub async fn check_size(app: &App, batch: &Batch, titles: &[BatchTitle], claim: ClaimSecretKey) -> Result<(), Problem> {
    let longest = Pressed { medium: MediumId::pressed(batch.id, u64::MAX), serial: i64::MAX, epoch: u32::MAX, rights: None };
    let length = Press::prepare(app, batch, titles, claim).await?.line(longest)?.len();
    if length > IdentityArea::LIMIT {
        let what = format!("the identity area would have {length} bytes of {}", IdentityArea::LIMIT);
        return Err(Problem::with(ApiCode::Unprocessable, what));
    }
    Ok(())
}

pub(super) async fn title_on_medium(tx: &mut Tx, on: &BatchTitle) -> Result<TitleOnMedium, Problem> {
    let gone = || Problem::internal(format!("title {} of a batch, or its publisher's key, is gone", on.title));
    let title = title::get(tx, &Scope::All, &on.title).await?.ok_or_else(gone)?;
    let owner = publisher::get(tx, &Scope::All, &title.publisher).await?.ok_or_else(gone)?;
    let key = owner.key.ok_or_else(gone)?.to_string();
    Ok(TitleOnMedium {
        title: title.id,
        name: title.name,
        kind: title.kind,
        release: on.version.clone(),
        publisher: PublisherOnMedium { id: owner.id.into(), key },
    })
}

/// Streams the identity areas of up to `count` media from serial `from` on. That they leave is recorded first: they hold claim secrets.
///
/// # Errors
/// `not_found`, or failures of the database and of keys. A failure in mid-stream cuts the answer off, which HTTP tells the caller.
pub async fn identities(
    app: App,
    caller: &Caller,
    id: BatchId,
    from: i64,
    count: Option<i64>,
) -> Result<impl Stream<Item = Result<Bytes, Problem>> + use<>, Problem> {
    let scope = caller.scope();
    let (batch, titles) = app
        .db
        .read("identities", async move |tx: &mut Tx| -> Result<_, Problem> {
            let batch = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            Ok((batch, batch::titles(tx, id).await?))
        })
        .await?;
    let secret: Secret<32> = app.keys.open(&app.db, &Place::ClaimKey { batch: &id.to_string() }, &batch.claim_key).await?;
    let press = Arc::new(Press::prepare(&app, &batch, &titles, ClaimSecretKey::new(secret)).await?);
    let until = batch.count.min(count.map_or(i64::MAX, |count| from.saturating_add(count - 1)));

    let (actor, family, now) = (caller.actor(), batch::family(id), app.clock.now().0);
    app.db
        .write("press_identities", &family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            let detail = json!({ "from": from, "until": until });
            audit::append(tx, &family, now, &actor, "identities.pressed", &detail).await?;
            Ok(())
        })
        .await?;

    let blocks = stream::iter((from..=until).step_by(usize::try_from(BLOCK).unwrap_or(1)).map(Ok));
    let media = blocks.and_then(move |first| {
        media(app.clone(), batch.id, batch.origin, batch.refreshes, first, until.min(first.saturating_add(BLOCK - 1)))
    });
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Ok(media.map_ok(move |media| sign(Arc::clone(&press), media)).try_buffered(cores))
}

/// The media of a block, each in the epoch that it should have. Of pressed ones only those have a row that somebody touched.
async fn media(app: App, id: BatchId, origin: Origin, refreshes: u32, first: i64, last: i64) -> Result<Vec<Pressed>, Problem> {
    let rows = app.db.read("media to press", async move |tx: &mut Tx| match origin {
        Origin::Pressed => imported::different(tx, id, refreshes, first, last).await,
        Origin::Imported => imported::range(tx, id, refreshes, first, last).await,
    });
    let rows = rows.await?;
    if origin == Origin::Imported {
        return Ok(rows);
    }
    let mut rows = rows.into_iter().peekable();
    let untouched = |serial: i64| Pressed {
        medium: MediumId::pressed(id, serial.unsigned_abs()),
        serial,
        epoch: epoch::target(refreshes, 0),
        rights: None,
    };
    Ok((first..=last).map(|serial| rows.next_if(|row| row.serial == serial).unwrap_or_else(|| untouched(serial))).collect())
}

/// Signs a block on a thread of its own.
async fn sign(press: Arc<Press>, media: Vec<Pressed>) -> Result<Bytes, Problem> {
    let signing = tokio::task::spawn_blocking(move || (*press).clone().lines(media));
    signing.await.map_err(Problem::internal)?.map(Bytes::from)
}
