//! Money that a payment provider holds: promised by a card and not taken, and given back to a card.

use counterfoil_core::{AccountId, PostingId, Timestamp};

use super::lots::{self, Given};
use super::posting::{self, Entries, Kind, Posting};
use super::{broken, minor};
use crate::db::{DbError, Tx};

/// Ends the lot of a top-up whose money the card had only promised: what is left of it leaves the account, to nobody. Again, it changes nothing.
///
/// # Errors
/// A failure of the database; `Constraint` where there is no such lot.
pub async fn release(tx: &mut Tx, account: AccountId, lot: PostingId, posting: PostingId, now: Timestamp) -> Result<(), DbError> {
    let found = lots::find(tx, account, lot).await?.ok_or_else(|| broken("what a card has promised is no lot"))?;
    if found.ended {
        return Ok(());
    }
    let Some(place) = posting::change(tx, account, found.currency, -found.rest, 0).await? else { return Err(tx.conflict("a lot")) };
    lots::end(tx, account, lot, found.rest, now).await?;
    let released = Posting::new(posting, found.currency, Kind::Release);
    Posting { refers_to: Some(lot), entries: found.returned(found.rest), ..released }.write(tx, account, &place, now).await
}

/// What came of giving back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaid {
    /// So many minor units have left the account.
    Done(u64),
    /// There is no such top-up by card.
    Unknown,
    /// So much is left of it, which is less than was asked for, or nothing.
    Short(u64),
}

/// Takes what is left of a top-up by card, or so much of it, from the account: it goes back to the card. It is never more than the account has paid in
/// by that top-up and not spent.
///
/// # Errors
/// A failure of the database.
pub async fn repay(
    tx: &mut Tx,
    account: AccountId,
    lot: PostingId,
    posting: PostingId,
    amount: Option<u64>,
    (actor, note): (&str, &str),
    now: Timestamp,
) -> Result<Repaid, DbError> {
    let Some(found) = lots::find(tx, account, lot).await?.filter(|found| found.by_card && found.kind == Kind::TopUp) else {
        return Ok(Repaid::Unknown);
    };
    let asked = match amount {
        Some(amount) => minor(amount),
        None => Some(found.rest),
    };
    let Some(asked) = asked.filter(|asked| *asked > 0 && *asked <= found.rest) else { return Ok(Repaid::Short(found.rest.unsigned_abs())) };
    let Some(place) = posting::change(tx, account, found.currency, -asked, 0).await? else { return Err(tx.conflict("a lot")) };
    let repaid = Posting { entries: found.returned(asked), ..Posting::new(posting, found.currency, Kind::Repayment) };
    Posting { actor: actor.to_owned(), note: note.to_owned(), ..repaid }.write(tx, account, &place, now).await?;
    lots::take_from(tx, account, posting, lot, asked).await?;
    Ok(Repaid::Done(asked.unsigned_abs()))
}

/// Books back what did not get to the card: into its lot, or, where the bank has taken that back meanwhile, to the bank, which the provider has paid by
/// it. Again, it changes nothing.
///
/// # Errors
/// A failure of the database; `NoRow` where nothing was given back.
pub async fn repayment_failed(
    tx: &mut Tx,
    account: AccountId,
    repayment: PostingId,
    posting: PostingId,
    now: Timestamp,
) -> Result<(), DbError> {
    let found = posting::find(tx, account, repayment, Kind::Repayment).await?;
    if found.answer.is_some() {
        return Ok(());
    }
    let Given { customer, .. } = lots::to_give_back(tx, account, repayment).await?;
    let Some(place) = posting::change(tx, account, found.posting.currency, customer, 0).await? else {
        return Err(broken("a balance is missing"));
    };
    let entries = Entries { customer, receivable: -customer, ..Entries::default() };
    let failed = found.posting.answered(posting, Kind::RepaymentFailed);
    Posting { entries, ..failed }.write(tx, account, &place, now).await?;
    lots::give_back(tx, account, repayment).await
}
