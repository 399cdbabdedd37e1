//! Settlement (C17): what operator and gateway each get of a month, frozen once, and the lines that it is made of.

use counterfoil_core::{AccountId, Currency, PostingId, RequestId, Timestamp, TitleId};
use serde::Serialize;

use super::ledger::Period;
use super::ledger::posting::{Exchange, Kind};
use super::statement;
use crate::clock::rfc3339;
use crate::db::{Db, DbError, FromRow, Row, Tx, all};

/// How long after its end a month is open: longer than any transaction that began in it may take.
pub const GRACE: i64 = 60 * 60 * 1000;

/// Accounts whose months are closed side by side.
const PAGE: i64 = 500;

/// Family of the rows that hang from no account.
const FAMILY: &str = "/settlement";

/// Who gets a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Who runs the authority.
    Operator,
    /// Who runs this gateway.
    Gateway,
}

impl Party {
    /// As in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gateway => "gateway",
        }
    }
}

/// What a month comes to for one party, in one currency; amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Which currency.
    pub currency: Currency,
    /// Who.
    pub party: String,
    /// How many charges.
    pub charges: i64,
    /// What they come to.
    pub charged: i64,
    /// How many were undone, of this month or an earlier one.
    pub undone: i64,
    /// What those come to.
    pub returned: i64,
    /// What the party gets; negative where more was undone than charged.
    pub part: i64,
}

/// A month that is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// Which.
    pub period: Period,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// Who gets what, by currency and party.
    pub shares: Vec<Share>,
}

/// Why a month is not settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// It can still be booked into.
    #[error("{0} is not over: a month is settled from one hour after its end")]
    NotOver(Period),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Closes a month, with all before it that are open: first every account's, then the month's. Settled already, it answers what it came to then.
///
/// # Errors
/// `NotOver`, or a failure of the database; then it goes on when it is called again.
pub async fn settle(db: &Db, period: Period, now: Timestamp) -> Result<Settlement, SettleError> {
    loop {
        if let Some(settled) = db.read("settlement", async move |tx| find(tx, period).await).await? {
            return Ok(settled);
        }
        if now.0 < period.end().0.saturating_add(GRACE) {
            return Err(SettleError::NotOver(period));
        }
        let earliest = db.read("earliest open month", async move |tx| earliest_open(tx, period).await).await?;
        close(db, earliest.unwrap_or(period), now).await?;
    }
}

/// A month that is settled.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, period: Period) -> Result<Option<Settlement>, DbError> {
    let sql = "SELECT closed_at FROM settled_period WHERE period = $1 AND closed_at IS NOT NULL";
    let Some((closed_at,)) = tx.query(sql).bind(period.to_string()).opt().await? else { return Ok(None) };
    let sql = "SELECT currency, party, charges, charged, undone, returned, part FROM settlement WHERE period = $1 ORDER BY currency, party LIMIT 1000";
    let shares = tx.query(sql).bind(period.to_string()).all().await?;
    Ok(Some(Settlement { period, closed_at, shares }))
}

/// The first month up to this one that something is booked in and that is not settled.
async fn earliest_open(tx: &mut Tx, period: Period) -> Result<Option<Period>, DbError> {
    let sql = "SELECT MIN(p.period) FROM posting p WHERE p.period <= $1
                 AND NOT EXISTS (SELECT 1 FROM settled_period s WHERE s.period = p.period AND s.closed_at IS NOT NULL)";
    Ok(tx.query(sql).bind(period.to_string()).one::<(Option<Period>,)>().await?.0)
}

async fn close(db: &Db, period: Period, now: Timestamp) -> Result<(), DbError> {
    // From here on an account that gets its first balance begins with the next month.
    db.write("begin a settlement", FAMILY, async move |tx: &mut Tx| -> Result<(), DbError> {
        let sql = "INSERT INTO settled_period (period, begun_at) VALUES ($1, $2) ON CONFLICT (period) DO NOTHING";
        tx.query(sql).bind(period.to_string()).bind(now.0).execute().await.map(drop)
    })
    .await?;
    loop {
        let open = db.read("open accounts", async move |tx| open_accounts(tx, period).await).await?;
        if open.is_empty() {
            break;
        }
        all(open.into_iter().map(|(account, currency)| statement::close(db, account, currency, period, now))).await?;
    }
    db.write("settle", FAMILY, async move |tx: &mut Tx| -> Result<(), DbError> {
        let sql = "UPDATE settled_period SET closed_at = $2 WHERE period = $1 AND closed_at IS NULL";
        if tx.query(sql).bind(period.to_string()).bind(now.0).execute().await? == 0 {
            return Ok(());
        }
        for share in shares(tx, period).await? {
            freeze(tx, period, share).await?;
        }
        Ok(())
    })
    .await
}

async fn open_accounts(tx: &mut Tx, period: Period) -> Result<Vec<(AccountId, Currency)>, DbError> {
    let sql = "SELECT account_id, currency FROM balance WHERE open_from <= $1 LIMIT $2";
    tx.query(sql).bind(period.to_string()).bind(PAGE).all().await
}

/// What a month comes to, from the journal alone.
///
/// # Errors
/// A failure of the database.
pub async fn shares(tx: &mut Tx, period: Period) -> Result<Vec<Share>, DbError> {
    let rows: Vec<(Currency, i64, i64, i64, i64, i64, i64)> = tx
        .query(
            "SELECT currency, CAST(SUM(CASE WHEN kind = 'charge' THEN 1 ELSE 0 END) AS BIGINT),
               CAST(SUM(CASE WHEN kind = 'charge' THEN operator + gateway ELSE 0 END) AS BIGINT),
               CAST(SUM(CASE WHEN kind = 'charge' THEN 0 ELSE 1 END) AS BIGINT),
               CAST(SUM(CASE WHEN kind = 'charge' THEN 0 ELSE -operator - gateway END) AS BIGINT),
               CAST(SUM(operator) AS BIGINT), CAST(SUM(gateway) AS BIGINT)
             FROM posting WHERE period = $1 AND kind IN ('charge', 'refund', 'chargeback') AND exchange_id IS NOT NULL GROUP BY currency ORDER BY currency",
        )
        .bind(period.to_string())
        .all()
        .await?;
    let both = |(currency, charges, charged, undone, returned, operator, gateway)| {
        [(Party::Gateway, gateway), (Party::Operator, operator)].map(|(party, part)| Share {
            currency,
            party: party.as_str().to_owned(),
            charges,
            charged,
            undone,
            returned,
            part,
        })
    };
    Ok(rows.into_iter().flat_map(both).collect())
}

async fn freeze(tx: &mut Tx, period: Period, share: Share) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO settlement (period, currency, party, charges, charged, undone, returned, part) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(period.to_string())
    .bind(share.currency.as_str())
    .bind(share.party)
    .bind(share.charges)
    .bind(share.charged)
    .bind(share.undone)
    .bind(share.returned)
    .bind(share.part)
    .execute()
    .await
    .map(drop)
}

impl FromRow for Share {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (currency, party, charges, charged) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self { currency, party, charges, charged, undone: row.column()?, returned: row.column()?, part: row.column()? })
    }
}

/// One line of what a party gets. It names the exchange, which both sides know, and no account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettledLine {
    /// Which posting.
    pub posting: PostingId,
    /// When it was booked.
    pub at: Timestamp,
    /// A charge, or how it was undone.
    pub kind: &'static str,
    /// Which exchange.
    pub exchange: Option<RequestId>,
    /// What for.
    pub title: Option<TitleId>,
    /// In which currency.
    pub currency: Currency,
    /// The price; negative where it was undone.
    pub price: i64,
    /// The operator's part of it.
    pub operator: i64,
    /// The gateway's.
    pub gateway: i64,
}

/// Names of the cells of a line.
pub const COLUMNS: [&str; 8] = ["posting", "booked_at", "kind", "exchange", "title", "currency", "price", "part"];

impl SettledLine {
    /// As a row of a table for one party.
    pub fn cells(&self, party: Party) -> [String; 8] {
        let part = match party {
            Party::Operator => self.operator,
            Party::Gateway => self.gateway,
        };
        let some = |id: Option<String>| id.unwrap_or_default();
        let (exchange, title) = (some(self.exchange.map(|id| id.to_string())), some(self.title.as_ref().map(ToString::to_string)));
        let money = |amount| statement::signed(amount, self.currency);
        let (posting, at, kind) = (self.posting.to_string(), rfc3339(self.at), self.kind.to_owned());
        [posting, at, kind, exchange, title, self.currency.to_string(), money(self.price), money(part)]
    }
}

/// Lines of a month, after one that was read before, `most` of them.
///
/// # Errors
/// A failure of the database.
pub async fn lines(tx: &mut Tx, period: Period, after: Option<PostingId>, most: i64) -> Result<Vec<SettledLine>, DbError> {
    let sql = "SELECT posting_id, booked_at, kind, exchange_id, title_id, currency, operator, gateway FROM posting
               WHERE period = $1 AND posting_id > $2 AND kind IN ('charge', 'refund', 'chargeback') AND exchange_id IS NOT NULL
               ORDER BY posting_id LIMIT $3";
    tx.query(sql).bind(period.to_string()).bind(after.map(|id| id.to_string()).unwrap_or_default()).bind(most).all().await
}

impl FromRow for SettledLine {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (posting, at, kind) = (row.column()?, row.column()?, row.column::<Kind>()?.as_str());
        let exchange = row.column::<Option<Exchange>>()?.map(|Exchange(id)| id);
        let (title, currency) = (row.column()?, row.column()?);
        let (operator, gateway): (i64, i64) = (row.column()?, row.column()?);
        Ok(Self { posting, at, kind, exchange, title, currency, price: operator + gateway, operator, gateway })
    }
}
