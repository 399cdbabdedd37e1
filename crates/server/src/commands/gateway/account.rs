//! `counterfoild gateway account`

use std::path::PathBuf;

use clap::Subcommand;
use counterfoil_core::{AccountId, Money};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Global, at, open};
use crate::actions::account::password::Given;
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::accounts;
use crate::gateway::app::App;
use crate::gateway::ledger;
use crate::gateway::store::account::{self, AccountRow, Name};

/// Accounts that are read at a time.
const PAGE: i64 = 500;

/// What to do with accounts.
#[derive(Subcommand)]
pub enum Command {
    /// Make an account
    #[command(after_help = "Example:\n  counterfoild gateway account new ada --password-file ada.password --email ada@example.org")]
    New {
        /// 3 to 60 of a-z 0-9 . _ - @
        name: String,
        /// File whose first line is the password
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// Where to reach its owner
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// List accounts with what they hold
    #[command(after_help = "Example:\n  counterfoild gateway account list --data ./gateway")]
    List,
    /// Close an account: nobody gets in any more, at once; what it holds stays booked
    #[command(after_help = "Example:\n  counterfoild gateway account close ada")]
    Close {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Listed {
    account: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    balances: Vec<String>,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let done = match self {
            Self::New { name, password_file, email } => {
                let text = std::fs::read_to_string(&password_file).map(Zeroizing::new).map_err(at(&password_file))?;
                let given = Given::new(text.lines().next().unwrap_or_default());
                let id =
                    accounts::make(&app.db, &app.rng, AccountId::from_bytes(app.rng.bytes()), &name, given, email, app.clock.now()).await?;
                global.print(&json!({ "account": id, "name": name }), |_| format!("made account {name}, {id}"))
            }
            Self::List => list(&app, global).await,
            Self::Close { name } => close(&app, &name, global).await,
        };
        app.db.close().await;
        done
    }
}

/// The account of a name, as an operator types it.
pub(super) async fn by_name(app: &App, name: &str) -> Result<AccountRow, Failure> {
    let found = match Name::parse(name) {
        Some(name) => app.db.read("find account", async move |tx: &mut Tx| account::by_name(tx, &name).await).await?,
        None => None,
    };
    found.ok_or_else(|| Failure::refused(format!("there is no account {name}")).hint("`counterfoild gateway account list` shows them all."))
}

async fn list(app: &App, global: &Global) -> Result<(), Failure> {
    let (mut listed, mut after) = (vec![], String::new());
    loop {
        let from = after.clone();
        let page = async move |tx: &mut Tx| -> Result<_, DbError> {
            let mut rows = vec![];
            for row in account::list(tx, &from, PAGE).await? {
                let held = ledger::balances(tx, row.id).await?;
                rows.push((row, held));
            }
            Ok(rows)
        };
        let rows = app.db.read("accounts", page).await?;
        let Some((last, _)) = rows.last() else { break };
        after.clone_from(&last.name);
        listed.extend(rows.into_iter().map(|(row, held)| Listed {
            account: row.id.to_string(),
            name: row.name,
            email: row.email,
            created_at: rfc3339(row.created_at),
            closed_at: row.closed_at.map(rfc3339),
            // The ledger keeps it from being negative.
            balances:
                held.iter().map(|(currency, held)| Money { amount: held.posted.unsigned_abs(), currency: *currency }.to_string()).collect(),
        }));
    }
    global.print(&listed, |listed| match listed.is_empty() {
        true => "no accounts".to_owned(),
        false => listed.iter().map(line).collect::<Vec<_>>().join("\n"),
    })
}

fn line(listed: &Listed) -> String {
    let closed = listed.closed_at.as_ref().map(|at| format!("  closed {at}")).unwrap_or_default();
    format!("{:<24}  {}  {}{closed}", listed.name, listed.account, listed.balances.join(", "))
}

async fn close(app: &App, name: &str, global: &Global) -> Result<(), Failure> {
    let (row, now) = (by_name(app, name).await?, app.clock.now());
    let id = row.id;
    let close = async move |tx: &mut Tx| account::close(tx, id, now).await;
    let closed = app.db.write("close account", account::family(id), close).await?;
    global.print(&json!({ "account": id, "name": row.name, "closed": closed }), |_| match closed {
        true => format!("closed account {}", row.name),
        false => format!("account {} was closed already", row.name),
    })
}
