//! Exchanges through gateways that are charged for (C17), each a family of its own; and what titles cost there.

use counterfoil_core::wire::{Charge, ExchangeRecord, ExchangeState};
use counterfoil_core::{Currency, GatewayId, GrantId, MediumId, Money, OrderId, RequestId, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// The family of an exchange.
pub fn family(exchange: RequestId) -> String {
    exchange.to_string()
}

impl FromValue for ExchangeState {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        ExchangeState::parse(&String::from_value(value)?).ok_or_else(|| "expected the state of an exchange".to_owned())
    }
}

/// What an exchange is about, and in whose family that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A claim.
    Copy(MediumId),
    /// An order.
    Order(UserId),
}

impl Subject {
    /// The operation, as terminals name it.
    pub fn operation(&self) -> &'static str {
        match self {
            Subject::Copy(_) => "claim",
            Subject::Order(_) => "order",
        }
    }

    /// The family, which is the ID.
    pub fn id(&self) -> String {
        match self {
            Subject::Copy(medium) => super::medium::family(medium),
            Subject::Order(user) => super::user::family(*user),
        }
    }
}

/// What came of an exchange that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An order.
    Order(OrderId),
    /// The grants of one copy.
    Grants(Vec<GrantId>),
}

/// A row of `gateway_exchange`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Which.
    pub id: RequestId,
    /// By which gateway.
    pub gateway: GatewayId,
    /// Over the bytes that the terminal signed.
    pub digest: Vec<u8>,
    /// About what.
    pub subject: Subject,
    /// What came of it, once it is committed.
    pub effect: Option<Effect>,
    /// What is charged.
    pub charge: Charge,
    /// Where it stands.
    pub state: ExchangeState,
    /// When it was prepared.
    pub created_at: Timestamp,
    /// Until when the price is held.
    pub expires_at: Timestamp,
    /// When carrying it out began.
    pub began_at: Option<Timestamp>,
    /// When its state changed last.
    pub changed_at: Timestamp,
    /// Why it was given up; or the refusal, as JSON.
    pub reason: Option<String>,
    /// The gateway's share that it was made under, in hundredths of a percent; nothing where that was not noted yet.
    pub share: Option<u32>,
}

impl Exchange {
    /// As the gateway is told of it.
    pub fn record(self) -> ExchangeRecord {
        let Self { id: exchange_id, charge, state, created_at, changed_at, .. } = self;
        ExchangeRecord { exchange_id, state, charge, created_at, changed_at }
    }
}

/// Reads exchanges, with the columns as [`Exchange`] takes them.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT exchange_id, gateway_id, digest, operation, subject, order_id, grants, title_id, title_name, currency, amount, operator_part,
                    state, created_at, expires_at, began_at, changed_at, reason, share
             FROM gateway_exchange ",
            $which
        )
    };
}

/// The grants of a copy, in one column.
struct Grants(Vec<GrantId>);

impl FromValue for Grants {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        serde_json::from_str(&String::from_value(value)?).map(Grants).map_err(|error| format!("expected grants: {error}"))
    }
}

impl FromRow for Exchange {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, gateway, digest) = (row.column()?, row.column()?, row.column()?);
        let subject = match row.column::<String>()?.as_str() {
            "order" => Subject::Order(row.column()?),
            _ => Subject::Copy(row.column()?),
        };
        let (order, grants): (Option<OrderId>, Option<Grants>) = (row.column()?, row.column()?);
        let effect = order.map(Effect::Order).or(grants.map(|Grants(grants)| Effect::Grants(grants)));
        let (title, name, currency): (TitleId, String, Currency) = (row.column()?, row.column()?, row.column()?);
        let (amount, operator_part) = (row.column::<i64>()?.unsigned_abs(), row.column::<i64>()?.unsigned_abs());
        let charge = Charge { title, name, price: Money { amount, currency }, operator_part };
        Ok(Self {
            id,
            gateway,
            digest,
            subject,
            effect,
            charge,
            state: row.column()?,
            created_at: row.column()?,
            expires_at: row.column()?,
            began_at: row.column()?,
            changed_at: row.column()?,
            reason: row.column()?,
            share: row.column()?,
        })
    }
}

/// One exchange, of whatever gateway.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, exchange: RequestId) -> Result<Option<Exchange>, DbError> {
    tx.query(select!("WHERE exchange_id = $1")).bind(exchange.to_string()).opt().await
}

/// Keeps an exchange that is prepared; false where there is one of this ID.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, exchange: &Exchange) -> Result<bool, DbError> {
    let Charge { title, name, price, operator_part } = &exchange.charge;
    let made = tx
        .query(
            "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, title_id, title_name, currency, amount,
                                           operator_part, state, created_at, expires_at, changed_at, share)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'prepared', $11, $12, $11, $13) ON CONFLICT (exchange_id) DO NOTHING",
        )
        .bind(exchange.id.to_string())
        .bind(exchange.gateway.to_string())
        .bind(&exchange.digest)
        .bind(exchange.subject.operation())
        .bind(exchange.subject.id())
        .bind(title.as_str())
        .bind(name)
        .bind(price.currency.to_string())
        .bind(minor(price.amount))
        .bind(minor(*operator_part))
        .bind(exchange.created_at.0)
        .bind(exchange.expires_at.0)
        .bind(exchange.share)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Prices are kept as what an `i64` holds.
fn minor(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Notes that carrying it out has begun; false where it is not prepared any more.
///
/// # Errors
/// A failure of the database.
pub async fn begin(tx: &mut Tx, exchange: RequestId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE gateway_exchange SET state = 'committing', began_at = $2, changed_at = $2
             WHERE exchange_id = $1 AND state = 'prepared'",
        )
        .bind(exchange.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes what came of one that was being carried out: nothing where it was refused. False where that was noted before.
///
/// # Errors
/// A failure of the database.
pub async fn decide(
    tx: &mut Tx,
    exchange: RequestId,
    effect: Option<&Effect>,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let (order, grants) = match effect {
        Some(Effect::Order(order)) => (Some(order.to_string()), None),
        Some(Effect::Grants(grants)) => (None, Some(serde_json::to_string(grants).expect("IDs are texts"))),
        None => (None, None),
    };
    let state = if effect.is_some() { ExchangeState::Committed } else { ExchangeState::Refused };
    let changed = tx
        .query(
            "UPDATE gateway_exchange SET state = $2, order_id = $3, grants = $4, reason = $5, decided_at = $6, changed_at = $6
             WHERE exchange_id = $1 AND state = 'committing'",
        )
        .bind(exchange.to_string())
        .bind(state.as_str())
        .bind(order)
        .bind(grants)
        .bind(reason)
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Gives one up that nobody has begun to carry out; false where somebody has.
///
/// # Errors
/// A failure of the database.
pub async fn abort(tx: &mut Tx, exchange: RequestId, reason: &str, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE gateway_exchange SET state = 'aborted', reason = $2, decided_at = $3, changed_at = $3
             WHERE exchange_id = $1 AND state = 'prepared'",
        )
        .bind(exchange.to_string())
        .bind(reason)
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that what it paid for was ended, never before it was decided: another process's clock may be in the month before. False where it is
/// not committed, or that was noted before.
///
/// # Errors
/// A failure of the database.
pub async fn refund(tx: &mut Tx, exchange: RequestId, reason: &str, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE gateway_exchange SET state = 'refunded', reason = $2,
               refunded_at = CASE WHEN decided_at > $3 THEN decided_at ELSE $3 END,
               changed_at = CASE WHEN decided_at > $3 THEN decided_at ELSE $3 END
             WHERE exchange_id = $1 AND state = 'committed'",
        )
        .bind(exchange.to_string())
        .bind(reason)
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Up to `limit` exchanges of a gateway in the order that they changed in, after the one that `after` names, and none that changed at `until` or
/// later.
///
/// # Errors
/// A failure of the database.
pub async fn changes(
    tx: &mut Tx,
    gateway: GatewayId,
    after: &(Timestamp, String),
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Exchange>, DbError> {
    tx.query(select!(
        "WHERE gateway_id = $1 AND (changed_at, exchange_id) > ($2, $3) AND changed_at < $4 ORDER BY changed_at, exchange_id LIMIT $5"
    ))
    .bind(gateway.to_string())
    .bind(after.0.0)
    .bind(&after.1)
    .bind(until.0)
    .bind(limit)
    .all()
    .await
}

/// Up to `limit` exchanges of a gateway that were given back, in the order that they were, after the one that `after` names.
///
/// # Errors
/// A failure of the database.
pub async fn refunds(tx: &mut Tx, gateway: GatewayId, after: &(Timestamp, String), limit: i64) -> Result<Vec<Exchange>, DbError> {
    tx.query(select!(
        "WHERE gateway_id = $1 AND (changed_at, exchange_id) > ($2, $3) AND state = 'refunded' ORDER BY changed_at, exchange_id LIMIT $4"
    ))
    .bind(gateway.to_string())
    .bind(after.0.0)
    .bind(&after.1)
    .bind(limit)
    .all()
    .await
}

/// Up to `limit` exchanges of a gateway in the order of their IDs, after the one that `after` names, that were prepared within `during`.
///
/// # Errors
/// A failure of the database.
pub async fn by_id(
    tx: &mut Tx,
    gateway: GatewayId,
    after: &str,
    during: &std::ops::Range<Timestamp>,
    limit: i64,
) -> Result<Vec<Exchange>, DbError> {
    tx.query(select!("WHERE gateway_id = $1 AND exchange_id > $2 AND created_at >= $3 AND created_at < $4 ORDER BY exchange_id LIMIT $5"))
        .bind(gateway.to_string())
        .bind(after)
        .bind(during.start.0)
        .bind(during.end.0)
        .bind(limit)
        .all()
        .await
}

/// Up to `limit` exchanges of one state, prepared or committing, that nothing has happened to since `before`, oldest first, after the one that
/// `after` names.
///
/// # Errors
/// A failure of the database.
pub async fn open(
    tx: &mut Tx,
    state: ExchangeState,
    before: Timestamp,
    after: &(Timestamp, String),
    limit: i64,
) -> Result<Vec<Exchange>, DbError> {
    tx.query(select!(
        "WHERE state IN ('prepared', 'committing') AND state = $1 AND changed_at < $2 AND (changed_at, exchange_id) > ($3, $4)
         ORDER BY changed_at, exchange_id LIMIT $5"
    ))
    .bind(state.as_str())
    .bind(before.0)
    .bind(after.0.0)
    .bind(&after.1)
    .bind(limit)
    .all()
    .await
}

/// A title's name for people, and what it costs at a gateway, by currency. Nothing where there is no such title.
///
/// # Errors
/// A failure of the database.
pub async fn prices(tx: &mut Tx, gateway: GatewayId, title: &TitleId) -> Result<Option<(String, Vec<Money>)>, DbError> {
    let name: Option<(String,)> = tx.query("SELECT name FROM title WHERE title_id = $1").bind(title.as_str()).opt().await?;
    let Some((name,)) = name else { return Ok(None) };
    let prices: Vec<(Currency, i64)> = tx
        .query("SELECT currency, amount FROM gateway_price WHERE gateway_id = $1 AND title_id = $2 ORDER BY currency LIMIT 1000")
        .bind(gateway.to_string())
        .bind(title.as_str())
        .all()
        .await?;
    let prices = prices.into_iter().map(|(currency, amount)| Money { currency, amount: amount.unsigned_abs() }).collect();
    Ok(Some((name, prices)))
}
