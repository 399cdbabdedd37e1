//! What a gateway owes the operator, month by month: open as its exchanges say, closed as it was then.

use counterfoil_core::{GatewayId, Timestamp};
use serde_json::json;

use super::known;
use crate::api::gateways::{SettlementDocument, SoldDocument};
use crate::api::page::{Page, PageQuery};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::gateway::ledger::Period;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::gateway;
use crate::store::gateway::settlement::{self, Figures, Sales, Settlement, Sum};

/// How long after its end a month is left open, in milliseconds: what was decided in its last moment may still be on its way to the database.
const LEFT_OPEN: i64 = 10 * 60 * 1000;

/// A month's sales by currency and title.
///
/// # Errors
/// `not_found`.
pub async fn statement(app: &App, id: GatewayId, period: Period) -> Result<Vec<SoldDocument>, Problem> {
    let now = app.clock.now();
    let sales = app
        .db
        .read("gateway_statement", async move |tx: &mut Tx| -> Result<_, Problem> {
            known(tx, id, now).await?;
            Ok(settlement::sales(tx, id, period).await?)
        })
        .await?;
    Ok(sales.into_iter().map(|sales| SoldDocument::of(period, sales)).collect())
}

/// Closes a month: its sums stay as they are now, also where there are none.
///
/// # Errors
/// `not_found`; `conflict` where it runs, or is closed already.
pub async fn close(app: &App, caller: &Caller, once: &Once, id: GatewayId, period: Period) -> Result<Reply, Problem> {
    let (now, actor, family) = (app.clock.now(), caller.actor(), gateway::family(id));
    if now.0 < period.end().0.saturating_add(LEFT_OPEN) {
        return Err(Problem::with(ApiCode::Conflict, format!("{period} can be closed ten minutes after its end, and not before")));
    }
    once.write(app, "settle_gateway", family.clone(), async move |tx: &mut Tx| {
        known(tx, id, now).await?;
        if !settlement::close(tx, id, period, now, &actor).await? {
            return Err(Problem::with(ApiCode::Conflict, format!("{period} is closed already")));
        }
        let sums = summed(&settlement::sales(tx, id, period).await?);
        for sum in &sums {
            settlement::insert(tx, id, period, sum, now, &actor).await?;
        }
        let items = shown(period, &sums, now);
        let detail = json!({ "gateway": id, "period": period, "sums": items });
        audit::append(tx, &family, now.0, &actor, "gateway.settled", &detail).await?;
        Ok(Reply::created(&Page { items, next: None }))
    })
    .await
}

fn shown(period: Period, sums: &[Sum], closed_at: Timestamp) -> Vec<SettlementDocument> {
    let of = |currency, figures| SettlementDocument::from(Settlement { period, currency, figures, closed_at });
    match sums {
        [] => vec![of(None, Figures::default())],
        sums => sums.iter().map(|sum| of(Some(sum.currency), sum.figures)).collect(),
    }
}

/// Closed months, by month and currency.
///
/// # Errors
/// `not_found`.
pub async fn list(app: &App, id: GatewayId, query: PageQuery) -> Result<Page<SettlementDocument>, Problem> {
    let (after, rows, now) = (query.after(), query.rows(), app.clock.now());
    let found = app
        .db
        .read("list_gateway_settlements", async move |tx: &mut Tx| -> Result<_, Problem> {
            known(tx, id, now).await?;
            let after = after.split_once('.').unwrap_or((&after, ""));
            Ok(settlement::list(tx, id, after, rows).await?)
        })
        .await?;
    let named = |row: &Settlement| format!("{}.{}", row.period, row.currency.map(|currency| currency.to_string()).unwrap_or_default());
    Ok(Page::of(found, &query, named, SettlementDocument::from))
}

/// Sums of a month's sales, by currency: amounts of two currencies never meet.
fn summed(sales: &[Sales]) -> Vec<Sum> {
    let mut sums: Vec<Sum> = vec![];
    for Sales { currency, figures, .. } in sales {
        match sums.iter_mut().find(|sum| sum.currency == *currency) {
            Some(sum) => sum.figures = added(sum.figures, *figures),
            None => sums.push(Sum { currency: *currency, figures: *figures }),
        }
    }
    sums
}

fn added(sum: Figures, one: Figures) -> Figures {
    Figures {
        charges: sum.charges + one.charges,
        refunds: sum.refunds + one.refunds,
        amount: sum.amount + one.amount,
        share: sum.share + one.share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proves: C17
    #[test]
    fn sums_of_a_month_are_by_currency() {
        let sale = |title: &str, currency: &str, amount, share| Sales {
            title: title.parse().expect("a title"),
            name: title.to_owned(),
            currency: currency.parse().expect("a currency"),
            figures: Figures { charges: 2, refunds: 1, amount, share },
        };
        let sales = [sale("atlas", "EUR", 1000, 300), sale("sky-raider", "EUR", -40, -12), sale("atlas", "USD", 7, 2)];
        let sums = summed(&sales);
        let told: Vec<_> = sums.iter().map(|sum| (sum.currency.to_string(), sum.figures)).collect();
        let figures = |charges, refunds, amount, share| Figures { charges, refunds, amount, share };
        assert_eq!(told, [("EUR".to_owned(), figures(4, 2, 960, 288)), ("USD".to_owned(), figures(2, 1, 7, 2))]);
    }
}
