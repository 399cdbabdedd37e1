//! Being written.

use counterfoil_core::Timestamp;
use counterfoil_core::wire::Report;

use super::asked::{Asked, Decided};
use crate::app::App;
use crate::problem::{ApiCode, Problem};

/// Being written.
///
/// # Errors
/// Always.
pub async fn run(_app: &App, _asked: &Asked, _ask: &Report, _now: Timestamp) -> Result<Decided, Problem> {
    Err(Problem::with(ApiCode::InvalidRequest, "not built yet"))
}
