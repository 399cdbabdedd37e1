//! The repair centre's no.

use counterfoil_core::wire::ReissueState;
use counterfoil_core::{ReissueId, Timestamp, UserId};
use serde_json::json;

use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::reissue::{self, ReissueRow};
use crate::store::{audit, user};

/// Declines a request that waits, in the user's family. The same again changes nothing.
///
/// # Errors
/// `not_found`; `conflict` where it was carried out; failures of the database.
pub async fn decline(tx: &mut Tx, user: UserId, id: ReissueId, actor: &str, reason: &str, now: Timestamp) -> Result<ReissueRow, Problem> {
    let family = user::family(user);
    audit::hold(tx, &family).await?;
    let row = reissue::find(tx, user, id).await?.ok_or(ApiCode::NotFound)?;
    match row.state {
        ReissueState::Declined => return Ok(row),
        ReissueState::Done => return Err(Problem::with(ApiCode::Conflict, "this request was carried out")),
        ReissueState::Waiting => {}
    }
    let row = ReissueRow {
        state: ReissueState::Declined,
        decided_by: Some(actor.to_owned()),
        decided_at: Some(now),
        reason: Some(reason.to_owned()),
        ..row
    };
    let detail = json!({ "reissue": id, "card": row.card_id(), "reason": reason });
    audit::append(tx, &family, now.0, actor, "card.reissue_declined", &detail).await?;
    if !reissue::decide(tx, &row).await? {
        return Err(tx.conflict("the request for a card").into());
    }
    Ok(row)
}
