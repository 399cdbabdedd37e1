//! How people get accounts at a gateway, and into them (C16): name and password, and what their terminal keeps instead of it.

use std::time::Duration;

use counterfoil_core::{AccountId, Code, Refusal, Timestamp};

use super::app::App;
use super::store::account::{self, AccountRow, Holder, Name, Token};
use crate::actions::account::password::{self, Given};
use crate::clock::Rng;
use crate::db::{Db, DbError, Tx};
use crate::problem::{ApiCode, Problem};

/// Attempts that are looked at before nobody is let in for a while, and how long that is.
const ATTEMPTS: (i64, i64) = (10, 15 * 60 * 1000);
/// No attempt is answered sooner, so that an unknown name, a locked account and a wrong password take the same time.
const FLOOR: Duration = Duration::from_millis(250);

/// Somebody who was let in, with what their terminal keeps.
pub struct SignedIn {
    /// Who.
    pub account: AccountId,
    /// Their name.
    pub name: String,
    /// Shown once.
    pub token: Token,
    /// Until when, unless it is used.
    pub expires_at: Timestamp,
}

/// Makes an account under this ID. It is drawn before, so that a transaction that is run again finds its own.
///
/// # Errors
/// `unprocessable`: name, password or address; `conflict`: the name is taken.
pub async fn make(
    db: &Db,
    rng: &Rng,
    account: AccountId,
    name: &str,
    given: Given,
    email: Option<String>,
    now: Timestamp,
) -> Result<AccountId, Problem> {
    let wrong = |what: &str| Problem::with(ApiCode::Unprocessable, what);
    let name = Name::parse(name).ok_or_else(|| wrong("a name has 3 to 60 of: a-z 0-9 . _ - @"))?;
    password::check(&given, name.as_str()).map_err(|why| wrong(&why.to_string()))?;
    let email = email.map(|email| crate::store::account::Email::parse(&email).ok_or_else(|| wrong("this is no e-mail address")));
    let email = email.transpose()?.map(|email| email.as_str().to_owned());
    let hash = password::hash(given, rng).await?;
    let insert = async move |tx: &mut Tx| account::insert(tx, account, &name, &hash, email.as_deref(), now).await;
    match db.write("make account", account::family(account), insert).await? {
        true => Ok(account),
        false => Err(Problem::with(ApiCode::Conflict, "the name is taken")),
    }
}

/// Lets somebody in by name and password. Nobody is told which of them was wrong.
///
/// # Errors
/// `account_needed`.
pub async fn sign_in(app: &App, name: &str, given: Given, holder: Holder) -> Result<SignedIn, Problem> {
    let (signed_in, ()) = tokio::join!(look(app, name, given, holder), tokio::time::sleep(FLOOR));
    signed_in
}

async fn look(app: &App, name: &str, given: Given, holder: Holder) -> Result<SignedIn, Problem> {
    let now = app.clock.now();
    let found = match Name::parse(name) {
        Some(name) => app.db.read("find account", async move |tx: &mut Tx| account::by_name(tx, &name).await).await?,
        None => None,
    };
    let Some(found) = found.filter(|found| found.closed_at.is_none()) else {
        // As much work as for a name that there is.
        password::verify(None, given).await?;
        return Err(wrong());
    };
    if !is_password(app, &found, given).await? {
        return Err(wrong());
    }
    let_in(app, found.id, found.name, holder, now).await?.ok_or_else(wrong)
}

/// Whether this is the password of an account; counts the attempt, and after too many says no to every one for a while.
///
/// # Errors
/// A failure of the database.
pub async fn is_password(app: &App, account: &AccountRow, given: Given) -> Result<bool, Problem> {
    let (id, now) = (account.id, app.clock.now());
    let until = Timestamp(now.0 + ATTEMPTS.1);
    let count = async move |tx: &mut Tx| account::count_attempt(tx, id, ATTEMPTS.0, now, until).await;
    let admitted = app.db.write("count attempt", account::family(id), count).await?;
    if !admitted {
        metrics::counter!("counterfoil_sign_ins_locked_total").increment(1);
    }
    password::verify(Some(account.password.clone()).filter(|_| admitted), given).await
}

fn wrong() -> Problem {
    let detail = "name or password is wrong; after ten attempts, nobody is let in for fifteen minutes";
    Refusal::with(Code::AccountNeeded, detail).into()
}

/// Draws a token for an account; none where it was closed meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn let_in(app: &App, id: AccountId, name: String, holder: Holder, now: Timestamp) -> Result<Option<SignedIn>, DbError> {
    let token = Token::generate(&mut app.rng.clone());
    let (hash, life) = (token.hash(), holder.life());
    let write = async move |tx: &mut Tx| -> Result<bool, DbError> {
        if !account::forget_attempts(tx, id).await? {
            return Ok(false);
        }
        account::insert_token(tx, id, &hash, &holder, now).await.map(|()| true)
    };
    let open = app.db.write("sign in", account::family(id), write).await?;
    Ok(open.then_some(SignedIn { account: id, name, token, expires_at: Timestamp(now.0 + life) }))
}

/// Ends a token; one that is not known has ended.
///
/// # Errors
/// A failure of the database.
pub async fn sign_out(app: &App, account: AccountId, token: &Token) -> Result<(), DbError> {
    let hash = token.hash();
    let delete = async move |tx: &mut Tx| account::delete_token(tx, account, &hash).await;
    app.db.write("sign out", account::family(account), delete).await
}

/// Whose token of a terminal it is, while it is good; notes now and then that it is used.
///
/// # Errors
/// `account_needed`.
pub async fn who(app: &App, token: &Token) -> Result<AccountRow, Problem> {
    let over = || Refusal::with(Code::AccountNeeded, "this token is not, or no longer, good");
    let (account, holder) = holds(app, token).await?.ok_or_else(over)?;
    if holder == Holder::Terminal { Ok(account) } else { Err(over().into()) }
}

/// The account that a token is good for, and who holds it; none where it is not good.
///
/// # Errors
/// A failure of the database.
pub async fn holds(app: &App, token: &Token) -> Result<Option<(AccountRow, Holder)>, DbError> {
    let (hash, now) = (token.hash(), app.clock.now());
    let found = app
        .db
        .read("whose token", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(row) = account::token(tx, &hash).await? else { return Ok(None) };
            Ok(account::find(tx, row.account).await?.map(|account| (row, account)))
        })
        .await?;
    let good = found.filter(|(row, account)| now < row.expires_at && account.closed_at.is_none());
    let Some((row, account)) = good else { return Ok(None) };
    if row.stale(now) {
        let (id, life) = (row.account, row.holder.life());
        let touch = async move |tx: &mut Tx| account::touch_token(tx, id, &hash, life, now).await;
        app.db.write("use token", account::family(id), touch).await?;
    }
    Ok(Some((account, row.holder)))
}
