//! Making and taking back bearer tokens.

use counterfoil_core::{ProviderId, Timestamp};
use serde_json::json;

use crate::auth::{Role, Scope};
use crate::clock::Rng;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::token::{self, FAMILY, Presented, TokenRow};
use crate::store::{audit, provider, publisher};

/// What a new token is for.
pub struct New {
    /// What its bearer is.
    pub role: Role,
    /// For whom.
    pub tenant: Option<String>,
    /// What the operator calls it.
    pub name: String,
    /// Days until it ends.
    pub expires_in_days: Option<u32>,
}

/// A token that is not kept yet.
pub struct Prepared {
    /// To be shown once.
    pub token: String,
    /// To be kept.
    pub row: TokenRow,
}

impl New {
    /// Checks what is wanted, and draws the token.
    ///
    /// # Errors
    /// `unprocessable`.
    pub fn prepare(self, now: Timestamp, rng: &Rng) -> Result<Prepared, Problem> {
        let wrong = |detail: &str| Err(Problem::with(ApiCode::Unprocessable, detail));
        if self.name.is_empty() || self.name.chars().count() > 100 || self.name.chars().any(char::is_control) {
            return wrong("name: 1 to 100 characters, no control characters");
        }
        match (self.role, self.tenant.as_deref()) {
            (Role::Operator, Some(_)) => return wrong("tenant: an operator has none"),
            (Role::Publisher, None | Some("")) => return wrong("tenant: a publisher's token names the publisher"),
            (Role::Provider, tenant) if tenant.is_none_or(|tenant| tenant.parse::<ProviderId>().is_err()) => {
                return wrong("tenant: a provider's token names the provider, prv-…");
            }
            (_, Some(tenant)) if tenant.len() > 64 || tenant.chars().any(char::is_control) => {
                return wrong("tenant: at most 64 characters, no control characters");
            }
            _ => {}
        }
        if self.expires_in_days == Some(0) {
            return wrong("expires_in_days: at least 1");
        }
        let presented = Presented::generate(&mut rng.clone());
        let expires_at = self.expires_in_days.map(|days| Timestamp(now.0.saturating_add(i64::from(days) * Timestamp::DAY)));
        let row = TokenRow {
            token_id: presented.id().to_owned(),
            hash: presented.hash(),
            role: self.role,
            tenant: self.tenant,
            name: self.name,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        Ok(Prepared { token: presented.reveal(), row })
    }
}

/// Keeps a token, with its audit record, where what it is for is there.
///
/// # Errors
/// A failure of the database; within, `unprocessable` for a publisher or provider that is not there, or has ended.
pub async fn make(tx: &mut Tx, row: &TokenRow, actor: &str) -> Result<Result<(), Problem>, DbError> {
    if let Some(problem) = nobodys(tx, row).await? {
        return Ok(Err(problem));
    }
    keep(tx, row, actor).await.map(Ok)
}

/// Keeps a token, with its audit record.
///
/// # Errors
/// A failure of the database.
pub async fn keep(tx: &mut Tx, row: &TokenRow, actor: &str) -> Result<(), DbError> {
    token::insert(tx, row).await?;
    let detail = json!({ "token": row.token_id, "role": row.role, "tenant": row.tenant, "name": row.name });
    audit::append(tx, FAMILY, row.created_at.0, actor, "token.made", &detail).await.map(drop)
}

/// Why a token would be good for nothing: its publisher or provider is not there.
async fn nobodys(tx: &mut Tx, row: &TokenRow) -> Result<Option<Problem>, DbError> {
    let Some(tenant) = row.tenant.as_deref() else { return Ok(None) };
    let there = match row.role {
        Role::Publisher => match tenant.parse() {
            Ok(id) => publisher::get(tx, &Scope::All, &id).await?.is_some(),
            Err(_) => false,
        },
        Role::Provider => match tenant.parse() {
            Ok(id) => provider::find(tx, id).await?.is_some(),
            Err(_) => false,
        },
        _ => return Ok(None),
    };
    Ok((!there).then(|| Problem::with(ApiCode::Unprocessable, format!("tenant: there is no {} {tenant}", row.role.as_str()))))
}

/// Takes a token back, with its audit record; says whether there is such a token. One that was taken back before stays as it is.
///
/// # Errors
/// A failure of the database.
pub async fn revoke(tx: &mut Tx, id: &str, now: Timestamp, actor: &str) -> Result<bool, DbError> {
    if token::find(tx, id).await?.is_none() {
        return Ok(false);
    }
    if token::revoke(tx, id, now).await? {
        audit::append(tx, FAMILY, now.0, actor, "token.revoked", &json!({ "token": id })).await?;
    }
    Ok(true)
}
