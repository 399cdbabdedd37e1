//! `counterfoild token`

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, say};
use crate::actions::token;
use crate::auth::Role;
use crate::clock::{Clock, Rng, rfc3339};
use crate::store::token::{self as tokens, TokenRow};

/// What to do with tokens.
#[derive(Subcommand)]
pub enum Command {
    /// Make a token and show it this once
    #[command(
        after_help = "Examples:\n  counterfoild token new --role operator --name nightly\n  counterfoild token new --role publisher --tenant acme --name press --expires-in-days 90"
    )]
    New(New),
    /// List all tokens, those taken back included
    #[command(after_help = "Example:\n  counterfoild token list --data ./data")]
    List,
    /// Take a token back; it stops being good at once
    #[command(after_help = "Example:\n  counterfoild token revoke 582c2af0941e")]
    Revoke {
        /// The part of the token between the underscores
        id: String,
    },
}

/// A new token.
#[derive(Args)]
pub struct New {
    /// What its bearer is
    #[arg(long, value_enum)]
    role: Role,
    /// For whom: the publisher's ID, for a publisher's token; the provider's, for a provider's
    #[arg(long)]
    tenant: Option<String>,
    /// What to call it
    #[arg(long)]
    name: String,
    /// Days until it ends
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    role: Role,
    tenant: Option<String>,
    name: String,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl From<TokenRow> for Listed {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.token_id,
            role: row.role,
            tenant: row.tenant,
            name: row.name,
            created_at: rfc3339(row.created_at),
            expires_at: row.expires_at.map(rfc3339),
            revoked_at: row.revoked_at.map(rfc3339),
        }
    }
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let (_, db) = global.database().await?;
        db.migration_status().await?.check()?;
        let now = Clock::System.now();
        match self {
            Self::New(new) => {
                let new = token::New { role: new.role, tenant: new.tenant, name: new.name, expires_in_days: new.expires_in_days };
                let prepared = new.prepare(now, &Rng::System)?;
                let row = prepared.row.clone();
                db.write("make token", tokens::FAMILY, async move |tx| token::make(tx, &row, "operator").await).await??;
                global.print(&json!({ "id": prepared.row.token_id, "token": prepared.token }), |_| prepared.token.clone())?;
            }
            Self::List => {
                let mut all: Vec<Listed> = vec![];
                loop {
                    let after = all.last().map(|token| token.id.clone()).unwrap_or_default();
                    let page = db.read("tokens", async move |tx| tokens::list(tx, &after, 200).await).await?;
                    if page.is_empty() {
                        break;
                    }
                    all.extend(page.into_iter().map(Listed::from));
                }
                global.print(&all, |all| all.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            }
            Self::Revoke { id } => {
                let named = id.clone();
                let there = db.write("revoke token", tokens::FAMILY, async move |tx| token::revoke(tx, &id, now, "operator").await).await?;
                if !there {
                    return Err(Failure::refused(format!("there is no token {named}"))
                        .hint("`counterfoild token list` shows them; the ID is the part between the underscores."));
                }
                say(&if global.json { json!({ "revoked": named }).to_string() } else { format!("token {named} is not good any more") })?;
            }
        }
        db.close().await;
        Ok(())
    }
}

fn line(token: &Listed) -> String {
    let state = match (&token.revoked_at, &token.expires_at) {
        (Some(at), _) => format!("taken back {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => String::new(),
    };
    let tenant = token.tenant.as_deref().unwrap_or("");
    format!("{}  {:<9}  {:<16}  {:<24}  {}  {state}", token.id, token.role.as_str(), tenant, token.name, token.created_at)
        .trim_end()
        .to_owned()
}
