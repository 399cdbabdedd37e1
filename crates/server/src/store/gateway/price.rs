//! What titles cost at gateways: a price in each currency.

use counterfoil_core::{Currency, GatewayId, Money, TitleId};

use crate::auth::Scope;
use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `gateway_price`, with the title's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// Of what.
    pub title: TitleId,
    /// Its name.
    pub name: String,
    /// How much.
    pub price: Money,
}

impl FromRow for PriceRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (title, name): (TitleId, String) = (row.column()?, row.column()?);
        let (currency, amount): (Currency, i64) = (row.column()?, row.column()?);
        Ok(Self { title, name, price: Money { currency, amount: amount.unsigned_abs() } })
    }
}

/// Sets a price; whatever stood there in that currency is replaced.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, id: GatewayId, title: &TitleId, price: Money) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO gateway_price (gateway_id, title_id, currency, amount) VALUES ($1, $2, $3, $4)
         ON CONFLICT (gateway_id, title_id, currency) DO UPDATE SET amount = excluded.amount",
    )
    .bind(id.to_string())
    .bind(title.as_str())
    .bind(price.currency.as_str())
    .bind(price.amount.cast_signed())
    .execute()
    .await
    .map(drop)
}

/// Takes a price away, or where no currency is named all prices of the title; says how many there were.
///
/// # Errors
/// A failure of the database.
pub async fn remove(tx: &mut Tx, id: GatewayId, title: &TitleId, currency: Option<Currency>) -> Result<u64, DbError> {
    tx.query("DELETE FROM gateway_price WHERE gateway_id = $1 AND title_id = $2 AND (currency = $3 OR CAST($3 AS TEXT) IS NULL)")
        .bind(id.to_string())
        .bind(title.as_str())
        .bind(currency.map(|currency| currency.to_string()))
        .execute()
        .await
}

/// What a title costs at a gateway, by currency; nothing where it is not sold there.
///
/// # Errors
/// A failure of the database.
pub async fn of_title(tx: &mut Tx, id: GatewayId, title: &TitleId) -> Result<Vec<Money>, DbError> {
    let rows: Vec<(Currency, i64)> = tx
        .query("SELECT currency, amount FROM gateway_price WHERE gateway_id = $1 AND title_id = $2 ORDER BY currency")
        .bind(id.to_string())
        .bind(title.as_str())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(currency, amount)| Money { currency, amount: amount.unsigned_abs() }).collect())
}

/// Prices at a gateway after a title and currency, of titles within a scope.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, id: GatewayId, scope: &Scope, after: (&str, &str), rows: i64) -> Result<Vec<PriceRow>, DbError> {
    let publisher = match scope {
        Scope::All => None,
        Scope::Publisher(publisher) => Some(publisher.as_str()),
    };
    tx.query(
        "SELECT p.title_id, t.name, p.currency, p.amount FROM gateway_price p JOIN title t ON t.title_id = p.title_id
         WHERE p.gateway_id = $1 AND (t.publisher_id = $2 OR CAST($2 AS TEXT) IS NULL)
           AND (p.title_id > $3 OR (p.title_id = $3 AND p.currency > $4))
         ORDER BY p.title_id, p.currency LIMIT $5",
    )
    .bind(id.to_string())
    .bind(publisher)
    .bind(after.0)
    .bind(after.1)
    .bind(rows)
    .all()
    .await
}
