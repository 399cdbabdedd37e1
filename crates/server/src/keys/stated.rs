//! What the authority's keys are from an epoch on, said by the key before (C16): so that terminals follow, also through a gateway that would rather
//! have them believe in keys of its own.

use counterfoil_core::Timestamp;
use counterfoil_core::wire::{AuthorityKeys, SealingKeyDocument};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::jwt::{KeyList, ListedKey};
use counterfoil_format::sign::VerifyingKey;

use super::Keys;
use super::rotate::others_rotate;
use crate::db::{DbError, Tx};
use crate::store::key::{self, AuthorityKeyRow};

/// Keeps the statement for what the keys are now, signed by the one that was in use `before`.
///
/// # Errors
/// `Constraint` where others rotate keys meanwhile; failures of the database.
pub(super) async fn put(tx: &mut Tx, keys: &Keys, authority: &str, before: &[AuthorityKeyRow], now: Timestamp) -> Result<(), DbError> {
    let signer = before.iter().find(|row| row.purpose == "signing" && row.retired_at.is_none()).ok_or_else(others_rotate)?;
    let epoch = key::statements(tx).await?.last().map_or(0, |(epoch, _)| *epoch) + 1;
    let stated = in_use(&key::authority_keys(tx).await?, epoch);
    // A key that is not in memory was made elsewhere after the keys were loaded.
    let statement = keys.state(authority, stated, now, &signer.kid).ok_or_else(others_rotate)?;
    key::insert_statement(tx, epoch, &statement, now).await
}

fn in_use(rows: &[AuthorityKeyRow], epoch: u64) -> AuthorityKeys {
    let of = |purpose: &'static str| rows.iter().filter(move |row| row.purpose == purpose && row.retired_at.is_none());
    let listed = |row: &AuthorityKeyRow| Some(ListedKey::new(&row.kid, &VerifyingKey::from_bytes(row.public_key).ok()?, None));
    let signing = KeyList { keys: of("signing").filter_map(listed).collect() };
    let sealed = |row: &AuthorityKeyRow| SealingKeyDocument { kid: row.kid.clone(), key: to_base64url(&row.public_key), retired_at: None };
    let jwks = serde_json::to_value(signing).expect("a list of strings has a JSON form");
    AuthorityKeys { jwks, sealing: of("sealing").map(sealed).collect(), epoch, chain: vec![] }
}
