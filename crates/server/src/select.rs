//! Conditions of selection rules (A6, A10): CEL on a status, whose cost is known before it is ever evaluated.
//!
//! A condition is written by a publisher and evaluated for every report of everybody who has the title, so it must not be able to hold a
//! server up. CEL has no loops but those over what is there, so its cost follows from its text: [`Condition::parse`] adds it up for the
//! largest status there can be (`cost`), and refuses what comes to too much.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::parser::{Expression, ParseErrors};
use cel::{Context, Env, ExecutionError, Value};
use counterfoil_core::wire::{Variable, Variables};
use counterfoil_core::{BatchId, Channel, MediumId, ReleaseVersion, Rights, TitleId};
use quick_cache::sync::Cache;

mod cost;

pub use cost::{MOST_COST, MOST_OWNED};

/// Longest condition, in bytes.
pub const MOST_BYTES: usize = 1000;
/// Deepest nesting of brackets that is parsed.
const MOST_DEPTH: u16 = 24;
/// Longest error that is told, in characters.
const MOST_WORDS: usize = 300;

/// Conditions that were parsed lately, by their text.
static PARSED: LazyLock<Cache<String, Condition>> = LazyLock::new(|| Cache::new(10_000));
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// What a condition is asked of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// Progress variables, by name.
    pub vars: Variables,
    /// The release that is installed.
    pub release: Option<ReleaseVersion>,
    /// Its number, counted from 1; 0 where none is installed.
    pub number: i64,
    /// The channel that is followed.
    pub channel: Channel,
    /// The batch of the medium that the title was copied from.
    pub batch: Option<BatchId>,
    /// That medium.
    pub medium: Option<MediumId>,
    /// What that medium allows, or what is allowed where there is none.
    pub rights: Rights,
    /// Titles that the user has.
    pub owns: Vec<TitleId>,
}

/// A condition that was parsed and is known to be cheap.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Arc<Expression>,
    cost: u64,
}

impl Condition {
    /// Reads a condition, and adds up what it can cost.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("it has {} bytes; {MOST_BYTES} are the most", text.len()));
        }
        cost::brackets(text, MOST_DEPTH)?;
        // A parser that was generated from a grammar gets whatever somebody writes: if it breaks, that is a condition that cannot be read.
        let parsed =
            catch_unwind(|| ENV.parser().max_recursion_depth(4 * MOST_DEPTH).parse(text)).map_err(|_| "it cannot be read".to_owned())?;
        let expression = parsed.map_err(|errors| first(&errors))?;
        let cost = cost::of(&expression)?;
        Ok(Self { expression: Arc::new(expression), cost })
    }

    /// The same of a condition that is set, which is asked again and again.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn known(text: &str) -> Result<Self, String> {
        PARSED.get_or_insert_with(text, || Self::parse(text))
    }

    /// Most steps that it takes.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Why that cannot be told: a variable that is not set, or is not of the kind that it is compared with; a result that is not yes or no.
    pub fn holds(&self, subject: &Subject) -> Result<bool, String> {
        let evaluate = || -> Result<Value, ExecutionError> { Value::resolve(&self.expression, &subject.context()) };
        match catch_unwind(AssertUnwindSafe(evaluate)) {
            Ok(Ok(Value::Bool(holds))) => Ok(holds),
            Ok(Ok(other)) => Err(format!("it comes to {}, not to true or false", kind(&other))),
            Ok(Err(error)) => Err(shortened(&error.to_string())),
            Err(_) => Err("it cannot be evaluated".to_owned()),
        }
    }
}

impl Subject {
    fn context(&self) -> Context<'static, 'static> {
        let mut context = Context::with_env(ENV.clone());
        let text = |text: &str| Value::from(text.to_owned());
        let vars: std::collections::HashMap<String, Value> =
            self.vars.iter().map(|(name, value)| (name.clone(), variable(value))).collect();
        context.add_variable_from_value("vars", vars);
        context.add_variable_from_value("release", text(self.release.as_ref().map_or("", ReleaseVersion::as_str)));
        context.add_variable_from_value("number", self.number);
        context.add_variable_from_value("channel", text(self.channel.as_str()));
        context.add_variable_from_value("batch", text(&self.batch.map(|batch| batch.to_string()).unwrap_or_default()));
        context.add_variable_from_value("medium", text(self.medium.as_ref().map_or("", MediumId::as_str)));
        context.add_variable_from_value("rights", rights(&self.rights));
        context.add_variable_from_value("owns", self.owns.iter().map(|title| text(title.as_str())).collect::<Vec<Value>>());
        context
    }
}

fn variable(value: &Variable) -> Value {
    match value {
        Variable::Truth(truth) => (*truth).into(),
        Variable::Number(number) => (*number).into(),
        Variable::Text(text) => text.clone().into(),
    }
}

/// Every right has its value, whether a document says it or not.
fn rights(rights: &Rights) -> Value {
    let attributes: std::collections::HashMap<String, Value> =
        rights.attributes.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    let all: std::collections::HashMap<String, Value> = [
        ("copies", Value::from(i64::from(rights.copies))),
        ("download", rights.download.into()),
        ("upload", rights.upload.into()),
        ("update", rights.update.into()),
        ("play", rights.play.into()),
        ("transfer", rights.transfer.into()),
        ("attributes", attributes.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    all.into()
}

/// The first error is the one that the others follow from.
fn first(errors: &ParseErrors) -> String {
    match errors.errors.first() {
        Some(error) => shortened(&format!("at {}:{}: {}", error.pos.0, error.pos.1, error.msg)),
        None => "it cannot be read".to_owned(),
    }
}

fn shortened(words: &str) -> String {
    let mut short: String = words.chars().take(MOST_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    short
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Null => "nothing",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests;
