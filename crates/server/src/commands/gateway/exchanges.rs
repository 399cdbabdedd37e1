//! `counterfoild gateway exchanges`

use clap::Args;
use serde::Serialize;

use super::{Failure, Global, account, open};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::store::account as accounts;
use crate::gateway::store::exchange::{self, ExchangeRow, State};

/// Exchanges that are read at a time.
const PAGE: i64 = 500;

/// Which to list.
#[derive(Args)]
pub struct Exchanges {
    /// Only those that have not come to their end
    #[arg(long)]
    open: bool,
    /// Only those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    exchange: String,
    account: String,
    state: State,
    title: String,
    price: String,
    changed_at: String,
    /// What stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<String>,
}

impl Exchanges {
    /// Lists them.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let only = match &self.account {
            Some(name) => Some(account::by_name(&app, name).await?.id),
            None => None,
        };
        let (mut listed, mut after) = (vec![], String::new());
        loop {
            let rows = page(&app, after, self.open).await?;
            let Some((last, _)) = rows.last() else { break };
            after = last.id.to_string();
            let wanted = rows.into_iter().filter(|(row, _)| only.is_none_or(|only| only == row.account));
            listed.extend(wanted.map(|(row, name)| shown(row, name)));
        }
        app.db.close().await;
        global.print(&listed, |listed| match listed.is_empty() {
            true => "no exchanges".to_owned(),
            false => listed.iter().map(line).collect::<Vec<_>>().join("\n"),
        })
    }
}

async fn page(app: &App, after: String, open: bool) -> Result<Vec<(ExchangeRow, String)>, DbError> {
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let mut rows = vec![];
        for row in exchange::list(tx, &after, open, PAGE).await? {
            let account = accounts::find(tx, row.account).await?;
            rows.push((row, account.map(|account| account.name).unwrap_or_default()));
        }
        Ok(rows)
    };
    app.db.read("exchanges", read).await
}

fn shown(row: ExchangeRow, account: String) -> Listed {
    let open = row.state.is_open();
    Listed {
        exchange: row.id.to_string(),
        account,
        state: row.state,
        title: row.charge.title.to_string(),
        price: row.charge.price.to_string(),
        changed_at: rfc3339(row.changed_at),
        trouble: row.trouble.filter(|_| open),
        next_try_at: (open && row.tries > 0).then(|| rfc3339(row.next_at)),
    }
}

fn line(listed: &Listed) -> String {
    let Listed { exchange, account, state, title, price, changed_at, trouble, next_try_at } = listed;
    let trouble = trouble.as_ref().map(|trouble| format!("\n    {trouble}")).unwrap_or_default();
    let next = next_try_at.as_ref().map(|at| format!("; next try {at}")).unwrap_or_default();
    format!("{exchange}  {:<10}  {account:<20}  {title}  {price}  {changed_at}{trouble}{next}", state.as_str())
}
