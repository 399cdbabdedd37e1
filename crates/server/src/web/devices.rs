//! `/devices`: a person's devices by name, what is licensed to each and under way there, and announcing another.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::wire::{LicensedTitle, UsersDevice};
use counterfoil_core::{DeviceId, TitleId, UserId};

use super::account::{day, layout, told};
use super::buy::request_name;
use super::send::{self, ShownJob};
use super::visitor::{Fields, Person, Sent, see_other};
use super::{Layout, Section, page_as, sentence};
use crate::actions::account::sessions::SignedIn;
use crate::actions::devices;
use crate::actions::shop::{self, By};
use crate::api::shop::NewDevice;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::user;

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage<'a> {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    devices: Vec<ShownDevice>,
    typed_id: &'a str,
    typed_name: &'a str,
    form: String,
}

struct ShownDevice {
    id: DeviceId,
    name: String,
    made: Option<String>,
    since: String,
    registered: bool,
    licenses: Vec<ShownLicense>,
    jobs: Vec<ShownJob>,
}

struct ShownLicense {
    title: TitleId,
    name: String,
    installed: bool,
    until: Option<String>,
    /// Names the request that its button makes, for good.
    request: String,
}

/// A device to be chosen.
pub(super) struct Choice {
    /// Which.
    pub id: DeviceId,
    /// As people call it.
    pub name: String,
    /// Chosen unasked: it is the only one, or was chosen before.
    pub chosen: bool,
}

impl Choice {
    /// These devices, the only one chosen already.
    pub(super) fn of<'a>(devices: impl Iterator<Item = &'a UsersDevice>) -> Vec<Self> {
        let mut choices: Vec<Self> = devices.map(|device| Self { id: device.id, name: called(device), chosen: false }).collect();
        if let [only] = &mut choices[..] {
            only.chosen = true;
        }
        choices
    }
}

/// What people call a device: its name, or its make, or the end of its ID.
pub(super) fn called(device: &UsersDevice) -> String {
    device.name.clone().or_else(|| made(device)).unwrap_or_else(|| {
        let id = device.id.to_string();
        format!("Device …{}", id.rsplit('-').next().unwrap_or(&id))
    })
}

fn made(device: &UsersDevice) -> Option<String> {
    let parts: Vec<&str> = [&device.maker, &device.model].into_iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The devices of somebody who is signed in.
pub(super) async fn of(app: &App, user: UserId) -> Result<Vec<UsersDevice>, Problem> {
    let now = app.clock.now();
    Ok(app.db.read("devices", async move |tx: &mut Tx| devices::of_user(tx, user, now).await).await?)
}

/// `/devices`
///
/// # Errors
/// A failure of the database.
pub async fn list(State(app): State<App>, Person(by): Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    shown(&app, &by, told(query.as_deref()), None, &Fields::default()).await
}

async fn shown(app: &App, by: &SignedIn, told: Option<&'static str>, error: Option<String>, typed: &Fields) -> Result<Response, Problem> {
    let mut jobs = send::jobs(app, by.user()).await?;
    let devices = of(app, by.user()).await?.into_iter().map(|device| ShownDevice {
        id: device.id,
        name: called(&device),
        made: made(&device),
        since: day(device.since),
        registered: device.registered,
        licenses: device.licenses.into_iter().map(|license| ShownLicense::of(app, license)).collect(),
        jobs: jobs.extract_if(.., |job| job.device == device.id).collect(),
    });
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = DevicesPage {
        layout: layout(app, Section::Devices, by),
        told,
        error,
        devices: devices.collect(),
        typed_id: typed.text("device_id"),
        typed_name: typed.text("name"),
        form: by.session.form_token(),
    };
    page_as(status, &page)
}

impl ShownLicense {
    fn of(app: &App, license: LicensedTitle) -> Self {
        let until = license.expires_at.map(day);
        Self { title: license.title, name: license.name, installed: license.installed, until, request: request_name(app) }
    }
}

/// The page, with why something was not done.
pub(super) async fn refused(app: &App, by: &SignedIn, error: String) -> Result<Response, Problem> {
    shown(app, by, None, Some(error), &Fields::default()).await
}

/// Announces a device. The same again changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn announce(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let Ok(device_id) = fields.text("device_id").parse::<DeviceId>() else {
        let said = "This is no device ID, or a character of it is wrong.".to_owned();
        return shown(&app, &by, None, Some(said), &fields).await;
    };
    let new = NewDevice { device_id, maker: None, model: None, name: fields.some("name").map(str::to_owned) };
    let described = match shop::described(new) {
        Ok(described) => described,
        Err(problem) => return shown(&app, &by, None, problem.detail, &fields).await,
    };
    let (user, policy, who) = (by.user(), app.config.registration.clone(), By { actor: by.actor(), now: app.clock.now() });
    let announced = app
        .db
        .write("announce device", user::family(user), async move |tx: &mut Tx| {
            shop::announce_within(tx, user, &described, &policy, &who).await
        })
        .await;
    match announced {
        Ok(Ok(_)) => Ok(see_other("/devices?done=announced")),
        Ok(Err(refusal)) => shown(&app, &by, None, Some(sentence(&refusal)), &fields).await,
        Err(problem) if problem.code == ApiCode::NotFound.as_str() => Err(Problem::internal("an account of a user whom nobody knows")),
        Err(problem) => Err(problem),
    }
}
