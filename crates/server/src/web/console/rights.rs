//! What media allow, changed: of one, of a batch, of those of a batch that fit. First what would be otherwise is shown, then it is done.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::rules::rights::RightsChange;
use counterfoil_core::{BatchId, MediumId, Rights};
use serde::Deserialize;

use super::confirm::{Confirm, Field};
use super::staff::draw_once;
use super::tasks::{InAddress as _, mendable, read};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::rights::{self, query};
use crate::api::rights::{ChangeRights, MediaQuery};
use crate::app::App;
use crate::db::Tx;
use crate::idempotency::Once;
use crate::problem::{ApiCode, Problem};
use crate::store::{batch, medium};
use crate::web::charts::number;
use crate::web::page_as;
use crate::web::visitor::{Fields, see_other};

pub use fields::{Kept, difference, typed};

mod fields;

/// Requests of a thousand serials each that one click does: what a browser waits for.
const CALLS: usize = 5;

/// Whose rights.
enum Of {
    Medium { id: MediumId, rights: Rights },
    Batch { id: BatchId, count: i64, rights: Rights },
}

impl Of {
    async fn medium(app: &App, staff: &Staff, id: &str) -> Result<Self, Problem> {
        staff.needs(Sees::Publishers)?;
        let (scope, id) = (staff.scope(), MediumId::read(id)?);
        app.db
            .read("medium's rights", async move |tx: &mut Tx| -> Result<Self, Problem> {
                let known = medium::known(tx, &id).await?.ok_or(ApiCode::NotFound)?;
                batch::get(tx, &scope, known.batch).await?.ok_or(ApiCode::NotFound)?;
                Ok(Self::Medium { id: id.clone(), rights: known.rights })
            })
            .await
    }

    async fn batch(app: &App, staff: &Staff, id: &str) -> Result<Self, Problem> {
        staff.needs(Sees::Publishers)?;
        let (scope, id) = (staff.scope(), BatchId::read(id)?);
        app.db
            .read("batch's rights", async move |tx: &mut Tx| -> Result<Self, Problem> {
                let row = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
                Ok(Self::Batch { id, count: row.count, rights: row.rights })
            })
            .await
    }

    fn rights(&self) -> &Rights {
        let (Self::Medium { rights, .. } | Self::Batch { rights, .. }) = self;
        rights
    }

    fn path(&self) -> String {
        match self {
            Self::Medium { id, .. } => format!("/console/media/{id}"),
            Self::Batch { id, .. } => format!("/console/batches/{id}"),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Medium { id, .. } => format!("medium {id}"),
            Self::Batch { id, .. } => format!("batch {id}"),
        }
    }

    fn section(&self) -> Section {
        match self {
            Self::Medium { .. } => Section::Things,
            Self::Batch { .. } => Section::Batches,
        }
    }

    /// What was typed of serials and states: some of the batch's media, each of which has rights of its own from then on.
    fn some_of(&self, fields: &Fields) -> bool {
        matches!(self, Self::Batch { .. }) && fields.text("whom") == "some"
    }
}

#[derive(Template)]
#[template(path = "console/rights.html")]
struct RightsPage<'a> {
    frame: Frame,
    name: String,
    path: String,
    batch: bool,
    /// How many media, for people.
    count: String,
    typed: &'a Fields,
    kept: Kept,
    error: Option<String>,
    once: String,
}

fn form(app: &App, staff: &Staff, of: &Of, typed: &Fields, error: Option<String>) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let count = if let Of::Batch { count, .. } = of { *count } else { 1 };
    let shown = RightsPage {
        frame: Frame::new(app, staff, of.section()),
        name: of.name(),
        path: of.path(),
        batch: matches!(of, Of::Batch { .. }),
        count: number(count),
        typed,
        kept: Kept::change(of.rights(), typed),
        error,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// `/console/media/{medium_id}/rights`
///
/// # Errors
/// `not_found`.
pub async fn medium_form(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    let of = Of::medium(&app, &staff, &id).await?;
    form(&app, &staff, &of, &Fields::default(), None)
}

/// `/console/batches/{batch}/rights`
///
/// # Errors
/// `not_found`.
pub async fn batch_form(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    let of = Of::batch(&app, &staff, &id).await?;
    form(&app, &staff, &of, &Fields::default(), None)
}

/// Shows what would be otherwise, or does it.
///
/// # Errors
/// `not_found`.
pub async fn change_medium(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let of = Of::medium(&app, &sent.by, &id).await?;
    change(&app, &of, &sent).await
}

/// Shows what would be otherwise, or does it.
///
/// # Errors
/// `not_found`.
pub async fn change_batch(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let of = Of::batch(&app, &sent.by, &id).await?;
    change(&app, &of, &sent).await
}

async fn change(app: &App, of: &Of, sent: &Sent) -> Result<Response, Problem> {
    let change = match typed(&sent.fields) {
        Ok(change) => change,
        Err(problem) => return form(app, &sent.by, of, &sent.fields, Some(mendable(problem)?)),
    };
    let ask = |error: Option<String>| confirm(of, &sent.fields, &change, error);
    if change.is_empty() {
        return form(app, &sent.by, of, &sent.fields, Some("Nothing is chosen that is to change.".to_owned()));
    }
    if sent.fields.text("step") != "do" {
        return ask(None).page(app, &sent.by);
    }
    if sent.fields.some("reason").is_none() {
        return ask(Some("A reason is needed.".to_owned())).page(app, &sent.by);
    }
    match carry_out(app, of, sent, change.clone()).await {
        Ok(None) => Ok(see_other(&format!("{}?done=rights", of.path()))),
        Ok(Some(next)) => go_on(of, &sent.fields, next).page(app, &sent.by),
        Err(problem) => ask(Some(mendable(problem)?)).page(app, &sent.by),
    }
}

/// Does it; says where to go on, where that is not all.
async fn carry_out(app: &App, of: &Of, sent: &Sent, change: RightsChange) -> Result<Option<i64>, Problem> {
    let (caller, fields) = (sent.by.caller(), &sent.fields);
    let (reason, refresh) = (fields.text("reason").trim().to_owned(), fields.text("refresh") != "no");
    match of {
        Of::Medium { id, .. } => {
            let asked = ChangeRights { rights: change, reason, refresh };
            rights::of_medium(app, &caller, &sent.once, id.clone(), asked).await.map(|_| None)
        }
        Of::Batch { id, .. } if !of.some_of(fields) => {
            let asked = ChangeRights { rights: change, reason, refresh };
            rights::of_batch(app, &caller, &sent.once, *id, asked).await.map(|_| None)
        }
        Of::Batch { id, .. } => {
            let serial = |name: &str| match fields.some(name) {
                None => Ok(None),
                Some(text) => text.parse::<i64>().map(Some).map_err(|_| wrong("serials are whole numbers")),
            };
            let state = fields.some("state").map(str::to_owned);
            let mut asked = MediaQuery { rights: change, reason, refresh, from: serial("from")?, until: serial("until")?, state };
            for _ in 0..CALLS {
                let once = each(sent, asked.from);
                let answer: Answer = read(&query::run(app, &caller, &once, *id, asked.clone()).await?)?;
                asked.from = answer.next;
                if asked.from.is_none() {
                    return Ok(None);
                }
            }
            Ok(asked.from)
        }
    }
}

/// What a query has answered.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    next: Option<i64>,
}

/// Each thousand serials is a request of its own, which is done once.
fn each(sent: &Sent, from: Option<i64>) -> Once {
    let (session, word) = (&sent.by.signed_in().session, format!("{}/{}", sent.fields.text("once"), from.unwrap_or(1)));
    Once::of_form(&sent.by.actor(), "rights of some media", &word, &sent.fields.digest("rights of some media"), session.answers())
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}

/// Everything that was typed, for the form that does it.
fn hidden(fields: &Fields, besides: &[&str]) -> Vec<(&'static str, String)> {
    const ALL: [&str; 15] = [
        "copies",
        "play",
        "update",
        "download",
        "transfer",
        "upload",
        "upload_readable",
        "expires",
        "endless",
        "upload_mib",
        "attributes",
        "whom",
        "from",
        "until",
        "state",
    ];
    let kept = ALL.into_iter().filter(|name| !besides.contains(name) && !fields.text(name).is_empty());
    let mut hidden: Vec<(&'static str, String)> = kept.map(|name| (name, fields.text(name).to_owned())).collect();
    hidden.push(("refresh", if fields.text("refresh") == "no" { "no" } else { "yes" }.to_owned()));
    hidden.push(("step", "do".to_owned()));
    hidden
}

fn confirm(of: &Of, fields: &Fields, change: &RightsChange, error: Option<String>) -> Confirm {
    let mut happens = match of.some_of(fields) {
        // Each may have other rights now.
        true => difference(&Rights::default(), &change.of(&Rights::default())).into_iter().map(|said| format!("Set to: {said}")).collect(),
        false => difference(of.rights(), &change.of(of.rights())),
    };
    if happens.is_empty() {
        happens.push("The rights are so already where this is all that they differ in.".to_owned());
    }
    happens.push(match of {
        Of::Medium { .. } => "The medium has rights of its own from then on, whatever becomes of its batch's.".to_owned(),
        Of::Batch { .. } if of.some_of(fields) => "Each medium that fits has rights of its own from then on.".to_owned(),
        Of::Batch { count, .. } => {
            format!("It holds for all {} media of the batch but those that have rights of their own.", number(*count))
        }
    });
    happens.push("Copies that were made stay. The server decides by this from now on.".to_owned());
    if fields.text("refresh") != "no" {
        happens.push("Writable media are brought the new rights, with a new claim secret, when they are next heard of.".to_owned());
    }
    let mut facts = vec![("Of", of.name())];
    if of.some_of(fields) {
        let serials = format!("{} to {}", fields.some("from").unwrap_or("1"), fields.some("until").unwrap_or("the last"));
        facts.extend([("Serials", serials), ("State", fields.some("state").unwrap_or("any").to_owned())]);
    }
    Confirm {
        section: of.section(),
        heading: "Change these rights?".to_owned(),
        facts,
        happens,
        fields: vec![Field::reason(fields.text("reason"))],
        hidden: hidden(fields, &[]),
        action: format!("{}/rights", of.path()),
        button: "Change the rights",
        danger: false,
        back: format!("{}/rights", of.path()),
        error,
    }
}

/// After some thousands: the rest, with another click.
fn go_on(of: &Of, fields: &Fields, next: i64) -> Confirm {
    let mut hidden = hidden(fields, &["from"]);
    hidden.extend([("from", next.to_string()), ("reason", fields.text("reason").to_owned())]);
    Confirm {
        section: of.section(),
        heading: format!("Done up to serial {}", number(next - 1)),
        facts: vec![("Of", of.name())],
        happens: vec![format!("It goes on from serial {}, {} at a time.", number(next), number(CALLS as i64 * 1000))],
        fields: vec![],
        hidden,
        action: format!("{}/rights", of.path()),
        button: "Go on",
        danger: false,
        back: of.path(),
        error: None,
    }
}
