//! Being written.

use counterfoil_core::Timestamp;
use counterfoil_core::wire::{Confirm, Heal};

use super::asked::{Asked, Decided};
use crate::app::App;
use crate::problem::{ApiCode, Problem};

/// Being written.
///
/// # Errors
/// Always.
pub async fn confirm(_app: &App, _asked: &Asked, _ask: &Confirm, _now: Timestamp) -> Result<Decided, Problem> {
    Err(ApiCode::NotFound.into())
}

/// Being written.
///
/// # Errors
/// Always.
pub async fn heal(_app: &App, _asked: &Asked, _ask: &Heal, _now: Timestamp) -> Result<Decided, Problem> {
    Err(ApiCode::NotFound.into())
}
