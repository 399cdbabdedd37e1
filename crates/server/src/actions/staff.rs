//! Who works at the console: added with a link that is good once, and ended.

use counterfoil_core::{Timestamp, UserId};
use serde_json::json;

use crate::auth::Role;
use crate::clock::Rng;
use crate::db::{Db, DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::staff::{self, StaffRow};
use crate::store::ticket::{self, Ticket};
use crate::store::{audit, publisher, session, user};

pub mod set_up;

/// What a link is for that lets somebody set up what they sign in with.
const SET_UP: &str = "staff set-up";
/// How long it is good, in milliseconds.
const LINK_LIFE: i64 = Timestamp::DAY;
/// Who may work at the console.
pub const ROLES: [Role; 5] = [Role::Operator, Role::Publisher, Role::Repair, Role::Support, Role::Shop];

/// Somebody new.
#[derive(Clone, Debug)]
pub struct New {
    /// What they may do.
    pub role: Role,
    /// For whom: a publisher's ID.
    pub tenant: Option<String>,
    /// What they are called.
    pub name: String,
}

impl New {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// `unprocessable`.
    pub fn check(self) -> Result<Self, Problem> {
        let wrong = |detail: &str| Err(Problem::with(ApiCode::Unprocessable, detail));
        let Self { role, tenant, name } = self;
        let (name, tenant) = (name.trim().to_owned(), tenant.map(|tenant| tenant.trim().to_owned()).filter(|tenant| !tenant.is_empty()));
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return wrong("name: 1 to 100 characters, no control characters");
        }
        match (role, &tenant) {
            _ if !ROLES.contains(&role) => return wrong("role: operator, publisher, repair, support or shop"),
            (Role::Publisher, None) => return wrong("tenant: who works for a publisher names the publisher"),
            (Role::Publisher, Some(_)) | (_, None) => {}
            (_, Some(_)) => return wrong("tenant: only who works for a publisher has one"),
        }
        Ok(Self { role, tenant, name })
    }
}

/// A link that lets somebody set up what they sign in with, once.
#[derive(Clone)]
pub struct Link {
    /// Who.
    pub id: UserId,
    /// Until when it is good.
    pub expires_at: Timestamp,
    ticket: Ticket,
}

impl Link {
    /// Draws one.
    pub fn draw(id: UserId, now: Timestamp, rng: &Rng) -> Self {
        Self { id, expires_at: Timestamp(now.0 + LINK_LIFE), ticket: Ticket::generate(id, &mut rng.clone()) }
    }

    /// As it is shown, once, below the server's address.
    pub fn reveal(&self, base: &str) -> String {
        format!("{}/console/set-up?ticket={}", base.trim_end_matches('/'), self.ticket.reveal())
    }
}

/// Adds somebody, with a link.
///
/// # Errors
/// `unprocessable` where there is no such publisher, or a failure of the database.
pub async fn add_within(tx: &mut Tx, new: &New, link: &Link, actor: &str, now: Timestamp) -> Result<StaffRow, Problem> {
    if let Some(tenant) = &new.tenant {
        let known = match tenant.parse() {
            Ok(id) => publisher::get(tx, &crate::auth::Scope::All, &id).await?.is_some(),
            Err(_) => false,
        };
        if !known {
            return Err(Problem::with(ApiCode::Unprocessable, format!("tenant: there is no publisher {tenant}")));
        }
    }
    let row = StaffRow {
        id: link.id,
        role: new.role,
        tenant: new.tenant.clone(),
        name: new.name.clone(),
        created_by: actor.to_owned(),
        created_at: now,
        ended_at: None,
    };
    staff::insert(tx, &row).await?;
    ticket::insert(tx, &link.ticket, SET_UP, now, link.expires_at).await?;
    let detail = json!({ "role": row.role, "tenant": row.tenant, "name": row.name });
    audit::append(tx, &user::family(row.id), now.0, actor, "staff.added", &detail).await?;
    Ok(row)
}

/// Another link in the place of the last: for who has lost the first one, or cannot sign in any more.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn link_within(tx: &mut Tx, link: &Link, actor: &str, now: Timestamp) -> Result<StaffRow, Problem> {
    let row = staff::live(tx, link.id).await?.ok_or(ApiCode::NotFound)?;
    ticket::insert(tx, &link.ticket, SET_UP, now, link.expires_at).await?;
    audit::append(tx, &user::family(link.id), now.0, actor, "staff.link_made", &json!({})).await?;
    Ok(row)
}

/// Ends somebody's work at the console, at once: their sessions and links end with it. Says whether there was somebody.
///
/// # Errors
/// A failure of the database.
pub async fn end_within(tx: &mut Tx, id: UserId, reason: &str, actor: &str, now: Timestamp) -> Result<bool, DbError> {
    if staff::find(tx, id).await?.is_none() {
        return Ok(false);
    }
    if staff::end(tx, id, now).await? {
        session::delete_all(tx, id).await?;
        ticket::delete_all(tx, id).await?;
        audit::append(tx, &user::family(id), now.0, actor, "staff.ended", &json!({ "reason": reason })).await?;
    }
    Ok(true)
}

/// A link for the first operator: for one who was added and has not set up anything, else for a new one.
///
/// # Errors
/// A failure of the database.
pub async fn first_link(db: &Db, rng: &Rng, now: Timestamp) -> Result<Link, Problem> {
    let (waiting, _) = db.read("first operator", async move |tx: &mut Tx| staff::first_operator(tx).await).await?;
    let link = Link::draw(waiting.unwrap_or_else(|| UserId::from_bytes(rng.bytes())), now, rng);
    let drawn = link.clone();
    db.write("link for the first operator", user::family(link.id), async move |tx: &mut Tx| -> Result<(), Problem> {
        if waiting.is_some() {
            return link_within(tx, &drawn, "operator", now).await.map(drop);
        }
        let new = New { role: Role::Operator, tenant: None, name: "First operator".to_owned() };
        add_within(tx, &new, &drawn, "operator", now).await.map(drop)
    })
    .await?;
    Ok(link)
}

/// Whether somebody can get into the console as an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Somebody has set up what they sign in with.
    Open,
    /// Nobody has, and a link is good that lets them.
    Linked,
    /// Nobody can, without a new link.
    Closed,
}

/// Looks how it stands.
///
/// # Errors
/// A failure of the database.
pub async fn entrance(db: &Db, now: Timestamp) -> Result<Entrance, DbError> {
    db.read("console's entrance", async move |tx: &mut Tx| -> Result<Entrance, DbError> {
        Ok(match staff::first_operator(tx).await? {
            (_, true) => Entrance::Open,
            (Some(id), false) if staff::has_link(tx, id, SET_UP, now).await? => Entrance::Linked,
            _ => Entrance::Closed,
        })
    })
    .await
}
