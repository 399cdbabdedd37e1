//! Who is calling: bearer tokens, roles and tenants. A handler behind [`Admit`] cannot be reached without a caller of a role it names.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use counterfoil_core::{ProviderId, UserId};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::provider;
use crate::store::staff::StaffRow;
use crate::store::token::{self, TokenRow};

/// What a token's bearer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the authority; may do all that publishers may.
    Operator,
    /// Owns titles; its tenant is the publisher's ID.
    Publisher,
    /// Registers users with the devices that it sells.
    Shop,
    /// Exchanges devices and drives in user entries.
    Repair,
    /// Looks things up for people who ask, and changes nothing.
    Support,
    /// Offers a service to media that the authority vouches for.
    Provider,
    /// A reseller's server.
    Gateway,
    /// A user, for their own things.
    User,
}

impl Role {
    /// All there are.
    pub const ALL: &[Role] =
        &[Self::Operator, Self::Publisher, Self::Shop, Self::Repair, Self::Support, Self::Provider, Self::Gateway, Self::User];

    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Shop => "shop",
            Self::Repair => "repair",
            Self::Support => "support",
            Self::Provider => "provider",
            Self::Gateway => "gateway",
            Self::User => "user",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }
}

/// Whom a route lets in; named once, in the router.
#[derive(Clone, Copy, Debug)]
pub enum Admit {
    /// Everybody, without a token.
    Public,
    /// Every valid token.
    Any,
    /// The operator, and nobody else.
    Operator,
    /// Publishers, each within its tenant, and the operator.
    Publisher,
    /// Shops, and the operator.
    Shop,
    /// Repair centres, and the operator.
    Repair,
    /// Who looks entries up: support, repair centres, and the operator.
    Support,
    /// Providers, and nobody else: what is told there is told to one of them.
    Provider,
}

impl Admit {
    /// Whether a role is let in.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Public | Self::Any => true,
            Self::Operator => role == Role::Operator,
            Self::Publisher => matches!(role, Role::Operator | Role::Publisher),
            Self::Shop => matches!(role, Role::Operator | Role::Shop),
            Self::Repair => matches!(role, Role::Operator | Role::Repair),
            Self::Support => matches!(role, Role::Operator | Role::Repair | Role::Support),
            Self::Provider => role == Role::Provider,
        }
    }
}

/// Who is calling. As an extractor it exists only behind a route that is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's ID, which is the actor in the audit log and the scope of idempotency keys.
    pub token_id: String,
    /// What the caller is.
    pub role: Role,
    /// For whom: a publisher's ID, or a provider's.
    pub tenant: Option<String>,
    /// What the operator calls the token.
    pub name: String,
}

/// Whose things a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// Those of one publisher; others are 404.
    Publisher(String),
}

impl Caller {
    /// What the caller may see. Queries take it as an argument, so that a tenant cannot be forgotten.
    pub fn scope(&self) -> Scope {
        match (self.role, &self.tenant) {
            (Role::Operator, _) => Scope::All,
            (_, Some(tenant)) => Scope::Publisher(tenant.clone()),
            // No publisher has an empty ID: sees nothing.
            (_, None) => Scope::Publisher(String::new()),
        }
    }

    /// The provider that calls; nobody where the caller is none.
    pub fn provider(&self) -> Option<ProviderId> {
        self.tenant.as_deref().filter(|_| self.role == Role::Provider)?.parse().ok()
    }

    /// As in the audit log.
    pub fn actor(&self) -> String {
        match self.token_id.strip_prefix(STAFF) {
            Some(_) => self.token_id.clone(),
            None => format!("/token/{}", self.token_id),
        }
    }

    /// Somebody at the console, as the actions know those who call: in the place of a token's ID stands who they are.
    pub fn of_staff(row: &StaffRow) -> Self {
        Self { token_id: staff_actor(row.id), role: row.role, tenant: row.tenant.clone(), name: row.name.clone() }
    }
}

/// What staff begin with in the audit log; tokens have IDs of hexadecimal digits.
const STAFF: &str = "staff:";

/// Somebody who works at the console, as in the audit log.
pub fn staff_actor(id: UserId) -> String {
    format!("{STAFF}{id}")
}

impl Scope {
    /// Whether something of `publisher` may be seen.
    pub fn covers(&self, publisher: &str) -> bool {
        match self {
            Self::All => true,
            Self::Publisher(own) => own == publisher && !own.is_empty(),
        }
    }
}

/// The layer of one route, put on by the router: lets a caller in and tells the handler who it is.
pub async fn require(State((app, admit)): State<(App, Admit)>, mut request: Request, next: Next) -> Response {
    if matches!(admit, Admit::Public) {
        return next.run(request).await;
    }
    match authenticate(&app, request.headers()).await {
        Ok(caller) if admit.admits(caller.role) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(_) => Problem::from(ApiCode::Forbidden).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The bearer token of a request (RFC 6750 §2.1), however its scheme is written and spaced: whoever counts or remembers by tokens goes by this.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The caller of a request, by its bearer token.
///
/// # Errors
/// `unauthorized`, or a failure of the database.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let unauthorized = || Problem::from(ApiCode::Unauthorized);
    let presented = bearer(headers).and_then(token::Presented::parse).ok_or_else(unauthorized)?;
    let id = presented.id().to_owned();
    let now = app.clock.now();
    let row = app.db.read("token", async move |tx| known(tx, &id).await).await?;
    let row = row.filter(|row| presented.matches(&row.hash) && row.live(now)).ok_or_else(unauthorized)?;
    Ok(Caller { token_id: row.token_id, role: row.role, tenant: row.tenant, name: row.name })
}

/// The token of this ID. The tokens of a provider end with it, at once.
async fn known(tx: &mut Tx, id: &str) -> Result<Option<TokenRow>, DbError> {
    let Some(row) = token::find(tx, id).await? else { return Ok(None) };
    if row.role != Role::Provider {
        return Ok(Some(row));
    }
    let there = match row.tenant.as_deref().and_then(|tenant| tenant.parse().ok()) {
        Some(provider) => provider::find(tx, provider).await?.is_some(),
        None => false,
    };
    Ok(there.then_some(row))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Problem::internal("a handler asks who calls, on a route that lets everybody in"))
    }
}
