//! What the pages of tasks have in common: a form that was wrong is shown again, with what was wrong.

use counterfoil_core::{BatchId, CardId, MediumId, UserId};
use serde::de::DeserializeOwned;

use crate::idempotency::Reply;
use crate::problem::{ApiCode, Problem};

/// What is wrong about a form, for whoever can mend it; everything else stays a problem.
///
/// # Errors
/// The problem itself, where nothing that is typed differently would help.
pub fn mendable(problem: Problem) -> Result<String, Problem> {
    let mends = matches!(problem.status.as_u16(), 400 | 403 | 409 | 422);
    if !mends || problem.code == ApiCode::ForeignForm.as_str() {
        return Err(problem);
    }
    Ok(match &problem.detail {
        Some(detail) if problem.code == ApiCode::Unprocessable.as_str() => capital(&format!("{}.", detail.trim_end_matches('.'))),
        Some(detail) => capital(&format!("{} ({detail}). {}", problem.title, problem.hint)),
        None => capital(&format!("{}. {}", problem.title, problem.hint)),
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.trim().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What an action has answered, as a program of the API reads it.
///
/// # Errors
/// `internal` for an answer that is not what its action answers.
pub fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Problem> {
    serde_json::from_slice(&reply.body).map_err(Problem::internal)
}

/// An ID of the address. What is none names nothing.
pub trait InAddress: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// `not_found`.
    fn read(text: &str) -> Result<Self, Problem>;
}

macro_rules! in_address {
    ($($id:ty),*) => {
        $(impl InAddress for $id {
            fn read(text: &str) -> Result<Self, Problem> {
                text.parse().map_err(|_| ApiCode::NotFound.into())
            }
        })*
    };
}

in_address!(
    BatchId,
    CardId,
    MediumId,
    UserId,
    counterfoil_core::OrderId,
    counterfoil_core::LicenseId,
    counterfoil_core::TitleId,
    counterfoil_core::ReleaseVersion
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_mended_is_said_and_nothing_else_is() {
        let wrong = Problem::with(ApiCode::Unprocessable, "`rights.copies` is 1 to 1000000");
        assert_eq!(mendable(wrong).unwrap(), "`rights.copies` is 1 to 1000000.");
        let taken = mendable(ApiCode::Conflict.into()).unwrap();
        assert_eq!(taken, "This contradicts what is already there. Look at what is there first.");
        for hidden in [ApiCode::NotFound, ApiCode::Internal, ApiCode::ForeignForm, ApiCode::Unavailable] {
            assert!(mendable(hidden.into()).is_err(), "{}", hidden.as_str());
        }
    }
}
