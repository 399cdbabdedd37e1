//! `/transfer` (D8–D10): choose, see what will happen, have it happen.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::wire::{LicensedTitle, MovedLicense, TransferResult, UsersDevice};
use counterfoil_core::{DeviceId, Timestamp};

use super::account::{day, layout};
use super::buy::{read_request, request_name};
use super::devices::{self, Choice, called};
use super::visitor::{Fields, Person, Sent};
use super::{Layout, Section, page, page_as, sentence};
use crate::actions::account::sessions::SignedIn;
use crate::actions::transfer::{self, Requester, Wanted};
use crate::app::App;
use crate::problem::{ApiCode, Problem};

/// What stands for everything, which no title is called.
const ALL: &str = "*";

#[derive(Template)]
#[template(path = "transfer.html")]
struct TransferPage {
    layout: Layout,
    error: Option<String>,
    source: Option<Choice>,
    sources: Vec<Choice>,
    titles: Vec<TitleChoice>,
    destinations: Vec<Choice>,
}

struct TitleChoice {
    value: String,
    name: String,
    help: String,
    chosen: bool,
}

/// `/transfer`: first the device that gives up, then what and where to.
///
/// # Errors
/// `not_found` for a device of another; a failure of the database.
pub async fn form(State(app): State<App>, Person(by): Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    chosen(&app, &by, &fields, None).await
}

async fn chosen(app: &App, by: &SignedIn, fields: &Fields, error: Option<String>) -> Result<Response, Problem> {
    let known = devices::of(app, by.user()).await?;
    let status = if error.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let layout = layout(app, Section::Devices, by);
    let Some(source) = fields.some("source") else {
        let sources = Choice::of(known.iter().filter(|device| !device.licenses.is_empty()));
        return page_as(status, &TransferPage { layout, error, source: None, sources, titles: vec![], destinations: vec![] });
    };
    let source = find(&known, source)?;
    let mut titles: Vec<TitleChoice> = source.licenses.iter().map(TitleChoice::from).collect();
    titles.push(TitleChoice {
        value: ALL.to_owned(),
        name: "Everything".to_owned(),
        help: format!("{} is taken out of your devices, as before it is sold or thrown away", called(source)),
        chosen: false,
    });
    titles.iter_mut().for_each(|title| title.chosen = title.value == fields.text("title"));
    let mut destinations = Choice::of(known.iter().filter(|device| device.registered && device.id != source.id));
    for device in &mut destinations {
        device.chosen |= device.id.to_string() == fields.text("destination");
    }
    let source = Some(Choice { id: source.id, name: called(source), chosen: true });
    page_as(status, &TransferPage { layout, error, source, sources: vec![], titles, destinations })
}

impl From<&LicensedTitle> for TitleChoice {
    fn from(license: &LicensedTitle) -> Self {
        let help = match (license.transfers_left, license.next_transfer_at) {
            (0, Some(at)) => format!("cannot be moved again before {}", day(at)),
            (0, None) => "cannot be moved".to_owned(),
            (1, _) => "can be moved once more in this period".to_owned(),
            (left, _) => format!("can be moved {left} more times in this period"),
        };
        Self { value: license.title.to_string(), name: license.name.clone(), help, chosen: false }
    }
}

fn find<'a>(known: &'a [UsersDevice], id: &str) -> Result<&'a UsersDevice, Problem> {
    let id: DeviceId = id.parse().map_err(|_| ApiCode::NotFound)?;
    known.iter().find(|device| device.id == id).ok_or(ApiCode::NotFound.into())
}

#[derive(Template)]
#[template(path = "transfer-preview.html")]
struct PreviewPage {
    layout: Layout,
    heading: &'static str,
    done: bool,
    source: Choice,
    destination: Choice,
    title: String,
    sentences: Vec<String>,
    deregistered: bool,
    request: String,
    form: String,
}

/// `/transfer/preview`: what would happen. Nothing does yet.
///
/// # Errors
/// `not_found` for devices of another; a failure of the database.
pub async fn preview(State(app): State<App>, Person(by): Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    let (wanted, ends) = wanted(&app, &by, &fields).await?;
    match transfer::preview(&app, by.user(), wanted).await? {
        Ok(result) => told(&app, &by, &fields, ends, &result, false),
        Err(refusal) => chosen(&app, &by, &fields, Some(sentence(&refusal))).await,
    }
}

/// Has it happen. However often the form is sent, it is one transfer.
///
/// # Errors
/// `not_found` for devices of another; a failure of the database.
pub async fn carry_out(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let (wanted, ends) = wanted(&app, &by, &fields).await?;
    let request_id = read_request(&fields).ok_or(ApiCode::InvalidRequest)?;
    let said = ["source", "destination", "title"].map(|name| fields.text(name).as_bytes());
    let digest = *blake3::hash(&counterfoil_format::encoding::frame(&said)).as_bytes();
    let requester = Requester { user: by.user(), actor: by.actor(), request_id, digest };
    match transfer::carry_out(&app, &requester, wanted).await? {
        Ok(result) => told(&app, &by, &fields, ends, &result, true),
        Err(refusal) => chosen(&app, &by, &fields, Some(sentence(&refusal))).await,
    }
}

/// What was chosen, and the two devices by name. After everything has moved, the source is nobody's: then its ID is its name.
async fn wanted(app: &App, by: &SignedIn, fields: &Fields) -> Result<(Wanted, (Choice, Choice)), Problem> {
    let known = devices::of(app, by.user()).await?;
    let read = |name: &str| fields.text(name).parse::<DeviceId>().map_err(|_| Problem::from(ApiCode::NotFound));
    let (source, destination) = (read("source")?, read("destination")?);
    let title = match fields.text("title") {
        ALL => None,
        title => Some(title.parse().map_err(|_| ApiCode::NotFound)?),
    };
    let name = |id: DeviceId| known.iter().find(|device| device.id == id).map_or_else(|| id.to_string(), called);
    let ends = [source, destination].map(|id| Choice { id, name: name(id), chosen: true });
    let [from, to] = ends;
    Ok((Wanted { source, destination, title }, (from, to)))
}

fn told(
    app: &App,
    by: &SignedIn,
    fields: &Fields,
    (source, destination): (Choice, Choice),
    result: &TransferResult,
    done: bool,
) -> Result<Response, Problem> {
    let sentences = result.moved.iter().map(|moved| in_words(moved, &source.name, done)).collect();
    page(&PreviewPage {
        layout: layout(app, Section::Devices, by),
        heading: if done { "Moved" } else { "This will happen" },
        done,
        source,
        destination,
        title: fields.text("title").to_owned(),
        sentences,
        deregistered: result.source_deregistered,
        request: request_name(app),
        form: by.session.form_token(),
    })
}

fn in_words(moved: &MovedLicense, source: &str, done: bool) -> String {
    let moves = if done { "has moved" } else { "moves" };
    let end = match moved.source_runs_until {
        None => format!("{source} never fetched it, so there is nothing to stop"),
        Some(Timestamp::FOREVER) => format!("{source} stops running it when it next reaches the network"),
        Some(until) => format!("{source} stops running it when it next reaches the network, and on {} at the latest", day(until)),
    };
    let left = match moved.transfers_left {
        0 => "cannot be moved again in this period".to_owned(),
        1 => "can be moved once more in this period after that".to_owned(),
        left => format!("can be moved {left} more times in this period after that"),
    };
    format!("{} {moves}; {end}. It {left}.", moved.name)
}
