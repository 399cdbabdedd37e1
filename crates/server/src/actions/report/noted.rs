//! What a device says it has is noted where it is news (A6): in the user's family, and in the audit log where a release has changed.

use counterfoil_core::wire::{Report, Status};
use counterfoil_core::{DeviceId, Timestamp, TitleId, UserId};
use serde_json::json;

use super::Asking;
use super::facts::Facts;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::status::{self, StatusRow};
use crate::store::{audit, user};

/// Notes what has changed; nothing is written where nothing has.
pub(super) async fn note(app: &App, asking: &Asking, ask: &Report, facts: &Facts, now: Timestamp) -> Result<(), Problem> {
    let Some(user) = asking.user else { return Ok(()) };
    let held = ask.titles.iter().zip(&facts.titles).filter(|(status, held)| held.found.is_ok() && status.grant_id.is_some());
    let mut news: Vec<StatusRow> = vec![];
    for (status, _) in held {
        let row = row(status, now);
        let is_news = facts.before.get(&status.title).is_none_or(|before| !same(before, &row));
        // Of two copies of a title on one device, the last that is named counts.
        news.retain(|other| other.title != row.title);
        if is_news {
            news.push(row);
        }
    }
    if news.is_empty() {
        return Ok(());
    }
    let device = asking.device;
    app.db.write("note status", user::family(user), async move |tx: &mut Tx| write(tx, user, device, &news).await).await?;
    Ok(())
}

async fn write(tx: &mut Tx, user: UserId, device: Option<DeviceId>, news: &[StatusRow]) -> Result<(), DbError> {
    let family = user::family(user);
    audit::hold(tx, &family).await?;
    for row in news {
        let before = status::get(tx, user, device, &row.title).await?;
        if !status::put(tx, user, device, row).await? {
            continue;
        }
        let was = before.and_then(|before| before.version);
        if was != row.version {
            let detail = json!({ "title": row.title, "device": device, "from": was, "to": row.version });
            audit::append(tx, &family, row.reported_at.0, &family, "status.changed", &detail).await?;
        }
    }
    Ok(())
}

/// How far a download is, and what is damaged, is not kept: it is over by the time that anybody looks.
fn row(status: &Status, now: Timestamp) -> StatusRow {
    let Status { title, grant_id, medium_id, release, channel, variables, .. } = status;
    let document = json!({ "grant_id": grant_id, "medium_id": medium_id, "variables": variables });
    StatusRow {
        title: TitleId::clone(title),
        channel: channel.clone().unwrap_or_default(),
        version: release.clone(),
        document: document.to_string(),
        reported_at: now,
    }
}

fn same(before: &StatusRow, now: &StatusRow) -> bool {
    StatusRow { reported_at: before.reported_at, ..now.clone() } == *before
}
