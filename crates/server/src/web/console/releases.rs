//! `/console/titles/{title}/releases/{version}`: a release; whether a release is offered, to how many, and what it is good for (A5).

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::{ReleaseVersion, TitleId};

use super::confirm::{Confirm, Field};
use super::staff::draw_once;
use super::tasks::{InAddress as _, mendable};
use super::timeline::{self, Timeline};
use super::words::Chip;
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::release as change_release;
use crate::api::releases::ReleaseChange;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::release::{self, Release};
use crate::store::title;
use crate::web::visitor::{Fields, see_other};
use crate::web::{filters, page_as};

#[derive(Template)]
#[template(path = "console/offer.html")]
struct OfferPage {
    frame: Frame,
    title: TitleId,
    release: Release,
    state: Chip,
    rollout: String,
    notes: String,
    error: Option<String>,
    once: String,
    /// Whether they may say something else of it.
    changes: bool,
    timeline: Timeline,
}

async fn found(app: &App, staff: &Staff, sees: Sees, (title, version): (&str, &str)) -> Result<(TitleId, Release), Problem> {
    staff.needs(sees)?;
    let (scope, title, version) = (staff.scope(), TitleId::read(title)?, ReleaseVersion::read(version)?);
    app.db
        .read("release to offer", async move |tx: &mut Tx| -> Result<_, Problem> {
            title::get(tx, &scope, &title).await?.ok_or(ApiCode::NotFound)?;
            let release = release::get(tx, &title, &version).await?.ok_or(ApiCode::NotFound)?;
            Ok((title.clone(), release))
        })
        .await
}

/// As what a release is offered.
pub fn state(release: &Release) -> Chip {
    match (release.said.withdrawn_at, release.said.held_at, release.said.rollout) {
        (Some(_), ..) => Chip::bad("withdrawn"),
        (None, Some(_), _) => Chip::warn("held"),
        (None, None, 100) => Chip::good("offered to all"),
        (None, None, part) => Chip::warn(format!("offered to {part} %")),
    }
}

async fn show(
    app: &App,
    staff: &Staff,
    (title, release): (TitleId, Release),
    query: Option<&str>,
    typed: Option<&Fields>,
    error: Option<String>,
) -> Result<Response, Problem> {
    let (family, before) = (title::family(&title), timeline::before(query));
    let records = app.db.read_lagging("timeline of a title", async move |tx: &mut Tx| timeline::read(tx, &family, before).await).await?;
    let path = format!("/console/titles/{title}/releases/{}", release.version);
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let text = |name: &str, now: String| typed.map_or(now, |typed| typed.text(name).to_owned());
    let shown = OfferPage {
        frame: Frame::told(app, staff, Section::Titles, query),
        timeline: match staff.sees(Sees::Orders) {
            true => Timeline::of(records, before, &path),
            false => Timeline::without_persons(records, before, &path),
        },
        changes: staff.sees(Sees::Publishers),
        state: state(&release),
        rollout: text("rollout", release.said.rollout.to_string()),
        notes: text("notes", release.said.notes.clone()),
        title,
        release,
        error,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// The page with the form.
///
/// # Errors
/// `not_found`.
pub async fn form(
    State(app): State<App>,
    staff: Staff,
    Path((title, version)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let found = found(&app, &staff, Sees::Catalogue, (&title, &version)).await?;
    show(&app, &staff, found, query.as_deref(), None, None).await
}

/// Says something else of it. To withdraw it, and to take that back, is asked once more.
///
/// # Errors
/// `not_found`.
pub async fn change(State(app): State<App>, Path((title, version)): Path<(String, String)>, sent: Sent) -> Result<Response, Problem> {
    let (id, release) = found(&app, &sent.by, Sees::Publishers, (&title, &version)).await?;
    let fields = &sent.fields;
    if let Some(withdraw) = fields.some("withdraw") {
        let withdraw = withdraw == "yes";
        if fields.text("step") != "do" {
            return confirm(&id, &release, withdraw).page(&app, &sent.by);
        }
        let change = ReleaseChange { withdrawn: Some(withdraw), ..nothing() };
        change_release::change(&app, &sent.by.caller(), &sent.once, id, release.version, change).await?;
        return Ok(back(&title, &version));
    }
    let done = match typed(fields) {
        Ok(change) => change_release::change(&app, &sent.by.caller(), &sent.once, id.clone(), release.version.clone(), change).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(_) => Ok(back(&title, &version)),
        Err(problem) => show(&app, &sent.by, (id, release), None, Some(fields), Some(mendable(problem)?)).await,
    }
}

fn back(title: &str, version: &str) -> Response {
    see_other(&format!("/console/titles/{title}/releases/{version}?done=release"))
}

fn nothing() -> ReleaseChange {
    ReleaseChange { notes: None, critical: None, rollout: None, held: None, withdrawn: None, allow_back: None }
}

fn typed(fields: &Fields) -> Result<ReleaseChange, Problem> {
    let rollout = fields.text("rollout").trim().parse().map_err(|_| Problem::with(ApiCode::Unprocessable, "the percentage is 0 to 100"))?;
    Ok(ReleaseChange {
        notes: Some(fields.text("notes").replace("\r\n", "\n")),
        critical: Some(fields.text("critical") == "yes"),
        rollout: Some(rollout),
        held: Some(fields.text("held") == "yes"),
        withdrawn: None,
        allow_back: Some(fields.text("allow_back") == "yes"),
    })
}

fn confirm(title: &TitleId, release: &Release, withdraw: bool) -> Confirm {
    let version = &release.version;
    let happens: &[&str] = if withdraw {
        &[
            "Nobody is offered it any more, and nobody who names it gets it.",
            "Devices that have it are offered the newest good release, be it an earlier one.",
            "Media that were pressed with it stay good.",
        ]
    } else {
        &["It is offered again, as far as hold and percentage let it."]
    };
    Confirm {
        section: Section::Titles,
        heading: if withdraw { format!("Withdraw {version}?") } else { format!("Offer {version} again?") },
        facts: vec![("Title", title.to_string()), ("Release", version.to_string()), ("Channel", release.channel.to_string())],
        happens: happens.iter().map(|said| (*said).to_owned()).collect(),
        fields: Vec::<Field>::new(),
        hidden: vec![("withdraw", if withdraw { "yes" } else { "no" }.to_owned()), ("step", "do".to_owned())],
        action: format!("/console/titles/{title}/releases/{version}"),
        button: if withdraw { "Withdraw the release" } else { "Offer it again" },
        danger: withdraw,
        back: format!("/console/titles/{title}/releases/{version}"),
        error: None,
    }
}
