//! Whether a medium is itself: known, and proven under its claim secret. No, whatever the reason, costs the same and says the same.

use counterfoil_core::MediumId;
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::secret::Secret;

use super::asked::Asked;
use crate::app::App;
use crate::keys::{KeysError, Place};
use crate::store::medium::{FIRST_EPOCH, Known};

/// Whether the request holds the medium's proof, in the epoch that it names (the current one where it names none).
///
/// # Errors
/// A claim key that does not open; failures of the database.
pub async fn medium(app: &App, asked: &Asked, medium: &MediumId, known: Option<&Known>, epoch: Option<u32>) -> Result<bool, KeysError> {
    let key: Secret<32> = match known {
        Some(known) => app.keys.open(&app.db, &Place::ClaimKey { batch: &known.batch.to_string() }, &known.claim_key).await?,
        // Nobody holds a secret under this key, so the proof fails below, after the same work.
        None => app.keys.decoy()?,
    };
    let current = known.map_or(FIRST_EPOCH, |known| known.epoch);
    let secret = ClaimSecretKey::new(key).derive(medium.as_str(), current);
    let proven = asked.proven(medium.as_str(), &secret);
    Ok(proven && known.is_some() && epoch.is_none_or(|epoch| epoch == current))
}
