//! Selection rules as their publisher sets, tries and removes them (A6).

use counterfoil_core::TitleId;
use counterfoil_core::rules::selection as limits;
use serde_json::json;

use crate::api::selection::{NewRule, RuleDocument, RulesDocument, TriedRule, TriedRules, TryRules};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::select::{Condition, MOST_OWNED, Subject};
use crate::store::selection::{self, MOST_RULES, Rule};
use crate::store::{audit, title};

/// What all rules of a title may cost together, for the largest status: a report evaluates all of them.
const MOST_COST: u64 = 1_000_000;

/// The rules of a title.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn list(app: &App, scope: Scope, id: TitleId) -> Result<RulesDocument, Problem> {
    let rules = app.db.read("rules", async move |tx: &mut Tx| of_title(tx, &scope, &id).await).await?;
    Ok(RulesDocument { items: rules.into_iter().map(RuleDocument::from).collect() })
}

async fn of_title(tx: &mut Tx, scope: &Scope, id: &TitleId) -> Result<Vec<Rule>, Problem> {
    title::get(tx, scope, id).await?.ok_or(ApiCode::NotFound)?;
    Ok(selection::rules(tx, id).await?)
}

/// Sets the rule by which a title's status selects a supplement; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable` for a condition that cannot be read or costs too much, and for a supplement that is not the caller's.
pub async fn put(app: &App, caller: &Caller, once: &Once, (id, supplement): (TitleId, TitleId), new: NewRule) -> Result<Reply, Problem> {
    let condition = Condition::parse(&new.condition).map_err(|why| wrong(format!("condition: {why}")))?;
    if id == supplement {
        return Err(wrong("a title is no supplement of itself"));
    }
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "put_rule", family.clone(), async move |tx: &mut Tx| {
        // Two processes that each saw room for one more would go over what all may cost.
        audit::hold(tx, &family).await?;
        let there = of_title(tx, &scope, &id).await?;
        title::get(tx, &scope, &supplement).await?.ok_or_else(|| wrong(format!("there is no title `{supplement}`")))?;
        if let Some(same) = there.iter().find(|rule| rule.supplement == supplement && rule.condition == new.condition) {
            return Ok(Reply::ok(&RuleDocument::from(same.clone())));
        }
        let others: Vec<&Rule> = there.iter().filter(|rule| rule.supplement != supplement).collect();
        let costs = others.iter().filter_map(|rule| Condition::known(&rule.condition).ok()).map(|other| other.cost());
        let together = costs.sum::<u64>() + condition.cost();
        if others.len() as i64 >= MOST_RULES || together > MOST_COST {
            return Err(wrong(format!(
                "the rules of `{id}` can take {together} steps together; {MOST_COST} are the most, and {MOST_RULES} rules"
            )));
        }
        let rule = Rule { title: id.clone(), supplement: supplement.clone(), condition: new.condition.clone(), updated_at: now };
        selection::put(tx, &rule).await?;
        let detail = json!({ "supplement": supplement, "condition": rule.condition });
        audit::append(tx, &family, now, &actor, "rule.set", &detail).await?;
        Ok(Reply::ok(&RuleDocument::from(rule)))
    })
    .await
}

/// Takes a rule away. What it has given stays.
///
/// # Errors
/// `not_found`.
pub async fn remove(app: &App, caller: &Caller, once: &Once, (id, supplement): (TitleId, TitleId)) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "remove_rule", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        if !selection::remove(tx, &id, &supplement).await? {
            return Err(ApiCode::NotFound.into());
        }
        audit::append(tx, &family, now, &actor, "rule.removed", &json!({ "supplement": supplement })).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// Tries rules on a status, by what evaluates them at a report: those of the title, or one that is not set yet. Nothing is given.
///
/// # Errors
/// `not_found`; `unprocessable`.
pub async fn attempt(app: &App, caller: &Caller, once: &Once, id: TitleId, asked: TryRules) -> Result<Reply, Problem> {
    let subject = Subject::try_from(asked.status)?;
    let (scope, family) = (caller.scope(), title::family(&id));
    let given = asked.condition;
    let only = asked.supplement;
    once.write(app, "try_rules", family, async move |tx: &mut Tx| {
        let rules = of_title(tx, &scope, &id).await?;
        let one = |supplement: Option<TitleId>, condition: &str| {
            let holds = Condition::parse(condition).and_then(|condition| condition.holds(&subject));
            let (selects, why_not) = holds.map_or_else(|why| (false, Some(why)), |holds| (holds, None));
            TriedRule { supplement, condition: condition.to_owned(), selects, why_not }
        };
        let items: Vec<TriedRule> = match &given {
            Some(condition) => vec![one(only.clone(), condition)],
            None => {
                let asked_for = rules.into_iter().filter(|rule| only.as_ref().is_none_or(|only| *only == rule.supplement));
                asked_for.map(|rule| one(Some(rule.supplement), &rule.condition)).collect()
            }
        };
        if items.is_empty() && only.is_some() {
            return Err(ApiCode::NotFound.into());
        }
        Ok(Reply::ok(&TriedRules { items }))
    })
    .await
}

/// Whether a status that was written by hand can be one.
///
/// # Errors
/// `unprocessable`.
pub fn check(subject: &Subject) -> Result<(), Problem> {
    limits::check(&subject.vars).map_err(wrong)?;
    if subject.owns.len() as i64 > MOST_OWNED {
        return Err(wrong(format!("`owns` has at most {MOST_OWNED} titles")));
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}
