//! What a browser keeps for us between two steps: sealed, for one purpose, for a few minutes. Nothing is stored, and any process goes on.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use counterfoil_core::Timestamp;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::keys::{KeysError, Place};

/// How long a step may take.
const LIFE: i64 = 10 * 60 * 1000;

#[derive(Serialize, Deserialize)]
struct Timed<T> {
    until: i64,
    state: T,
}

/// Seals a state for a step.
///
/// # Errors
/// Where there are no keys.
pub fn seal(app: &App, purpose: &str, state: &impl Serialize) -> Result<String, KeysError> {
    seal_for(app, purpose, state, LIFE)
}

/// Seals a state for so many milliseconds: a fresh key, wrapped by ours, and the state under it.
///
/// # Errors
/// Where there are no keys.
pub fn seal_for(app: &App, purpose: &str, state: &impl Serialize, life: i64) -> Result<String, KeysError> {
    let timed = Timed { until: app.clock.now().0 + life, state };
    let mut sealed = serde_json::to_vec(&timed).expect("states are JSON");
    let secret = Secret::<32>::random(&mut app.rng.clone());
    let wrapped = app.keys.wrap(&Place::Between { purpose }, secret.expose(), &mut app.rng.clone())?;
    key(&secret)
        .seal_in_place_append_tag(zero(), Aad::empty(), &mut sealed)
        .expect("a message in memory is far below the 64 GiB that AES-GCM allows");
    Ok(format!("{}.{}", to_base64url(&wrapped), to_base64url(&sealed)))
}

/// Opens it; `None`: not ours, for something else, or too late.
pub fn open<T: DeserializeOwned>(app: &App, purpose: &str, text: &str) -> Option<T> {
    let (wrapped, sealed) = text.split_once('.')?;
    let (wrapped, mut sealed) = (from_base64url(wrapped)?, from_base64url(sealed)?);
    let secret: Secret<32> = app.keys.unwrap(&Place::Between { purpose }, &wrapped).ok()?;
    let opened = key(&secret).open_in_place(zero(), Aad::empty(), &mut sealed).ok()?;
    let Timed { until, state } = serde_json::from_slice(opened).ok()?;
    (app.clock.now() < Timestamp(until)).then_some(state)
}

fn key(secret: &Secret<32>) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.expose()).expect("AES-256 has keys of 32 bytes"))
}

/// Each key seals one message.
fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
