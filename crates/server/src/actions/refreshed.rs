//! A refreshed identity is on its medium (B7).

use counterfoil_core::wire::Refreshed;
use counterfoil_core::{Code, Timestamp};

use super::asked::{Asked, Decided};
use crate::app::App;
use crate::problem::Problem;

/// Notes that a medium proves itself under its new claim secret; older ones are good no more.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(_: &App, _: &Asked, _: &Refreshed, _: Timestamp) -> Result<Decided, Problem> {
    Ok(Err(Code::MediumUnknown.into()))
}
