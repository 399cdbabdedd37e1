//! `/account`: what an account holds, and vouchers.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::{Money, Timestamp};

use super::entrance::said;
use super::visitor::{Person, Sent};
use super::words::{self, available};
use super::{Section, layout};
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::ledger;
use crate::gateway::ledger::posting::Kind;
use crate::gateway::store::{exchange, listed};
use crate::gateway::vouchers;
use crate::problem::Problem;
use crate::web::visitor::{Fields, see_other};
use crate::web::{Layout, page_as, written};

/// Exchanges and vouchers that are shown.
const FEW: i64 = 5;

/// What an account holds in a currency.
struct Held {
    available: Money,
    /// What charges on their way bind; none where nothing does.
    reserved: Option<String>,
}

struct Bought {
    id: String,
    name: String,
    at: String,
    state: &'static str,
    price: Money,
}

struct PaidIn {
    what: &'static str,
    note: String,
    at: String,
    money: Money,
}

#[derive(Template)]
#[template(path = "gateway/account.html")]
struct AccountPage<'a> {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    name: &'a str,
    held: Vec<Held>,
    bought: Vec<Bought>,
    paid_in: Vec<PaidIn>,
    code: &'a str,
    /// Whether payment by card is taken.
    by_card: bool,
    form: String,
}

fn told(query: Option<&str>) -> Option<&'static str> {
    match Fields::parse(query.unwrap_or_default().as_bytes()).text("done") {
        "made" => Some("Your account is made."),
        "voucher" => Some("The voucher is redeemed."),
        _ => None,
    }
}

/// `/account`
///
/// # Errors
/// A failure of the database.
pub async fn show(State(app): State<App>, by: Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    shown(&app, &by, told(query.as_deref()), None, "").await
}

async fn shown(app: &App, by: &Person, told: Option<&'static str>, error: Option<String>, code: &str) -> Result<Response, Problem> {
    let id = by.account.id;
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let bought = exchange::of_account(tx, id, (Timestamp(i64::MAX), ""), FEW).await?;
        Ok((ledger::balances(tx, id).await?, bought, listed::paid_in(tx, Some(id), (Timestamp(i64::MAX), ""), FEW).await?))
    };
    let (balances, bought, paid_in) = app.db.read("account's page", read).await?;
    let held = balances.into_iter().map(|(currency, held)| Held {
        available: available(held, currency),
        reserved: (held.reserved > 0).then(|| words::amount(held.reserved, currency)),
    });
    let bought = bought.into_iter().map(|row| Bought {
        id: row.id.to_string(),
        name: row.charge.name,
        at: written::day(row.created_at),
        state: words::state(row.state),
        price: row.charge.price,
    });
    let paid_in = paid_in.into_iter().map(|row| PaidIn {
        what: words::kind(row.kind.as_str()),
        // What a voucher belongs to is its seller's affair.
        note: if row.kind == Kind::Voucher { String::new() } else { row.note },
        at: written::day(row.at),
        money: row.money,
    });
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = AccountPage {
        layout: layout(app, Section::Account, Some(&by.account.name)),
        told,
        error,
        name: &by.account.name,
        by_card: app.payments.is_some(),
        held: held.collect(),
        bought: bought.collect(),
        paid_in: paid_in.collect(),
        code,
        form: by.token.form(),
    };
    page_as(status, &page)
}

/// Redeems a voucher; the same code again by the same account changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn redeem(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let code = fields.text("code");
    match vouchers::redeem(&app.db, by.account.id, code, app.clock.now(), &app.rng).await {
        Ok(_) => Ok(see_other("/account?done=voucher")),
        Err(problem) if problem.status.is_client_error() => {
            let error = match &problem.detail {
                Some(_) => said(problem),
                None => format!("{} {}", said(Problem { hint: "".into(), ..problem.clone() }), problem.hint),
            };
            shown(&app, &by, None, Some(error), code).await
        }
        Err(problem) => Err(problem),
    }
}
