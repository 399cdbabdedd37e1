//! Statements (C17): what an account held when a month began, each line of the month, and what it holds at its end.
//!
//! A month is closed when it is settled. From then on its opening, closing, number of lines and a digest over them are stored; the lines
//! themselves are shown from the journal, which nobody can change, and `books --check` compares the two.

use counterfoil_core::{AccountId, Currency, Money, PostingId, RequestId, Timestamp, TitleId};
use serde::Serialize;

use super::ledger::Period;
use super::ledger::posting::{Exchange, Kind};
use crate::db::{Db, DbError, FromRow, Row, Tx};

/// Lines that are read at once.
pub const PAGE: usize = 500;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number among the account's postings in this currency.
    pub number: i64,
    /// Which posting.
    pub posting: PostingId,
    /// When it was booked.
    pub at: Timestamp,
    /// What it is.
    pub kind: &'static str,
    /// The exchange that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<RequestId>,
    /// What was charged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<TitleId>,
    /// Its name then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it adds to the balance, in minor units.
    pub amount: i64,
    /// What the balance was then.
    pub balance: i64,
    /// Who paid in or gave back, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A month of an account in one currency, without its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which month.
    pub period: Period,
    /// Which currency.
    pub currency: Currency,
    /// Held when it began, in minor units.
    pub opening: i64,
    /// Held at its end, or now.
    pub closing: i64,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

/// What an account's months come to in each currency that it ever held: as stored where the month is closed, else as it stands.
///
/// # Errors
/// A failure of the database.
pub async fn of(tx: &mut Tx, account: AccountId, period: Period) -> Result<Vec<Statement>, DbError> {
    let sql = "SELECT b.currency, s.opening, s.closing, s.closed_at FROM balance b
               LEFT JOIN statement s ON s.account_id = b.account_id AND s.currency = b.currency AND s.period = $2
               WHERE b.account_id = $1 ORDER BY b.currency LIMIT 1000";
    type Found = (Currency, Option<i64>, Option<i64>, Option<Timestamp>);
    let found: Vec<Found> = tx.query(sql).bind(account.to_string()).bind(period.to_string()).all().await?;
    let mut statements = Vec::new();
    for (currency, opening, closing, closed_at) in found {
        let (opening, closing) = match (opening, closing) {
            (Some(opening), Some(closing)) => (opening, closing),
            _ => (before(tx, account, currency, period, 0).await?, before(tx, account, currency, period.next(), 0).await?),
        };
        statements.push(Statement { period, currency, opening, closing, closed_at });
    }
    Ok(statements)
}

/// Lines of a month after one that was shown before (0: from the beginning), [`PAGE`] at most.
///
/// # Errors
/// A failure of the database.
pub async fn lines(tx: &mut Tx, account: AccountId, currency: Currency, period: Period, after: i64) -> Result<Vec<Line>, DbError> {
    let mut balance = before(tx, account, currency, period, after).await?;
    let rows: Vec<Booked> = tx
        .query(
            "SELECT number, posting_id, booked_at, kind, exchange_id, title_id, title_name, customer, note FROM posting
             WHERE account_id = $1 AND currency = $2 AND period = $3 AND number > $4 AND kind <> 'reserve' AND customer <> 0 ORDER BY number LIMIT $5",
        )
        .bind(account.to_string())
        .bind(currency.as_str())
        .bind(period.to_string())
        .bind(after)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .all()
        .await?;
    let with_balance = |Booked(line)| {
        balance += line.amount;
        Line { balance, ..line }
    };
    Ok(rows.into_iter().map(with_balance).collect())
}

/// What was held before a month's lines after this one.
async fn before(tx: &mut Tx, account: AccountId, currency: Currency, period: Period, after: i64) -> Result<i64, DbError> {
    let sql = "SELECT CAST(COALESCE(SUM(customer), 0) AS BIGINT) FROM posting
               WHERE account_id = $1 AND currency = $2 AND (period < $3 OR (period = $3 AND number <= $4)) AND kind <> 'reserve'";
    let query = tx.query(sql).bind(account.to_string()).bind(currency.as_str()).bind(period.to_string()).bind(after);
    Ok(query.one::<(i64,)>().await?.0)
}

/// What an account was charged for one exchange, for its owner to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The charge.
    pub posting: PostingId,
    /// When it was booked.
    pub charged_at: Timestamp,
    /// What for.
    pub title: TitleId,
    /// Its name then.
    pub name: String,
    /// How much.
    pub price: Money,
    /// When and how it was undone: `refund` or `chargeback`.
    pub undone: Option<(Timestamp, &'static str)>,
}

/// The receipt of a charge; none where nothing was charged to this account for that exchange.
///
/// # Errors
/// A failure of the database.
pub async fn receipt(tx: &mut Tx, account: AccountId, exchange: RequestId) -> Result<Option<Receipt>, DbError> {
    tx.query(
        "SELECT c.posting_id, c.booked_at, c.title_id, c.title_name, c.currency, -c.customer, u.booked_at, u.kind FROM posting r
           JOIN posting c ON c.account_id = r.account_id AND c.refers_to = r.posting_id AND c.kind = 'charge'
           LEFT JOIN posting u ON u.account_id = c.account_id AND u.refers_to = c.posting_id
         WHERE r.account_id = $1 AND r.exchange_id = $2 AND r.kind = 'reserve'",
    )
    .bind(account.to_string())
    .bind(exchange.to_string())
    .opt()
    .await
}

impl FromRow for Receipt {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (posting, charged_at, title, name) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let (currency, amount): (Currency, i64) = (row.column()?, row.column()?);
        let price = Money { currency, amount: amount.unsigned_abs() };
        let (at, kind): (Option<Timestamp>, Option<Kind>) = (row.column()?, row.column()?);
        Ok(Self { posting, charged_at, title, name, price, undone: at.zip(kind.map(Kind::as_str)) })
    }
}

/// As the currency is written, with a sign where it is negative.
pub fn signed(amount: i64, currency: Currency) -> String {
    let decimals = currency.decimals() as usize;
    let (sign, digits) = (if amount < 0 { "-" } else { "" }, format!("{:0>width$}", amount.unsigned_abs(), width = decimals + 1));
    match decimals {
        0 => format!("{sign}{digits}"),
        _ => format!("{sign}{}.{}", &digits[..digits.len() - decimals], &digits[digits.len() - decimals..]),
    }
}

/// A statement as the journal has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub opening: i64,
    pub closing: i64,
    pub lines: i64,
    pub digest: [u8; 32],
}

/// Makes the statement of a month from the journal alone.
pub(super) async fn rebuild(tx: &mut Tx, account: AccountId, currency: Currency, period: Period) -> Result<Rebuilt, DbError> {
    let opening = before(tx, account, currency, period, 0).await?;
    let (mut closing, mut count, mut after) = (opening, 0, 0);
    let mut hasher = blake3::Hasher::new();
    loop {
        let page = lines(tx, account, currency, period, after).await?;
        for line in &page {
            let text = serde_json::to_vec(line).map_err(|error| DbError::Constraint(error.to_string()))?;
            hasher.update(&text).update(b"\n");
            (closing, after, count) = (line.balance, line.number, count + 1);
        }
        if page.len() < PAGE {
            return Ok(Rebuilt { opening, closing, lines: count, digest: *hasher.finalize().as_bytes() });
        }
    }
}

/// Closes a month of an account, and all before it: what is booked later belongs to the next. Again, it changes nothing.
pub(super) async fn close(db: &Db, account: AccountId, currency: Currency, period: Period, now: Timestamp) -> Result<(), DbError> {
    db.write("close a statement", account.to_string(), async move |tx: &mut Tx| -> Result<(), DbError> {
        // Changes the row that every posting changes: those that came before are seen below, those that come after see this.
        let sql = "UPDATE balance SET open_from = $3 WHERE account_id = $1 AND currency = $2 AND open_from < $3";
        let closed = tx.query(sql).bind(account.to_string()).bind(currency.as_str()).bind(period.next().to_string()).execute().await?;
        if closed == 0 {
            return Ok(());
        }
        let rebuilt = rebuild(tx, account, currency, period).await?;
        if rebuilt.opening == 0 && rebuilt.lines == 0 {
            return Ok(());
        }
        tx.query(
            "INSERT INTO statement (account_id, period, currency, opening, closing, lines, digest, closed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(account.to_string())
        .bind(period.to_string())
        .bind(currency.as_str())
        .bind(rebuilt.opening)
        .bind(rebuilt.closing)
        .bind(rebuilt.lines)
        .bind(rebuilt.digest)
        .bind(now.0)
        .execute()
        .await
        .map(drop)
    })
    .await
}

/// A line without the balance.
struct Booked(Line);

impl FromRow for Booked {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (number, posting, at, kind) = (row.column()?, row.column()?, row.column()?, row.column::<Kind>()?.as_str());
        let exchange = row.column::<Option<Exchange>>()?.map(|Exchange(id)| id);
        let (title, name, amount, note) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self(Line { number, posting, at, kind, exchange, title, name, amount, balance: 0, note }))
    }
}
