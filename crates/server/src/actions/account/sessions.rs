//! Sessions: whose a request is, and how they end.

use counterfoil_core::{Timestamp, UserId};
use serde_json::json;

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::account::{self, AccountRow, Realm};
use crate::store::session::{self, Presented, SessionRow};
use crate::store::{audit, user};

/// Somebody who is signed in.
pub struct SignedIn {
    /// By what.
    pub session: Presented,
    /// Their account.
    pub account: AccountRow,
}

impl SignedIn {
    /// Who.
    pub fn user(&self) -> UserId {
        self.session.user
    }

    /// As in the audit log.
    pub fn actor(&self) -> String {
        match self.session.realm {
            Realm::Users => format!("/session/{}", self.session.id),
            Realm::Staff => crate::auth::staff_actor(self.user()),
        }
    }
}

/// Who presents this session, while it is good; notes now and then that it is used.
///
/// # Errors
/// A failure of the database.
pub async fn who(app: &App, session: Presented, now: Timestamp) -> Result<Option<SignedIn>, DbError> {
    let (user, id) = (session.user, session.id.clone());
    let found = app
        .db
        .read("session", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(row) = session::find(tx, user, &id).await? else { return Ok(None) };
            Ok(account::find(tx, user).await?.map(|account| (row, account)))
        })
        .await?;
    let Some((row, account)) = found.filter(|(row, account)| is(&session, row) && row.live(account.sessions_from, now)) else {
        return Ok(None);
    };
    note_use(app, &session, &row, now).await?;
    Ok(Some(SignedIn { session, account }))
}

/// Whether it is this row's secret that is presented, in constant time.
pub(in crate::actions) fn is(session: &Presented, row: &SessionRow) -> bool {
    counterfoil_format::secret::Secret::new(row.hash) == counterfoil_format::secret::Secret::new(session.hash())
}

/// Notes now and then that a session is used.
///
/// # Errors
/// A failure of the database.
pub(in crate::actions) async fn note_use(app: &App, session: &Presented, row: &SessionRow, now: Timestamp) -> Result<(), DbError> {
    if !row.stale(now) {
        return Ok(());
    }
    let (user, id) = (session.user, session.id.clone());
    app.db.write("use session", user::family(user), async move |tx: &mut Tx| session::touch(tx, user, &id, now).await).await
}

/// The sessions of a user that are good, last used first.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, user: UserId, from: Timestamp, now: Timestamp) -> Result<Vec<SessionRow>, DbError> {
    let rows = app.db.read("sessions", async move |tx: &mut Tx| session::list(tx, user).await).await?;
    Ok(rows.into_iter().filter(|row| row.live(from, now)).collect())
}

/// Ends one session of a user; says whether there was one.
///
/// # Errors
/// A failure of the database.
pub async fn end(app: &App, by: &SignedIn, id: String, now: Timestamp) -> Result<bool, DbError> {
    let (user, actor) = (by.user(), by.actor());
    app.db
        .write("end session", user::family(user), async move |tx: &mut Tx| -> Result<bool, DbError> {
            let ended = session::delete(tx, user, &id).await?;
            if ended {
                audit::append(tx, &user::family(user), now.0, &actor, "account.session_ended", &json!({ "session": id })).await?;
            }
            Ok(ended)
        })
        .await
}

/// Ends every session of a user, this one as well.
///
/// # Errors
/// A failure of the database.
pub async fn end_all(app: &App, by: &SignedIn, now: Timestamp) -> Result<(), DbError> {
    let (user, actor) = (by.user(), by.actor());
    app.db
        .write("end sessions", user::family(user), async move |tx: &mut Tx| -> Result<(), DbError> {
            account::end_sessions(tx, user, now).await?;
            let count = session::delete_all(tx, user).await?;
            audit::append(tx, &user::family(user), now.0, &actor, "account.sessions_ended", &json!({ "count": count })).await.map(drop)
        })
        .await
}
