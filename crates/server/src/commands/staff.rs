//! `counterfoild staff`

use clap::{Args, Subcommand};
use counterfoil_core::{Timestamp, UserId};
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, say};
use crate::actions::staff::{self, Link, New};
use crate::auth::Role;
use crate::clock::{Clock, Rng, rfc3339};
use crate::config::Config;
use crate::db::{Db, Tx};
use crate::problem::Problem;
use crate::store::staff::{Listed, list};
use crate::store::user;

/// What to do with those who work at the console.
#[derive(Subcommand)]
pub enum Command {
    /// Make a one-time link to the console: for the first operator, for somebody new, or for who cannot sign in any more
    #[command(
        after_help = "Examples:\n  counterfoild staff link\n  counterfoild staff link --role repair --name 'Repair centre Graz'\n  counterfoild staff link --role publisher --tenant acme --name 'Acme, Jo'\n  counterfoild staff link --id usr-00000000000000000000000000-0\n\nThe link is good once, for 24 hours. With --id, following it replaces password, codes and passkeys."
    )]
    Link(Make),
    /// List everybody, those who have ended included
    #[command(after_help = "Example:\n  counterfoild staff list --data ./data")]
    List,
    /// End somebody's work at the console; they are signed out at once
    #[command(after_help = "Example:\n  counterfoild staff end usr-00000000000000000000000000-0 --reason 'left the company'")]
    End {
        /// Who, as `staff list` shows them
        id: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// A link to make.
#[derive(Args)]
pub struct Make {
    /// What somebody new may do: operator, publisher, repair, support or shop
    #[arg(long, value_enum, requires = "name", conflicts_with = "id")]
    role: Option<Role>,
    /// For whom: the publisher's ID, for who works for a publisher
    #[arg(long, requires = "role")]
    tenant: Option<String>,
    /// What somebody new is called
    #[arg(long, requires = "role")]
    name: Option<String>,
    /// For somebody who is there, as `staff list` shows them
    #[arg(long)]
    id: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    id: UserId,
    link: String,
    expires_at: String,
}

#[derive(Serialize)]
struct Row {
    id: UserId,
    role: Role,
    tenant: Option<String>,
    name: String,
    email: Option<String>,
    created_at: String,
    ended_at: Option<String>,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let (config, db) = global.database().await?;
        db.migration_status().await?.check()?;
        let now = Clock::System.now();
        match self {
            Self::Link(make) => {
                let link = make.run(&db, now).await?;
                let shown = Shown { id: link.id, link: link.reveal(&address(&config)), expires_at: rfc3339(link.expires_at) };
                global.print(&shown, |shown| format!("{}\n\nGood once, until {}.", shown.link, shown.expires_at))?;
            }
            Self::List => {
                let rows = everybody(&db).await?;
                global.print(&rows, |rows| rows.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            }
            Self::End { id, reason } => {
                let known = parse(&id)?;
                let end = async move |tx: &mut Tx| staff::end_within(tx, known, &reason, "operator", now).await;
                if !db.write("end staff", user::family(known), end).await? {
                    return Err(nobody(&id));
                }
                say(&if global.json { json!({ "ended": id }).to_string() } else { format!("{id} cannot sign in any more") })?;
            }
        }
        db.close().await;
        Ok(())
    }
}

impl Make {
    async fn run(self, db: &Db, now: Timestamp) -> Result<Link, Failure> {
        if let Some(text) = self.id {
            let link = Link::draw(parse(&text)?, now, &Rng::System);
            let drawn = link.clone();
            let make = async move |tx: &mut Tx| staff::link_within(tx, &drawn, "operator", now).await;
            return match db.write("link staff", user::family(link.id), make).await {
                Ok(_) => Ok(link),
                Err(problem) if problem.status == 404 => Err(nobody(&text)),
                Err(problem) => Err(problem.into()),
            };
        }
        let (Some(role), Some(name)) = (self.role, self.name) else { return Ok(staff::first_link(db, &Rng::System, now).await?) };
        let new = New { role, tenant: self.tenant, name }.check()?;
        let link = Link::draw(UserId::from_bytes(Rng::System.bytes()), now, &Rng::System);
        let drawn = link.clone();
        let add = async move |tx: &mut Tx| -> Result<(), Problem> { staff::add_within(tx, &new, &drawn, "operator", now).await.map(drop) };
        db.write("add staff", user::family(link.id), add).await?;
        Ok(link)
    }
}

/// Where the console is reached, as far as the configuration says.
pub fn address(config: &Config) -> String {
    let scheme = if config.has_tls() { "https" } else { "http" };
    config.server.public_urls.first().cloned().unwrap_or_else(|| format!("{scheme}://{}", config.server.listen))
}

fn parse(id: &str) -> Result<UserId, Failure> {
    id.parse().map_err(|_| nobody(id))
}

fn nobody(id: &str) -> Failure {
    Failure::refused(format!("nobody of the staff is {id}")).hint("`counterfoild staff list` shows who is.")
}

async fn everybody(db: &Db) -> Result<Vec<Row>, Failure> {
    let mut all: Vec<Row> = vec![];
    loop {
        let after = all.last().map(|row| row.id.to_string()).unwrap_or_default();
        let page = db.read("staff", async move |tx: &mut Tx| list(tx, &after, 200).await).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|Listed { staff, email }| Row {
            id: staff.id,
            role: staff.role,
            tenant: staff.tenant,
            name: staff.name,
            email,
            created_at: rfc3339(staff.created_at),
            ended_at: staff.ended_at.map(rfc3339),
        }));
    }
}

fn line(row: &Row) -> String {
    let state = match (&row.ended_at, &row.email) {
        (Some(at), _) => format!("ended {at}"),
        (None, Some(email)) => email.clone(),
        (None, None) => "has not followed the link".to_owned(),
    };
    let tenant = row.tenant.as_deref().unwrap_or("");
    format!("{}  {:<9}  {:<16}  {:<24}  {state}", row.id, row.role.as_str(), tenant, row.name).trim_end().to_owned()
}
