//! The books (C17): what each holds, what is pending, and the auditor that recomputes all of it from the journal alone.
//!
//! Each sentence of the auditor is a query that finds what breaks it, as in [`crate::auditor`].

use counterfoil_core::{AccountId, Currency, PostingId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use super::ledger::Period;
use super::ledger::posting::Exchange;
use super::{settlement, statement};
use crate::auditor::{Violation, step_back};
use crate::db::{Db, DbError, FromRow, Row, Tx};
use crate::store::setting;

/// What is listed of one broken sentence, and statements that are read at once.
const MOST: i64 = 100;

/// Where the result of the last check stands.
const CHECKED: &str = "books_checked";
/// Family of the gateway's settings.
const FAMILY: &str = "/gateway";

/// What the books hold in one currency, in minor units. What is owed is positive, where it lies is negative; together they come to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Which currency.
    pub currency: Currency,
    /// How many postings, those that are pending included.
    pub postings: i64,
    /// Owed to accounts.
    pub customers: i64,
    /// Of that, what is bound by charges on their way.
    pub reserved: i64,
    /// Earned by the operator of the authority.
    pub operator: i64,
    /// Earned by the gateway.
    pub gateway: i64,
    /// Taken in and not given back.
    pub cash: i64,
    /// Paid for payments.
    pub fees: i64,
    /// Redeemed of vouchers.
    pub vouchers: i64,
    /// Held by a payment provider, or promised by cards.
    pub receivable: i64,
}

/// What each book holds, by currency.
///
/// # Errors
/// A failure of the database.
pub async fn totals(tx: &mut Tx) -> Result<Vec<Totals>, DbError> {
    tx.query(
        "SELECT currency, COUNT(*), CAST(SUM(CASE WHEN kind = 'reserve' THEN 0 ELSE customer END) AS BIGINT), CAST(SUM(reserved) AS BIGINT),
           CAST(SUM(CASE WHEN kind = 'reserve' THEN 0 ELSE operator END) AS BIGINT),
           CAST(SUM(CASE WHEN kind = 'reserve' THEN 0 ELSE gateway END) AS BIGINT),
           CAST(SUM(cash) AS BIGINT), CAST(SUM(fees) AS BIGINT), CAST(SUM(vouchers) AS BIGINT), CAST(SUM(receivable) AS BIGINT)
         FROM posting GROUP BY currency ORDER BY currency",
    )
    .all()
    .await
}

impl FromRow for Totals {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (currency, postings, customers, reserved) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let (operator, gateway, cash, fees) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let (vouchers, receivable) = (row.column()?, row.column()?);
        Ok(Self { currency, postings, customers, reserved, operator, gateway, cash, fees, vouchers, receivable })
    }
}

/// A posting that waits for its answer longer than its exchange allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overdue {
    /// Whose.
    pub account: AccountId,
    /// Which posting.
    pub posting: PostingId,
    /// Of which exchange.
    pub exchange: Option<RequestId>,
    /// How much is bound, in minor units.
    pub amount: i64,
    /// Of what.
    pub currency: Currency,
    /// Since when.
    pub booked_at: Timestamp,
    /// Where the exchange stands; the exchange's driver ends it.
    pub state: Option<String>,
}

/// The pending postings whose exchange should have ended, oldest first, 100 at most.
///
/// # Errors
/// A failure of the database.
pub async fn overdue(tx: &mut Tx, now: Timestamp) -> Result<Vec<Overdue>, DbError> {
    tx.query(
        "SELECT r.account_id, r.posting_id, r.exchange_id, r.reserved, r.currency, r.booked_at, x.state FROM posting r
           LEFT JOIN exchange x ON x.account_id = r.account_id AND x.exchange_id = r.exchange_id
         WHERE r.kind = 'reserve' AND (x.expires_at IS NULL OR x.expires_at < $1)
           AND NOT EXISTS (SELECT 1 FROM posting a WHERE a.account_id = r.account_id AND a.refers_to = r.posting_id)
         ORDER BY r.booked_at, r.posting_id LIMIT $2",
    )
    .bind(now.0)
    .bind(MOST)
    .all()
    .await
}

impl FromRow for Overdue {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, posting) = (row.column()?, row.column()?);
        let exchange = row.column::<Option<Exchange>>()?.map(|Exchange(id)| id);
        let (amount, currency, booked_at, state) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self { account, posting, exchange, amount, currency, booked_at, state })
    }
}

const INVARIANTS: &[(&str, &str)] = &[
    (
        "the entries of a posting come to nothing",
        "SELECT posting_id FROM posting WHERE customer + operator + gateway + cash + fees + vouchers + receivable <> 0 LIMIT $1",
    ),
    (
        "a balance is what its postings come to, and is never below what is reserved of it",
        "SELECT b.account_id FROM balance b LEFT JOIN (SELECT account_id, currency, SUM(CASE WHEN kind = 'reserve' THEN 0 ELSE customer END) AS posted,
             SUM(reserved) AS reserved, COUNT(*) AS postings, MAX(number) AS latest FROM posting GROUP BY account_id, currency) p
           ON p.account_id = b.account_id AND p.currency = b.currency
         WHERE b.posted <> COALESCE(p.posted, 0) OR b.reserved <> COALESCE(p.reserved, 0) OR b.postings <> COALESCE(p.postings, 0)
           OR b.postings <> COALESCE(p.latest, 0) OR b.reserved < 0 OR b.posted < b.reserved
         UNION ALL SELECT p.account_id FROM posting p WHERE NOT EXISTS (SELECT 1 FROM balance b
           WHERE b.account_id = p.account_id AND b.currency = p.currency) LIMIT $1",
    ),
    (
        "a posting is answered at most once",
        "SELECT refers_to FROM posting WHERE refers_to IS NOT NULL GROUP BY account_id, refers_to HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "what is reserved is charged as it was reserved, or voided in full",
        "SELECT a.posting_id FROM posting a LEFT JOIN posting r ON r.account_id = a.account_id AND r.posting_id = a.refers_to AND r.kind = 'reserve'
         WHERE a.kind IN ('charge', 'void') AND (r.posting_id IS NULL OR a.reserved <> -r.reserved OR r.customer <> -r.reserved
           OR a.currency <> r.currency OR a.exchange_id <> r.exchange_id OR (a.kind = 'void' AND (a.operator <> 0 OR a.gateway <> 0))
           OR (a.kind = 'charge' AND (a.customer <> r.customer OR a.operator <> r.operator OR a.gateway <> r.gateway))) LIMIT $1",
    ),
    (
        "operator and gateway get parts of a price that come to it",
        "SELECT posting_id FROM posting WHERE kind IN ('reserve', 'charge')
           AND (operator < 0 OR gateway < 0 OR operator + gateway <> -customer OR customer >= 0) LIMIT $1",
    ),
    (
        "a charge is undone in full",
        "SELECT u.posting_id FROM posting u LEFT JOIN posting c ON c.account_id = u.account_id AND c.posting_id = u.refers_to
         WHERE (u.kind = 'refund' OR (u.kind = 'chargeback' AND u.exchange_id IS NOT NULL)) AND (c.posting_id IS NULL OR c.kind <> 'charge'
           OR u.operator <> -c.operator OR u.gateway <> -c.gateway OR u.customer + u.cash + u.receivable <> -c.customer OR u.customer < 0 OR u.cash < 0
           OR u.receivable < 0
           OR u.currency <> c.currency) LIMIT $1",
    ),
    (
        "what is reserved is paid from lots of its account and currency that come to it",
        "SELECT r.posting_id FROM posting r WHERE r.kind = 'reserve' AND r.reserved <> COALESCE((SELECT SUM(f.amount) FROM funding f
           JOIN lot l ON l.account_id = f.account_id AND l.lot_id = f.lot_id AND l.currency = r.currency
           WHERE f.account_id = r.account_id AND f.posting_id = r.posting_id GROUP BY f.account_id), 0) LIMIT $1",
    ),
    (
        "every top-up is a lot, and every lot is a top-up",
        "SELECT l.lot_id FROM lot l LEFT JOIN posting p ON p.account_id = l.account_id AND p.posting_id = l.lot_id
         WHERE p.posting_id IS NULL OR p.kind NOT IN ('top_up', 'voucher') OR p.customer <> l.amount OR p.currency <> l.currency OR p.number <> l.number
         UNION ALL SELECT p.posting_id FROM posting p WHERE p.kind IN ('top_up', 'voucher')
           AND NOT EXISTS (SELECT 1 FROM lot l WHERE l.account_id = p.account_id AND l.lot_id = p.posting_id) LIMIT $1",
    ),
    (
        "a lot holds what was not paid from it",
        "SELECT l.lot_id FROM lot l LEFT JOIN (SELECT f.account_id, f.lot_id, SUM(f.amount) AS spent FROM funding f
             LEFT JOIN posting a ON a.account_id = f.account_id AND a.refers_to = f.posting_id
             LEFT JOIN posting u ON u.account_id = a.account_id AND u.refers_to = a.posting_id
             WHERE (a.kind IS NULL OR NOT (a.kind = 'void' OR a.kind = 'repayment_failed' AND a.customer > 0)) AND u.posting_id IS NULL GROUP BY f.account_id, f.lot_id) s
           ON s.account_id = l.account_id AND s.lot_id = l.lot_id
         WHERE l.remaining <> CASE WHEN l.ended_at IS NULL THEN l.amount - COALESCE(s.spent, 0) ELSE 0 END LIMIT $1",
    ),
    (
        "the lots of an account hold what can be charged to it",
        "SELECT b.account_id FROM balance b WHERE b.posted - b.reserved <> COALESCE((SELECT SUM(l.remaining) FROM lot l
           WHERE l.account_id = b.account_id AND l.currency = b.currency GROUP BY l.account_id), 0) LIMIT $1",
    ),
    (
        "a lot has ended exactly when the bank has taken it back, or its card was let go",
        "SELECT l.lot_id FROM lot l LEFT JOIN posting t ON t.account_id = l.account_id AND t.refers_to = l.lot_id
         WHERE (l.ended_at IS NULL) <> (t.posting_id IS NULL) OR (t.posting_id IS NOT NULL AND t.kind NOT IN ('chargeback', 'release')) LIMIT $1",
    ),
    (
        "the bank got back what was left of its lots, and what they had paid for and was undone",
        "SELECT p.account_id FROM (SELECT account_id, currency, SUM(cash + receivable) AS returned FROM posting WHERE kind IN ('void', 'refund', 'chargeback', 'release')
             GROUP BY account_id, currency) p
           LEFT JOIN (SELECT l.account_id, l.currency, SUM(l.amount) - SUM(COALESCE(s.spent, 0)) AS due FROM lot l
             LEFT JOIN (SELECT f.account_id, f.lot_id, SUM(f.amount) AS spent FROM funding f
               LEFT JOIN posting a ON a.account_id = f.account_id AND a.refers_to = f.posting_id
               LEFT JOIN posting u ON u.account_id = a.account_id AND u.refers_to = a.posting_id
               WHERE (a.kind IS NULL OR NOT (a.kind = 'void' OR a.kind = 'repayment_failed' AND a.customer > 0)) AND u.posting_id IS NULL GROUP BY f.account_id, f.lot_id) s
             ON s.account_id = l.account_id AND s.lot_id = l.lot_id WHERE l.ended_at IS NOT NULL GROUP BY l.account_id, l.currency) d
           ON d.account_id = p.account_id AND d.currency = p.currency WHERE p.returned <> COALESCE(d.due, 0) LIMIT $1",
    ),
    (
        "an exchange is reserved once, for one account",
        "SELECT exchange_id FROM posting WHERE kind = 'reserve' GROUP BY exchange_id HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "nothing is charged without its exchange",
        "SELECT p.posting_id FROM posting p WHERE p.exchange_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM exchange x
           WHERE x.account_id = p.account_id AND x.exchange_id = p.exchange_id) LIMIT $1",
    ),
    (
        "an exchange is booked as far as it has come, at its price",
        "SELECT x.exchange_id FROM exchange x
           LEFT JOIN posting r ON r.account_id = x.account_id AND r.exchange_id = x.exchange_id AND r.kind = 'reserve'
           LEFT JOIN posting a ON a.account_id = r.account_id AND a.refers_to = r.posting_id
           LEFT JOIN posting u ON u.account_id = a.account_id AND u.refers_to = a.posting_id
         WHERE (x.state IN ('offered', 'lapsed') AND r.posting_id IS NOT NULL)
           OR (x.state IN ('reserved', 'committing') AND (r.posting_id IS NULL OR a.posting_id IS NOT NULL))
           OR (x.state = 'voided' AND COALESCE(a.kind, '') <> 'void')
           OR (x.state IN ('charged', 'undoing') AND (COALESCE(a.kind, '') <> 'charge' OR u.posting_id IS NOT NULL))
           OR (x.state = 'undone' AND (COALESCE(a.kind, '') <> 'charge' OR u.posting_id IS NULL))
           OR r.reserved <> x.amount OR r.operator <> x.operator_part OR r.currency <> x.currency LIMIT $1",
    ),
    (
        "a voucher is booked once it is taken, for what it is worth, and for nobody else",
        "SELECT v.posting_id FROM voucher v LEFT JOIN posting p ON p.account_id = v.account_id AND p.posting_id = v.posting_id AND p.kind = 'voucher'
         WHERE (v.booked_at IS NOT NULL AND p.posting_id IS NULL) OR p.customer <> v.amount OR p.currency <> v.currency
         UNION ALL SELECT p.posting_id FROM posting p WHERE p.kind = 'voucher' AND (SELECT COUNT(*) FROM voucher v
           WHERE v.account_id = p.account_id AND v.posting_id = p.posting_id) <> 1 LIMIT $1",
    ),
    (
        "a payment by card is booked as far as it has come, for what was taken of it",
        "SELECT m.payment_id FROM payment m LEFT JOIN posting p ON p.account_id = m.account_id AND p.posting_id = m.posting_id AND p.kind = 'top_up'
           LEFT JOIN lot l ON l.account_id = p.account_id AND l.lot_id = p.posting_id
         WHERE (m.state IN ('held', 'capturing', 'succeeded', 'lost')) <> (p.posting_id IS NOT NULL)
             AND NOT (m.state IN ('cancelling', 'cancelled') AND l.ended_at IS NOT NULL)
           OR p.customer <> m.taken OR p.receivable <> -m.taken OR p.currency <> m.currency OR m.taken > m.amount
           OR (m.state = 'lost' AND l.ended_at IS NULL) LIMIT $1",
    ),
    (
        "what a payment provider holds is of a payment, or of what its holder objected to",
        "SELECT p.posting_id FROM posting p WHERE p.kind = 'top_up' AND p.receivable <> 0
           AND NOT EXISTS (SELECT 1 FROM payment m WHERE m.account_id = p.account_id AND m.posting_id = p.posting_id)
           AND NOT EXISTS (SELECT 1 FROM dispute d WHERE d.account_id = p.account_id AND (d.credit_id = p.posting_id OR d.won_id = p.posting_id)) LIMIT $1",
    ),
    (
        "what goes back to a card is booked, and booked back where it did not get there",
        "SELECT b.posting_id FROM repayment b LEFT JOIN posting p ON p.account_id = b.account_id AND p.posting_id = b.posting_id AND p.kind = 'repayment'
           LEFT JOIN posting f ON f.account_id = b.account_id AND f.refers_to = b.posting_id
         WHERE p.posting_id IS NULL OR p.customer <> -b.amount OR p.receivable <> b.amount OR (b.state = 'failed') <> (f.posting_id IS NOT NULL)
         UNION ALL SELECT p.posting_id FROM posting p WHERE p.kind = 'repayment'
           AND NOT EXISTS (SELECT 1 FROM repayment b WHERE b.account_id = p.account_id AND b.posting_id = p.posting_id) LIMIT $1",
    ),
    (
        "nothing is booked into a month after it was closed",
        "SELECT p.posting_id FROM posting p JOIN settled_period s ON s.period = p.period WHERE p.booked_at > s.closed_at LIMIT $1",
    ),
];

/// Checks every sentence on one state of the database, a live one as well.
///
/// # Errors
/// A failure of the database; findings are no error.
pub async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    db.snapshot("check the books", async |tx: &mut Tx| -> Result<Vec<Violation>, DbError> {
        step_back();
        let mut violations = Vec::new();
        for (invariant, sql) in INVARIANTS {
            let found: Vec<(Option<String>,)> = tx.query(sql).bind(MOST).all().await?;
            violations.extend(found.into_iter().map(|(subject,)| Violation { invariant, subject: subject.unwrap_or_default() }));
        }
        statements(tx, &mut violations).await?;
        settlements(tx, &mut violations).await?;
        Ok(violations)
    })
    .await
}

/// What the last check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When.
    pub at: Timestamp,
    /// In how many places the books were wrong.
    pub wrong: usize,
    /// The first of them, in words.
    pub first: Option<String>,
}

/// Checks, and writes down what came of it.
///
/// # Errors
/// A failure of the database; findings are no error.
pub async fn check_and_note(db: &Db, now: Timestamp) -> Result<Vec<Violation>, DbError> {
    let wrong = check(db).await?;
    let first = wrong.first().map(|one| format!("{}: {}", one.invariant, one.subject));
    let checked = Checked { at: now, wrong: wrong.len(), first };
    let note = serde_json::to_string(&checked).map_err(|error| DbError::Constraint(error.to_string()))?;
    db.write("note a check", FAMILY, async move |tx: &mut Tx| setting::put(tx, CHECKED, &note).await).await?;
    Ok(wrong)
}

/// What the last check has found; none where there was none.
///
/// # Errors
/// A failure of the database.
pub async fn last_check(tx: &mut Tx) -> Result<Option<Checked>, DbError> {
    let note = setting::find(tx, CHECKED).await?;
    note.map(|note| serde_json::from_str(&note).map_err(|error| DbError::Constraint(error.to_string()))).transpose()
}

/// Every statement that is stored is what the journal comes to.
async fn statements(tx: &mut Tx, violations: &mut Vec<Violation>) -> Result<(), DbError> {
    let (mut account, mut period, mut currency) = (String::new(), String::new(), String::new());
    loop {
        let sql = "SELECT account_id, period, currency, opening, closing, lines, digest FROM statement
                   WHERE (account_id, period, currency) > ($1, $2, $3) ORDER BY account_id, period, currency LIMIT $4";
        let query = tx.query(sql).bind(&account).bind(&period).bind(&currency).bind(MOST);
        type Stored = (AccountId, Period, Currency, i64, i64, i64, [u8; 32]);
        let page: Vec<Stored> = query.all().await?;
        let Some(last) = page.last() else { return Ok(()) };
        (account, period, currency) = (last.0.to_string(), last.1.to_string(), last.2.to_string());
        for (account, period, currency, opening, closing, lines, digest) in page {
            let rebuilt = statement::rebuild(tx, account, currency, period).await?;
            if rebuilt != (statement::Rebuilt { opening, closing, lines, digest }) {
                let subject = format!("{account} {period} {currency}");
                violations.push(Violation { invariant: "a statement is what the journal comes to", subject });
            }
        }
    }
}

/// Every settlement that is frozen is what the journal comes to, and no account is left open in it.
async fn settlements(tx: &mut Tx, violations: &mut Vec<Violation>) -> Result<(), DbError> {
    let sql = "SELECT period FROM settled_period WHERE closed_at IS NOT NULL ORDER BY period LIMIT 12000";
    let periods: Vec<(Period,)> = tx.query(sql).all().await?;
    for (period,) in periods {
        let frozen = settlement::find(tx, period).await?.map(|settled| settled.shares).unwrap_or_default();
        let sql = "SELECT COUNT(*) FROM balance WHERE open_from <= $1";
        let (open,): (i64,) = tx.query(sql).bind(period.to_string()).one().await?;
        if frozen != settlement::shares(tx, period).await? || open > 0 {
            violations.push(Violation { invariant: "a settlement is what the journal comes to", subject: period.to_string() });
        }
    }
    Ok(())
}
