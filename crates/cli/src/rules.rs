//! `rules`: which supplements a title's status selects (A6), and trying that on a status.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::wire::Variable;
use counterfoil_core::{BatchId, Channel, MediumId, ReleaseVersion, Rights, TitleId};
use counterfoil_terminal::status::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::status_vars;

/// For publishers: give supplements to those whose status they fit
#[derive(Subcommand, Debug)]
pub enum RulesCommand {
    Set(Set),
    List(List),
    Test(Test),
    Remove(Remove),
}

impl RulesCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            RulesCommand::Set(command) => command.run(context),
            RulesCommand::List(command) => command.run(context),
            RulesCommand::Test(command) => command.run(context),
            RulesCommand::Remove(command) => command.run(context),
        }
    }
}

/// Set the condition under which whoever has a title is given a supplement, once, without charge
///
/// The condition is in CEL (cel.dev). It may name: vars (progress variables), release, number (of the release, from 1), channel,
/// batch and medium (empty where the title was bought), rights (as on the medium), owns (titles that the user has).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil rules set sky-raider chapter-4 'vars.chapter >= 3'
  counterfoil rules set sky-raider maps 'batch == \"bat-0123456789abcdef\" && !(\"maps-pro\" in owns)'")]
pub struct Set {
    /// Whose status
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// What it selects
    #[arg(value_name = "SUPPLEMENT")]
    supplement: TitleId,
    /// When
    #[arg(value_name = "CONDITION")]
    condition: String,
}

/// List the rules of a title
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil rules list sky-raider")]
pub struct List {
    /// Whose status
    #[arg(value_name = "TITLE")]
    title: TitleId,
}

/// Take a rule away; what it has given stays
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil rules remove sky-raider chapter-4")]
pub struct Remove {
    /// Whose status
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// What it selects
    #[arg(value_name = "SUPPLEMENT")]
    supplement: TitleId,
}

/// Try rules on a status, by what the authority evaluates at a report; nobody is given anything
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil rules test sky-raider --set chapter=3
  counterfoil rules test sky-raider chapter-4 --status status.json
  counterfoil rules test sky-raider --condition 'vars.chapter >= 3' --set chapter=2

A status file is JSON, and all of it may be left out:
  {\"vars\": {\"chapter\": 3}, \"release\": \"1.2.0\", \"number\": 3, \"channel\": \"stable\", \"batch\": \"bat-0123456789abcdef\",
   \"medium\": \"…\", \"rights\": {\"update\": true}, \"owns\": [\"atlas\"]}")]
pub struct Test {
    /// Whose status
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Only the rule for this supplement
    #[arg(value_name = "SUPPLEMENT")]
    supplement: Option<TitleId>,
    /// Not the rules that are set, but this condition
    #[arg(long, value_name = "CEL")]
    condition: Option<String>,
    /// The status
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,
    /// A progress variable
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A title that the user has
    #[arg(long, value_name = "TITLE")]
    owns: Vec<TitleId>,
    /// The release that is installed
    #[arg(long, value_name = "VERSION")]
    release: Option<ReleaseVersion>,
    /// The batch of the medium that the title was copied from
    #[arg(long, value_name = "BATCH")]
    batch: Option<BatchId>,
}

#[derive(Deserialize, Serialize)]
struct Rules {
    items: Vec<Rule>,
}

#[derive(Deserialize, Serialize)]
struct Rule {
    supplement: TitleId,
    condition: String,
    updated_at: String,
}

/// As the authority takes it.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Status {
    vars: BTreeMap<String, Variable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseVersion>,
    number: i64,
    channel: Channel,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<MediumId>,
    rights: Rights,
    owns: Vec<TitleId>,
}

#[derive(Deserialize, Serialize)]
struct Tried {
    items: Vec<TriedRule>,
}

#[derive(Deserialize, Serialize)]
struct TriedRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    supplement: Option<TitleId>,
    condition: String,
    selects: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

impl Set {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let rule: Rule = api.put(&rule_of(&self.title, &self.supplement), &json!({ "condition": self.condition }))?;
        context.output.result(&rule, || format!("{} is given to those who have {} when: {}\n", rule.supplement, self.title, rule.condition))
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let rules: Rules = api.get(&rules_of(&self.title))?;
        context.output.result(&rules, || match rules.items.is_empty() {
            true => format!("{} has no rules\n", self.title),
            false => rules.items.iter().map(|rule| format!("{:<24} {}\n", rule.supplement.as_str(), rule.condition)).collect(),
        })
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        api.remove(&rule_of(&self.title, &self.supplement))?;
        let value = json!({ "title": self.title, "supplement": self.supplement, "removed": true });
        context.output.result(&value, || format!("{} is selected by {} no more\n", self.supplement, self.title))
    }
}

impl Test {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let status = self.status()?;
        let (api, _) = Api::connect(context)?;
        let body = json!({ "supplement": self.supplement, "condition": self.condition, "status": status });
        let tried: Tried = api.post(&rules_of(&self.title), None, &body)?;
        context.output.result(&tried, || match tried.items.is_empty() {
            true => format!("{} has no rules\n", self.title),
            false => tried.items.iter().map(line).collect(),
        })
    }

    /// The file, with what is said on the command line in place of what it says.
    fn status(&self) -> Result<Status, Failure> {
        let mut status: Status = match &self.status {
            None => Status::default(),
            Some(path) => {
                let text = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
                serde_json::from_slice(&text).map_err(|error| {
                    Failure::usage(format!("{}: {error}", path.display()))
                        .hint("`counterfoil rules test --help` shows what a status file holds.")
                })?
            }
        };
        for word in &self.set {
            if let Change::Set(name, value) = status_vars::set(word)? {
                status.vars.insert(name, value);
            }
        }
        status.owns.extend(self.owns.iter().cloned());
        status.release = self.release.clone().or(status.release);
        status.batch = self.batch.or(status.batch);
        Ok(status)
    }
}

fn line(rule: &TriedRule) -> String {
    let supplement = rule.supplement.as_ref().map_or("-", TitleId::as_str);
    let outcome = if rule.selects { "selected" } else { "not selected" };
    let why = rule.why_not.as_ref().map(|why| format!("\n{:<24} it cannot be told: {why}", "")).unwrap_or_default();
    format!("{supplement:<24} {outcome:<13} {}{why}\n", rule.condition)
}

fn rules_of(title: &TitleId) -> String {
    format!("/v1/titles/{title}/rules")
}

fn rule_of(title: &TitleId, supplement: &TitleId) -> String {
    format!("/v1/titles/{title}/rules/{supplement}")
}
