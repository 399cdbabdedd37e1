//! `/v1/titles/{title}/rules`: which supplements a title's status selects (A6).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::wire::Variable;
use counterfoil_core::{BatchId, Channel, MediumId, ReleaseVersion, Rights, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batches::RightsDocument;
use super::page::rfc3339;
use crate::actions::selection::rules_of_title;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::select::Subject;
use crate::store::selection::Rule;

/// A rule to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// In CEL, 1,000 bytes at most; of `vars`, `release`, `number`, `channel`, `batch`, `medium`, `rights` and `owns`.
    #[schema(example = "vars.chapter >= 3")]
    pub condition: String,
}

/// A rule.
#[derive(Serialize, ToSchema)]
pub struct RuleDocument {
    /// What it selects.
    #[schema(value_type = String)]
    pub supplement: TitleId,
    /// When, in CEL.
    pub condition: String,
    /// Since when.
    pub updated_at: String,
}

impl From<Rule> for RuleDocument {
    fn from(rule: Rule) -> Self {
        Self { supplement: rule.supplement, condition: rule.condition, updated_at: rfc3339(rule.updated_at) }
    }
}

/// All rules of a title.
#[derive(Serialize, ToSchema)]
pub struct RulesDocument {
    /// By supplement.
    pub items: Vec<RuleDocument>,
}

/// What is to be tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryRules {
    /// Only this supplement's rule; all of the title's where none is named.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub supplement: Option<TitleId>,
    /// A condition that is not set yet, in place of those that are.
    #[serde(default)]
    pub condition: Option<String>,
    /// On what.
    #[serde(default)]
    pub status: TriedStatus,
}

/// A status as conditions see one. What is left out is as where nothing was reported.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TriedStatus {
    /// Progress variables: numbers, truth values and texts.
    #[schema(value_type = Object)]
    pub vars: BTreeMap<String, Variable>,
    /// The release that is installed.
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseVersion>,
    /// Its number, counted from 1.
    pub number: i64,
    /// The channel that is followed.
    #[schema(value_type = Option<String>, example = "stable")]
    pub channel: Channel,
    /// The batch of the medium that the title was copied from.
    #[schema(value_type = Option<String>)]
    pub batch: Option<BatchId>,
    /// That medium.
    #[schema(value_type = Option<String>)]
    pub medium: Option<MediumId>,
    /// What it allows.
    #[schema(value_type = RightsDocument)]
    pub rights: Rights,
    /// Titles that the user has.
    #[schema(value_type = Vec<String>)]
    pub owns: Vec<TitleId>,
}

impl TryFrom<TriedStatus> for Subject {
    type Error = Problem;

    fn try_from(status: TriedStatus) -> Result<Self, Problem> {
        let TriedStatus { vars, release, number, channel, batch, medium, rights, owns } = status;
        let subject = Subject { vars, release, number, channel, batch, medium, rights, owns };
        rules_of_title::check(&subject)?;
        Ok(subject)
    }
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub struct TriedRules {
    /// Rule by rule.
    pub items: Vec<TriedRule>,
}

/// What came of one rule.
#[derive(Serialize, ToSchema)]
pub struct TriedRule {
    /// What it selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub supplement: Option<TitleId>,
    /// The condition.
    pub condition: String,
    /// Whether the supplement is selected.
    pub selects: bool,
    /// Why the condition could not be told; it selects nothing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// The rules of a title.
#[utoipa::path(
    get, path = "/v1/titles/{title}/rules", tag = "selection", operation_id = "list_rules",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = RulesDocument), (status = 404)),
)]
pub async fn list(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<RulesDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    Ok(Json(rules_of_title::list(&app, caller.scope(), id).await?))
}

/// Tries rules on a status, exactly as a report would; nothing is given to anybody.
#[utoipa::path(
    post, path = "/v1/titles/{title}/rules", tag = "selection", operation_id = "try_rules", request_body = TryRules,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = TriedRules), (status = 404), (status = 422)),
)]
pub async fn attempt(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(asked): Body<TryRules>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    rules_of_title::attempt(&app, &caller, &once, id, asked).await
}

/// Sets the condition under which a title's status selects a supplement: who reports such a status is given the supplement.
#[utoipa::path(
    put, path = "/v1/titles/{title}/rules/{supplement}", tag = "selection", operation_id = "put_rule", request_body = NewRule,
    params(("title" = String, Path, description = "Whose status"), ("supplement" = String, Path, description = "What it selects")),
    responses((status = 200, body = RuleDocument), (status = 404), (status = 422)),
)]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, supplement)): Path<(String, String)>,
    Body(new): Body<NewRule>,
) -> Result<Reply, Problem> {
    rules_of_title::put(&app, &caller, &once, both(&id, &supplement)?, new).await
}

/// Takes a rule away. What was given by it stays.
#[utoipa::path(
    delete, path = "/v1/titles/{title}/rules/{supplement}", tag = "selection", operation_id = "remove_rule",
    params(("title" = String, Path, description = "Whose status"), ("supplement" = String, Path, description = "What it selects")),
    responses((status = 204, description = "It is gone"), (status = 404)),
)]
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, supplement)): Path<(String, String)>,
) -> Result<Reply, Problem> {
    rules_of_title::remove(&app, &caller, &once, both(&id, &supplement)?).await
}

fn both(id: &str, supplement: &str) -> Result<(TitleId, TitleId), Problem> {
    Ok((id.parse().map_err(|_| ApiCode::NotFound)?, supplement.parse().map_err(|_| ApiCode::NotFound)?))
}
