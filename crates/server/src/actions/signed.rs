//! Whether a request comes from one of the user's registered devices, and where it must, from the user's card as well.

use counterfoil_core::{CardId, Code, DeviceId, Refusal, UserId};

use super::asked::{self, Asked};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::user::{self, Recipient};

/// What must have signed besides the device.
#[derive(Clone, Copy, Debug)]
pub enum Besides {
    /// Nothing.
    Nothing,
    /// The card, where the entry has one. This is the card that the request names.
    Card(Option<CardId>),
}

/// The device that asks, with its user's entry. A refusal comes with the family that it is to be recorded in: as long as nothing is proven,
/// not the user's.
///
/// # Errors
/// A failure of the database.
pub async fn admit(
    app: &App,
    asked: &Asked,
    user: UserId,
    device: DeviceId,
    besides: Besides,
) -> Result<Result<Recipient, (Refusal, String)>, Problem> {
    let (recipient, known) = app
        .db
        .read("who asks", async move |tx: &mut Tx| -> Result<_, Problem> {
            let recipient = user::recipient(tx, user, device, None).await?;
            let known = recipient.is_some() || user::find(tx, user).await?.is_some();
            Ok((recipient, known))
        })
        .await?;
    let stranger = || asked::stranger(&user.to_string());
    let Some(recipient) = recipient else {
        let code = if known { Code::DeviceNotRegistered } else { Code::UserInvalid };
        return Ok(Err((code.into(), stranger())));
    };
    if !asked.signed(&device.to_string(), &recipient.device.keys.sign) {
        return Ok(Err((Refusal::with(Code::ProofInvalid, "the device"), stranger())));
    }
    // A device that holds its own keys can be declared dead as a card can.
    if recipient.dead && recipient.card().is_none() {
        return Ok(Err((Code::UserInvalid.into(), user::family(user))));
    }
    if let Besides::Card(named) = besides
        && let Some(card) = recipient.card()
    {
        let family = user::family(user);
        if named != Some(card) || !asked.signed(&card.to_string(), &recipient.holder.keys.sign) {
            return Ok(Err((Refusal::with(Code::ProofInvalid, "the card"), family)));
        }
        if recipient.dead {
            return Ok(Err((Code::CardUnknown.into(), family)));
        }
    }
    Ok(Ok(recipient))
}
