//! What a publisher says of a release after it was published (A5): whether it is offered, to how many, and what it is good for.

use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use serde_json::json;

use crate::api::releases::{ChannelDocument, NewChannel, ReleaseChange, ReleaseSummary};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::release::{self, Said};
use crate::store::{audit, title};

/// Longest notes, in characters.
const MOST_NOTES: usize = 20_000;

/// Changes what is named; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable`.
pub async fn change(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: TitleId,
    version: ReleaseVersion,
    change: ReleaseChange,
) -> Result<Reply, Problem> {
    change.notes.as_deref().map_or(Ok(()), check_notes)?;
    change.rollout.map_or(Ok(()), check_rollout)?;
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "change_release", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        // Two who change different things at once both get their way.
        audit::hold(tx, &family).await?;
        let mut row = release::get(tx, &id, &version).await?.ok_or(ApiCode::NotFound)?;
        let said = changed(&row.said, &change, now);
        if said != row.said {
            release::say(tx, &id, &version, &said).await?;
            let detail = json!({ "version": version, "changed": difference(&row.said, &said) });
            audit::append(tx, &family, now, &actor, "release.changed", &detail).await?;
            row.said = said;
        }
        Ok(Reply::ok(&ReleaseSummary::from(row)))
    })
    .await
}

/// Names the oldest release that is still good on a channel; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable` for a release that is not there.
pub async fn set_channel(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: TitleId,
    channel: Channel,
    new: NewChannel,
) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), title::family(&id));
    once.write(app, "set_channel", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        audit::hold(tx, &family).await?;
        let number = match &new.minimum {
            None => None,
            Some(version) => {
                let missing = || Problem::with(ApiCode::Unprocessable, format!("the title has no release {version}"));
                Some(release::get(tx, &id, version).await?.ok_or_else(missing)?.number)
            }
        };
        if release::minimum(tx, &id, &channel).await? != number {
            release::set_minimum(tx, &id, &channel, number).await?;
            let detail = json!({ "channel": channel, "minimum": new.minimum });
            audit::append(tx, &family, now, &actor, "channel.changed", &detail).await?;
        }
        Ok(Reply::ok(&ChannelDocument { title: id.clone(), channel: channel.clone(), minimum: new.minimum.clone() }))
    })
    .await
}

/// Since when something is so that was so or not: the first time counts.
fn since(was: Option<i64>, shall: Option<bool>, now: i64) -> Option<i64> {
    match shall {
        None => was,
        Some(true) => was.or(Some(now)),
        Some(false) => None,
    }
}

fn changed(was: &Said, change: &ReleaseChange, now: i64) -> Said {
    Said {
        notes: change.notes.clone().unwrap_or_else(|| was.notes.clone()),
        critical: change.critical.unwrap_or(was.critical),
        rollout: change.rollout.unwrap_or(was.rollout),
        held_at: since(was.held_at, change.held, now),
        withdrawn_at: since(was.withdrawn_at, change.withdrawn, now),
        allow_back: change.allow_back.unwrap_or(was.allow_back),
    }
}

/// What is otherwise now, for the audit log; notes are long and only named.
fn difference(was: &Said, is: &Said) -> serde_json::Value {
    let mut changed = serde_json::Map::new();
    let mut note = |name: &str, differs: bool, value: serde_json::Value| {
        if differs {
            changed.insert(name.to_owned(), value);
        }
    };
    note("notes", was.notes != is.notes, json!(true));
    note("critical", was.critical != is.critical, json!(is.critical));
    note("rollout", was.rollout != is.rollout, json!(is.rollout));
    note("held", was.held_at != is.held_at, json!(is.held_at.is_some()));
    note("withdrawn", was.withdrawn_at != is.withdrawn_at, json!(is.withdrawn_at.is_some()));
    note("allow_back", was.allow_back != is.allow_back, json!(is.allow_back));
    changed.into()
}

/// Notes are some pages of text, with lines.
///
/// # Errors
/// `unprocessable`.
pub fn check_notes(notes: &str) -> Result<(), Problem> {
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if notes.chars().count() > MOST_NOTES || notes.chars().any(strange) {
        let what = format!("notes are at most {MOST_NOTES} characters, without control characters but line ends and tabs");
        return Err(Problem::with(ApiCode::Unprocessable, what));
    }
    Ok(())
}

/// A rollout is a percentage.
///
/// # Errors
/// `unprocessable`.
pub fn check_rollout(rollout: u32) -> Result<(), Problem> {
    if rollout > 100 {
        return Err(Problem::with(ApiCode::Unprocessable, "`rollout` is 0 to 100, percent of the devices"));
    }
    Ok(())
}
