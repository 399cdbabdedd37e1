//! New keys for old, while servers run: made, put in front, and what was wrapped under the old ones wrapped anew, row by row.

use std::path::Path;

use counterfoil_core::Timestamp;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::sign::SigningKey;
use counterfoil_format::wrap;
use futures_util::future::try_join_all;
use zeroize::Zeroizing;

use super::root::{RootKey, RootSource, alone, next_path, replace, write_private};
use super::{Keys, KeysError, Place, Purpose, stated};
use crate::clock::Rng;
use crate::db::{Db, DbError};
use crate::store::key::{self, AuthorityKeyRow, KekRow, WrappedRow, WrappedTable};
use crate::store::setting;

/// How long running servers may go on with the old signing or sealing key: they look for new keys more often than this.
pub const HANDOVER: i64 = 5 * 60 * 1000;
/// Rows wrapped anew at a time.
const BATCH: u32 = 64;

/// What signs, and what envelopes are sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519.
    Signing,
    /// X25519.
    Sealing,
}

impl Kind {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Sealing => "sealing",
        }
    }
}

/// Makes the keys of a new authority, those that are not there yet.
///
/// # Errors
/// As for the steps of a rotation.
pub async fn create_all(db: &Db, source: &RootSource, now: Timestamp, rng: &Rng) -> Result<Keys, KeysError> {
    let root = source.read(None)?;
    let rows: Vec<KekRow> = Purpose::ALL.into_iter().map(|purpose| new_kek(&root, purpose, 1, now, &mut rng.clone())).collect();
    db.write("init keys", setting::FAMILY, async move |tx| {
        for row in &rows {
            key::insert_kek(tx, row).await?;
        }
        Ok::<_, DbError>(())
    })
    .await?;
    let keys = Keys::load(db, source.clone()).await?;
    for kind in [Kind::Signing, Kind::Sealing] {
        if keys.lacks(kind) {
            let row = new_key(&keys, kind, now, rng)?;
            put_in_front(db, &keys, row, None, now).await?;
        }
    }
    Ok(keys)
}

/// A new signing or sealing key; the old one is retired after [`HANDOVER`], and whoever knows the authority of this name by it is told of the new one in
/// its name. Answers with the new key's name.
///
/// # Errors
/// Failures of the database.
pub async fn authority_key(db: &Db, keys: &Keys, authority: &str, kind: Kind, now: Timestamp, rng: &Rng) -> Result<String, KeysError> {
    // What was made elsewhere since signs what comes next.
    keys.refresh(db).await?;
    let row = new_key(keys, kind, now, rng)?;
    put_in_front(db, keys, row, Some(authority), now).await
}

fn new_key(keys: &Keys, kind: Kind, now: Timestamp, rng: &Rng) -> Result<AuthorityKeyRow, KeysError> {
    let seed = Secret::random(&mut rng.clone());
    let public_key: [u8; 32] = match kind {
        Kind::Signing => *SigningKey::from_seed(&seed).verifying_key().as_bytes(),
        Kind::Sealing => SealingKey::from_seed(&seed).public_key().as_bytes().try_into().expect("an X25519 key has 32 bytes"),
    };
    let prefix = if kind == Kind::Signing { "sig" } else { "seal" };
    let kid = format!("{prefix}-{}", &blake3::hash(&public_key).to_hex()[..16]);
    let wrapped = keys.wrap(&Place::AuthorityKey { kid: &kid }, seed.expose(), &mut rng.clone())?;
    Ok(AuthorityKeyRow { kid, purpose: kind.as_str().to_owned(), public_key, wrapped, created_at: now, retired_at: None })
}

async fn put_in_front(db: &Db, keys: &Keys, row: AuthorityKeyRow, stated_for: Option<&str>, now: Timestamp) -> Result<String, KeysError> {
    let (kid, authority, held) = (row.kid.clone(), stated_for.map(str::to_owned), keys.clone());
    db.write("rotate key", setting::FAMILY, async move |tx| {
        audit(tx, now, "key.rotated", &serde_json::json!({ "purpose": row.purpose, "kid": row.kid })).await?;
        // After the audit log, which lets only one in at a time: an epoch has one successor.
        let before = key::authority_keys(tx).await?;
        key::replace_authority_key(tx, &row, Timestamp(now.0 + HANDOVER)).await?;
        // Run again because the answer of its COMMIT was lost, it finds its own row.
        let Some(authority) = authority.as_deref().filter(|_| before.iter().all(|there| there.kid != row.kid)) else { return Ok(()) };
        stated::put(tx, &held, authority, &before, now).await
    })
    .await?;
    keys.refresh(db).await?;
    Ok(kid)
}

/// A new version of a key-encryption key, and everything wrapped under it. Answers with the version and how many rows were wrapped anew.
///
/// # Errors
/// Failures of the database; a row that does not open stops it, and is named.
pub async fn kek(db: &Db, source: &RootSource, keys: &Keys, purpose: Purpose, now: Timestamp, rng: &Rng) -> Result<(u32, u64), KeysError> {
    let rows = db.read("keks", async |tx| key::keks(tx).await).await?;
    let newest = rows.iter().filter(|row| row.purpose == purpose.as_str()).max_by_key(|row| row.version);
    let newest = newest.ok_or(KeysError::Missing(purpose.as_str()))?;
    let root = source.read(Some(wrap::kek_version(&newest.wrapped).map_err(|_| KeysError::WrongRoot)?))?;
    let version = newest.version + 1;
    let row = new_kek(&root, purpose, version, now, &mut rng.clone());
    db.write("rotate kek", setting::FAMILY, async move |tx| {
        if !key::insert_kek(tx, &row).await? {
            // Run again because the answer of its COMMIT was lost, it finds its own row.
            let mine = key::keks(tx).await?.contains(&row);
            return if mine { Ok(()) } else { Err(others_rotate()) };
        }
        audit(tx, now, "kek.rotated", &serde_json::json!({ "purpose": row.purpose, "version": row.version })).await?;
        // Wrapped under a root key that was replaced meanwhile, it would never open again. After the audit log, which lets only one in at a time.
        let there = key::keks(tx).await?;
        if rows.iter().all(|seen| there.contains(seen)) { Ok(()) } else { Err(others_rotate()) }
    })
    .await?;
    keys.refresh(db).await?;
    let rewrapped = rewrap(db, keys, purpose, version, rng).await?;
    Ok((version, rewrapped))
}

/// Wraps anew, under the newest version, what lies under an older one. Can be cut at any time and repeated.
///
/// # Errors
/// As for [`kek`].
pub async fn rewrap(db: &Db, keys: &Keys, purpose: Purpose, version: u32, rng: &Rng) -> Result<u64, KeysError> {
    let mut rewrapped = 0;
    for kept in kept_under(purpose) {
        let mut after = (String::new(), "0".to_owned());
        loop {
            let from = after.clone();
            let rows = db.read("rewrap page", async move |tx| kept.table.page(tx, (&from.0, &from.1), BATCH).await).await?;
            let Some(last) = rows.last() else { break };
            after = (last.family.clone(), last.second.clone());
            let stale: Vec<WrappedRow> = rows.into_iter().filter(|row| wrap::kek_version(&row.wrapped) != Ok(version)).collect();
            // Each row in its own family's transaction; they share commits.
            let done = try_join_all(stale.into_iter().map(|row| rewrap_row(db, keys, kept, row, rng))).await?;
            rewrapped += done.into_iter().filter(|changed| *changed).count() as u64;
        }
    }
    Ok(rewrapped)
}

async fn rewrap_row(db: &Db, keys: &Keys, kept: &'static Kept, row: WrappedRow, rng: &Rng) -> Result<bool, KeysError> {
    let place = (kept.place)(&row)?;
    let secret: Secret<32> = keys.open(db, &place, &row.wrapped).await?;
    let wrapped = keys.wrap(&place, secret.expose(), &mut rng.clone())?;
    // Where it is gone, somebody else has put a newer one there.
    let changed = db.write("rewrap", row.family.clone(), async move |tx| kept.table.put(tx, &row, &wrapped).await).await?;
    Ok(changed)
}

/// A table that secrets of a purpose are kept in, and the place of each of its rows.
struct Kept {
    table: WrappedTable,
    place: for<'a> fn(&'a WrappedRow) -> Result<Place<'a>, KeysError>,
}

/// Everything that lies under a purpose's key; a secret that stands in no table here is lost when old keys are thrown away.
fn kept_under(purpose: Purpose) -> &'static [Kept] {
    match purpose {
        Purpose::Content => &[Kept { table: key::CONTENT_KEYS, place: content_key }],
        Purpose::Library => &[
            Kept { table: key::LIBRARY_KEYS, place: |row| Ok(Place::LibraryKey { medium: &row.family, grant: &row.second }) },
            Kept { table: key::LICENSE_KEYS, place: |row| Ok(Place::LicenseKey { user: &row.family, grant: &row.second }) },
            Kept { table: key::SAVE_KEYS, place: |row| Ok(Place::SaveKey { user: &row.family, title: &row.second }) },
        ],
        Purpose::Claim => &[Kept { table: key::CLAIM_KEYS, place: |row| Ok(Place::ClaimKey { batch: &row.family }) }],
        Purpose::Device => &[
            Kept { table: key::DEVICE_SECRETS, place: |row| Ok(Place::DeviceSecret { user: &row.family, device: &row.second }) },
            Kept { table: key::TOTP_SECRETS, place: |row| Ok(Place::TotpSecret { user: &row.family }) },
        ],
        Purpose::Authority => &[
            Kept { table: key::AUTHORITY_KEYS, place: |row| Ok(Place::AuthorityKey { kid: &row.family }) },
            Kept { table: key::WEBHOOK_SECRETS, place: webhook_secret },
            Kept { table: key::GATEWAY_ISSUERS, place: |row| Ok(Place::GatewayIssuer { issuer: &row.family }) },
        ],
    }
}

fn content_key(row: &WrappedRow) -> Result<Place<'_>, KeysError> {
    let generation = row.second.parse().map_err(|_| KeysError::Root(format!("generation {:?} of {}", row.second, row.family)))?;
    Ok(Place::ContentKey { title: &row.family, generation })
}

fn webhook_secret(row: &WrappedRow) -> Result<Place<'_>, KeysError> {
    let number = row.second.parse().map_err(|_| KeysError::Root(format!("number {:?} of {}", row.second, row.family)))?;
    Ok(Place::WebhookSecret { webhook: &row.family, number })
}

/// A new root key in the file; the key-encryption keys are wrapped under it in one transaction. Running servers go on with the keys in memory,
/// and read the file when they load keys. Cut anywhere, the next load finishes it ([`RootSource::read`]).
///
/// # Errors
/// `Root` where the key does not come from a file; failures of database and file system.
pub async fn root(db: &Db, source: &RootSource, now: Timestamp, rng: &Rng) -> Result<u32, KeysError> {
    let RootSource::File(path) = source else {
        return Err(KeysError::Root("it is given by the environment: put it in a file to have it rotated here".to_owned()));
    };
    // Of two that rotate at once, one would throw away the new key that the other wraps everything under.
    let _alone = alone(path)?;
    let rows = db.read("keks", async |tx| key::keks(tx).await).await?;
    let version = rows.first().map(|row| wrap::kek_version(&row.wrapped)).transpose().map_err(|_| KeysError::WrongRoot)?;
    let old = source.read(version)?;
    let next = next_path(path);
    let new = next_key(&next, &old, rng)?;
    let mut rewrapped = Vec::with_capacity(rows.len());
    for row in rows {
        let key = old.unwrap(&row).map_err(|_| KeysError::WrongRoot)?;
        let wrapped = new.wrap(&row.purpose, row.version, &key, &mut rng.clone());
        rewrapped.push((row, wrapped));
    }
    let version = new.version();
    db.write("rotate root", setting::FAMILY, async move |tx| {
        let is_done = |there: &[KekRow]| {
            let done = |row: &KekRow| {
                rewrapped.iter().any(|(old, new)| (&old.purpose, old.version, new) == (&row.purpose, row.version, &row.wrapped))
            };
            there.iter().all(done)
        };
        // Run again because the answer of its COMMIT was lost, it finds its own work.
        if is_done(&key::keks(tx).await?) {
            return Ok(());
        }
        for (row, wrapped) in &rewrapped {
            if !key::rewrap_kek(tx, row, wrapped).await? {
                return Err(others_rotate());
            }
        }
        audit(tx, now, "root.rotated", &serde_json::json!({ "version": version })).await?;
        // A key-encryption key that was made meanwhile would stay under the old root key, and never open again.
        if is_done(&key::keks(tx).await?) { Ok(()) } else { Err(others_rotate()) }
    })
    .await?;
    replace(&next, path).map_err(|error| KeysError::Root(format!("{}: {error}", path.display())))?;
    Ok(version)
}

/// The key beside the file, or a new one. One that an earlier rotation has left is used, and never thrown away: the COMMIT that wraps
/// everything under it may still be waiting for a standby, and take effect at any time.
fn next_key(next: &Path, old: &RootKey, rng: &Rng) -> Result<RootKey, KeysError> {
    if next.exists() {
        let text = Zeroizing::new(std::fs::read_to_string(next).map_err(|error| KeysError::Root(format!("{}: {error}", next.display())))?);
        if let Some(left) = RootKey::parse(&text).filter(|left| left.version() == old.version() + 1) {
            return Ok(left);
        }
        // Cut while it was written: nothing was wrapped under it yet.
        std::fs::remove_file(next).map_err(|error| KeysError::Root(format!("{}: {error}", next.display())))?;
    }
    let new = RootKey::generate(old.version() + 1, &mut rng.clone());
    write_private(next, &new.reveal()).map_err(|error| KeysError::Root(format!("{}: {error}", next.display())))?;
    Ok(new)
}

pub(super) fn others_rotate() -> DbError {
    DbError::Constraint("somebody else rotates keys".to_owned())
}

fn new_kek(root: &RootKey, purpose: Purpose, version: u32, now: Timestamp, random: &mut dyn Random) -> KekRow {
    let key = Secret::random(random);
    KekRow { purpose: purpose.as_str().to_owned(), version, wrapped: root.wrap(purpose.as_str(), version, &key, random), created_at: now }
}

async fn audit(tx: &mut crate::db::Tx, now: Timestamp, event: &str, detail: &serde_json::Value) -> Result<(), DbError> {
    crate::store::audit::append(tx, setting::FAMILY, now.0, "operator", event, detail).await.map(drop)
}
