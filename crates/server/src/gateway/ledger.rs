//! The ledger (C17): what is booked, once and for good, and what every account holds because of it.
//!
//! A *posting* is booked at once, in one currency; its *entries* lie in books and come to nothing together, which the database demands as well.
//! Entries are signed as those who are owed money see it: what customers have paid in, and what operator and gateway have earned, is
//! positive; the cash that it lies in is negative. A reservation is a pending posting: it holds the entries that a charge would have, binds
//! the amount in the balance, and is answered once, by a charge or a void. Nothing is changed afterwards; what was wrong is booked back.
//!
//! All functions work in the caller's transaction, in the account's family. IDs of postings are the caller's, drawn before: with the same IDs
//! again they change nothing and answer the same.

use counterfoil_core::wire::{Charge, UndoReason};
use counterfoil_core::{AccountId, Currency, Money, PostingId, RequestId, Timestamp};

use crate::db::{DbError, Tx};
use lots::Given;
use posting::{Entries, Kind, Posting};

pub use card::{Repaid, release, repay, repayment_failed};
pub use lots::{Funded, Taken, account_of, funded_by, take_back};
pub use period::Period;

mod card;
mod lots;
pub mod period;
pub mod posting;

/// The most that a balance is topped up to, in minor units: what an `f64` in somebody's spreadsheet still counts exactly.
pub const MOST: u64 = 1 << 53;

/// Who books what an exchange comes to.
const EXCHANGE: &str = "exchange";

/// What an account holds in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Paid in and not charged.
    pub posted: i64,
    /// Of that, what is bound by charges on their way.
    pub reserved: i64,
}

impl Balance {
    /// What can be charged; never negative.
    pub fn available(self) -> i64 {
        self.posted - self.reserved
    }
}

/// What came of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The amount is bound, by this call or an earlier one with the same posting.
    Done,
    /// The account does not hold as much; nothing was written.
    Short(Balance),
}

/// Money that comes in for an account.
#[derive(Clone, Debug)]
pub struct TopUp {
    /// What it is booked as.
    pub posting: PostingId,
    /// How much the account gets.
    pub money: Money,
    /// Where from.
    pub source: Source,
    /// Who books it: an operator's name, the account.
    pub actor: String,
    /// For the record: where the money arrived.
    pub note: String,
}

/// Where money comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gateway was paid, and paid so much for being paid, in minor units; it may be taken back by the bank.
    Cash {
        /// At most the amount.
        fee: u64,
    },
    /// A payment provider holds it, or has it promised by a card; what it asks for that is a [`fee`]. It may be taken back by the bank.
    Card,
    /// A voucher, which was paid for when it was bought.
    Voucher,
}

/// What came of a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToppedUp {
    /// Booked, by this call or an earlier one with the same posting.
    Done,
    /// More than a balance holds, or nothing, or more fee than money; nothing was written.
    Unfit,
    /// Something else was booked by that posting earlier: so much, or with another fee. Nothing was written.
    Other(Money),
}

/// Adds to an account's balance: customer against cash (and fees), against what a payment provider holds, or against vouchers. It becomes a lot, which charges are paid from, oldest first.
///
/// # Errors
/// A failure of the database; an account that there is not is `Constraint`.
pub async fn top_up(tx: &mut Tx, account: AccountId, top_up: &TopUp, now: Timestamp) -> Result<ToppedUp, DbError> {
    let Some(amount) = minor(top_up.money.amount).filter(|amount| *amount > 0) else { return Ok(ToppedUp::Unfit) };
    let (kind, entries) = match top_up.source {
        Source::Voucher => (Kind::Voucher, Entries { customer: amount, vouchers: -amount, ..Entries::default() }),
        Source::Card => (Kind::TopUp, Entries { customer: amount, receivable: -amount, ..Entries::default() }),
        Source::Cash { fee } => match minor(fee).filter(|fee| *fee <= amount) {
            Some(fee) => (Kind::TopUp, Entries { customer: amount, cash: fee - amount, fees: -fee, ..Entries::default() }),
            None => return Ok(ToppedUp::Unfit),
        },
    };
    let currency = top_up.money.currency;
    if let Some(earlier) = posting::money_in(tx, account, top_up.posting).await? {
        let same = earlier == (currency, entries.customer, entries.fees);
        return Ok(if same { ToppedUp::Done } else { ToppedUp::Other(Money { amount: earlier.1.unsigned_abs(), currency: earlier.0 }) });
    }
    let Some(place) = posting::open(tx, account, currency, amount).await? else { return Ok(ToppedUp::Unfit) };
    let booked =
        Posting { entries, note: top_up.note.clone(), actor: top_up.actor.clone(), ..Posting::new(top_up.posting, currency, kind) };
    booked.write(tx, account, &place, now).await?;
    lots::begin(tx, account, top_up.posting, currency, &place, amount).await?;
    Ok(ToppedUp::Done)
}

/// Books the pending posting of a charge: customer against operator and gateway, by [`Charge::operator_part`]. Binds the price in the balance, and
/// notes which lots it would be paid from.
///
/// # Errors
/// A failure of the database; `Constraint` for a charge whose parts are more than its price, and for an exchange that was reserved by another posting.
pub async fn reserve(
    tx: &mut Tx,
    account: AccountId,
    posting: PostingId,
    exchange: RequestId,
    charge: &Charge,
    now: Timestamp,
) -> Result<Reserved, DbError> {
    if let Some(earlier) = posting::of_exchange(tx, account, exchange).await? {
        return if earlier == posting { Ok(Reserved::Done) } else { Err(broken("the exchange is reserved under another posting")) };
    }
    let (currency, entries) = (charge.price.currency, entries_of(charge)?);
    let amount = -entries.customer;
    let Some(place) = posting::change(tx, account, currency, 0, amount).await? else {
        return Ok(Reserved::Short(balance(tx, account, &currency).await?));
    };
    let title = Some((charge.title.clone(), charge.name.clone()));
    let pending = Posting::new(posting, currency, Kind::Reserve);
    Posting { entries, reserved: amount, exchange: Some(exchange), title, ..pending }.write(tx, account, &place, now).await?;
    lots::fund(tx, account, posting, currency, amount).await?;
    Ok(Reserved::Done)
}

/// Makes the charge of what is pending: its entries count from now on. False, and nothing is written, where it was charged or voided by another
/// posting before.
///
/// # Errors
/// A failure of the database; `NoRow` where nothing was reserved.
pub async fn post(tx: &mut Tx, account: AccountId, pending: PostingId, posting: PostingId, now: Timestamp) -> Result<bool, DbError> {
    let reserved = posting::find(tx, account, pending, Kind::Reserve).await?;
    if let Some(answer) = reserved.answer {
        return Ok(answer == posting);
    }
    let Posting { entries, currency, .. } = reserved.posting;
    let place = posting::change(tx, account, currency, entries.customer, -reserved.posting.reserved).await?;
    let charge = Posting { entries, reserved: -reserved.posting.reserved, ..reserved.posting.answered(posting, Kind::Charge) };
    charge.write(tx, account, &place.ok_or_else(|| broken("less is reserved than was"))?, now).await?;
    Ok(true)
}

/// Ends what is pending without a charge: the amount is free again, in the lots that it was to come from. What would have come from a lot that the
/// bank has taken back meanwhile goes to the bank. False, and nothing is written, where it was charged or voided by another posting before.
///
/// # Errors
/// A failure of the database; `NoRow` where nothing was reserved.
pub async fn void(tx: &mut Tx, account: AccountId, pending: PostingId, posting: PostingId, now: Timestamp) -> Result<bool, DbError> {
    let reserved = posting::find(tx, account, pending, Kind::Reserve).await?;
    if let Some(answer) = reserved.answer {
        return Ok(answer == posting);
    }
    let reserved = reserved.posting;
    let Given { bank, provider, .. } = lots::to_give_back(tx, account, pending).await?;
    let place = posting::change(tx, account, reserved.currency, -bank - provider, -reserved.reserved).await?;
    let entries = Entries { customer: -bank - provider, cash: bank, receivable: provider, ..Entries::default() };
    let void = Posting { entries, reserved: -reserved.reserved, ..reserved.answered(posting, Kind::Void) };
    void.write(tx, account, &place.ok_or_else(|| broken("less is reserved than was"))?, now).await?;
    lots::give_back(tx, account, pending).await?;
    Ok(true)
}

/// Books a charge back in full: operator and gateway give their parts, and each part of the price returns to the lot that it was paid from, or to
/// the bank where that has taken the lot back. `charge` is the posting that [`post`] was given. False, and nothing is written, where it was undone
/// by another posting before.
///
/// # Errors
/// A failure of the database; `NoRow` where nothing was charged.
pub async fn undo(
    tx: &mut Tx,
    account: AccountId,
    charge: PostingId,
    posting: PostingId,
    why: UndoReason,
    note: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let charged = posting::find(tx, account, charge, Kind::Charge).await?;
    if let Some(answer) = charged.answer {
        return Ok(answer == posting);
    }
    let charged = charged.posting;
    let pending = charged.refers_to.ok_or_else(|| broken("a charge refers to what was reserved"))?;
    let Given { customer, bank, provider } = lots::to_give_back(tx, account, pending).await?;
    let kind = match why {
        UndoReason::Refund => Kind::Refund,
        UndoReason::Chargeback => Kind::Chargeback,
    };
    let place = posting::change(tx, account, charged.currency, customer, 0).await?;
    let Entries { operator, gateway, .. } = charged.entries;
    let entries = Entries { customer, cash: bank, receivable: provider, operator: -operator, gateway: -gateway, ..Entries::default() };
    let undone = Posting { entries, note: note.to_owned(), ..charged.answered(posting, kind) };
    undone.write(tx, account, &place.ok_or_else(|| broken("a balance is missing"))?, now).await?;
    lots::give_back(tx, account, pending).await?;
    Ok(true)
}

/// Who asks for a fee, and so where it is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payee {
    /// The bank: from cash.
    Bank,
    /// A payment provider: from what it holds.
    Provider,
}

/// Books what the bank or a payment provider asks for itself, such as for a chargeback, in the account's journal but not at its cost.
///
/// # Errors
/// A failure of the database; `Constraint` where the account never held that currency.
pub async fn fee(
    tx: &mut Tx,
    account: AccountId,
    posting: PostingId,
    (payee, fee): (Payee, Money),
    note: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    if posting::exists(tx, account, posting).await? {
        return Ok(());
    }
    let amount = minor(fee.amount).ok_or_else(|| broken("a fee is too high"))?;
    let place = posting::change(tx, account, fee.currency, 0, 0).await?.ok_or_else(|| broken("a balance is missing"))?;
    let entries = match payee {
        Payee::Bank => Entries { fees: -amount, cash: amount, ..Entries::default() },
        Payee::Provider => Entries { fees: -amount, receivable: amount, ..Entries::default() },
    };
    let booked = Posting { entries, note: note.to_owned(), ..Posting::new(posting, fee.currency, Kind::Fee) };
    booked.write(tx, account, &place, now).await
}

/// What an account holds in a currency; nothing where it never held any.
///
/// # Errors
/// A failure of the database.
pub async fn balance(tx: &mut Tx, account: AccountId, currency: &Currency) -> Result<Balance, DbError> {
    let sql = "SELECT posted, reserved FROM balance WHERE account_id = $1 AND currency = $2";
    let row: Option<(i64, i64)> = tx.query(sql).bind(account.to_string()).bind(currency.as_str()).opt().await?;
    Ok(row.map(|(posted, reserved)| Balance { posted, reserved }).unwrap_or_default())
}

/// What an account holds, in every currency that it ever held.
///
/// # Errors
/// A failure of the database.
pub async fn balances(tx: &mut Tx, account: AccountId) -> Result<Vec<(Currency, Balance)>, DbError> {
    let sql = "SELECT currency, posted, reserved FROM balance WHERE account_id = $1 ORDER BY currency LIMIT 1000";
    let rows: Vec<(Currency, i64, i64)> = tx.query(sql).bind(account.to_string()).all().await?;
    Ok(rows.into_iter().map(|(currency, posted, reserved)| (currency, Balance { posted, reserved })).collect())
}

/// The entries of a charge: both sides book the same numbers, since the authority has rounded.
fn entries_of(charge: &Charge) -> Result<Entries, DbError> {
    let unfit = || broken("the parts of a charge do not come to its price");
    let price = minor(charge.price.amount).filter(|price| *price > 0).ok_or_else(unfit)?;
    let operator = minor(charge.operator_part).filter(|part| *part <= price).ok_or_else(unfit)?;
    Ok(Entries { customer: -price, operator, gateway: price - operator, ..Entries::default() })
}

fn minor(amount: u64) -> Option<i64> {
    i64::try_from(amount).ok().filter(|_| amount <= MOST)
}

/// What must not be, and would be if this went on.
fn broken(what: &str) -> DbError {
    DbError::Constraint(what.to_owned())
}
