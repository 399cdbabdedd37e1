//! `counterfoild gateway payments` and `repay`: payments by card, and what goes back to a card.

use clap::Args;
use counterfoil_core::{Money, PaymentId, PostingId};
use serde_json::{Value, json};

use super::{Failure, Global, open};
use crate::clock::rfc3339;
use crate::db::Tx;
use crate::gateway::payments::repay;
use crate::gateway::store::payment::{self, PaymentRow, Purpose};

/// Payments that are read at once.
const PAGE: i64 = 500;

/// Payments by card.
#[derive(Args)]
pub struct Payments {
    /// Only those that have not come to their end
    #[arg(long)]
    open: bool,
}

impl Payments {
    /// Lists them.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let (mut all, mut after): (Vec<PaymentRow>, String) = (vec![], String::new());
        loop {
            let (from, only) = (after.clone(), self.open);
            let page = app.db.read("payments", async move |tx: &mut Tx| payment::list(tx, &from, only, PAGE).await).await?;
            let Some(last) = page.last() else { break };
            after = last.id.to_string();
            all.extend(page);
        }
        app.db.close().await;
        all.sort_by_key(|row| (row.created_at, row.id.to_string()));
        let document: Vec<Value> = all.iter().map(document).collect();
        global.print(&json!({ "payments": document }), |_| all.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

fn document(row: &PaymentRow) -> Value {
    let exchange = match row.purpose {
        Purpose::TopUp => None,
        Purpose::Exchange(id) => Some(id),
    };
    json!({ "payment": row.id, "account": row.account, "state": row.state, "money": row.money, "taken": row.taken, "fee": row.fee, "exchange": exchange,
        "intent": row.intent, "posting": row.posting, "failure": row.failure, "trouble": row.trouble, "created_at": rfc3339(row.created_at),
        "changed_at": rfc3339(row.changed_at) })
}

fn line(row: &PaymentRow) -> String {
    let what = match row.purpose {
        Purpose::TopUp => "top-up".to_owned(),
        Purpose::Exchange(id) => format!("exchange {id}"),
    };
    let why = row.trouble.as_ref().or(row.failure.as_ref()).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}  {}  {:>14}  {:<10}  {what}{why}", rfc3339(row.changed_at), row.id, row.money.to_string(), row.state.as_str())
}

/// What is left of a payment, which goes back to its card.
#[derive(Args)]
pub struct Repay {
    /// The payment, as `gateway payments` names it
    payment: PaymentId,
    /// Only so much of it [default: what is not spent or given back]
    #[arg(long, value_name = "MONEY")]
    amount: Option<Money>,
    /// For the record
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

impl Repay {
    /// Books it, and asks the provider.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let posting = PostingId::from_bytes(app.rng.bytes());
        let begun = repay::repay(&app, self.payment, self.amount, posting, "operator", &self.note).await?;
        app.db.close().await;
        global.print(&begun, |begun| match begun.state.as_str() {
            "succeeded" => format!("{} go back to the card, as {}", begun.money, begun.repayment),
            "failed" => format!("the provider does not give {} back; they are on the account again", begun.money),
            _ => format!("{} have left the account, as {}, and go back to the card by themselves", begun.money, begun.repayment),
        })
    }
}
