//! What users hand in: begun here, sent by tus, listed and taken away (A4).

use counterfoil_core::wire::{Upload, Uploads};
use counterfoil_core::{Code, Timestamp};

use super::asked::{Asked, Decided};
use crate::app::App;
use crate::problem::Problem;

/// Begins an upload.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(_: &App, _: &Asked, _: &Upload, _: Timestamp) -> Result<Decided, Problem> {
    Ok(Err(Code::RightMissing.into()))
}

/// Lists what was handed in.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn list(_: &App, _: &Asked, _: &Uploads, _: Timestamp) -> Result<Decided, Problem> {
    Ok(Err(Code::RightMissing.into()))
}
