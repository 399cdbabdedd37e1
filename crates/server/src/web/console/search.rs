//! `/console/search`: one box for everything. What is one thing is opened at once.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::{BatchId, CardId, DeviceId, DriveId, HolderId, LicenseId, MediumId, OrderId, ReleaseVersion, TitleId, UserId};

use super::users::encoded;
use super::words::Chip;
use super::{Frame, Section, Sees, Staff};
use crate::actions::entry;
use crate::api::entries::document::EntrySummary;
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::begun::{self, OrderFound};
use crate::store::word::{self, Named, Shelf};
use crate::store::{batch, find, medium, release, title};
use crate::web::page_as;
use crate::web::visitor::{Fields, see_other};

/// Titles, batches, media and orders that are shown, of each.
const SHOWN: usize = 20;

/// Something that was found.
struct Hit {
    kind: &'static str,
    name: String,
    about: String,
    href: String,
    chip: Option<Chip>,
}

#[derive(Template)]
#[template(path = "console/search.html")]
struct SearchPage {
    frame: Frame,
    hits: Vec<Hit>,
    /// What is wrong about what was typed.
    wrong: Option<String>,
    persons: bool,
}

/// `/console/search?q=…`
///
/// # Errors
/// `not_found` for those who look nothing up; a failure of the database.
pub async fn search(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Things)?;
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    let asked: String = fields.text("q").trim().chars().filter(|c| *c != '\0').take(200).collect();
    if let Some(path) = exact(&app, &staff, &asked).await? {
        return Ok(see_other(&path));
    }
    let (hits, wrong) = match asked.is_empty() {
        true => (vec![], None),
        false => by_words(&app, &staff, &asked).await?,
    };
    // A person found by address or name alone is opened as well.
    if let ([hit], None) = (hits.as_slice(), &wrong) {
        return Ok(see_other(&hit.href));
    }
    let status = if hits.is_empty() && !asked.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let frame = Frame { asked, ..Frame::new(&app, &staff, Section::Search) };
    page_as(status, &SearchPage { frame, hits, wrong, persons: staff.sees(Sees::Entries) })
}

/// The page of the one thing that an ID names, where whoever asks may see it.
async fn exact(app: &App, staff: &Staff, asked: &str) -> Result<Option<String>, Problem> {
    let (persons, orders, catalogue, scope) =
        (staff.sees(Sees::Entries), staff.sees(Sees::Orders), staff.sees(Sees::Catalogue), staff.scope());
    if persons && let Some(path) = of_person(app, asked).await? {
        return Ok(Some(path));
    }
    let asked = asked.to_owned();
    let path = async move |tx: &mut Tx| -> Result<Option<String>, DbError> {
        if orders && let Some(path) = of_purchase(tx, &asked).await? {
            return Ok(Some(path));
        }
        if let Some(path) = of_medium(tx, &scope, &asked).await? {
            return Ok(Some(path));
        }
        if catalogue { of_catalogue(tx, &scope, &asked).await } else { Ok(None) }
    };
    Ok(app.db.read("console search by ID", path).await?)
}

/// By an ID of a user, card, device or drive, that somebody has or had.
async fn of_person(app: &App, asked: &str) -> Result<Option<String>, Problem> {
    let path = if let Ok(id) = asked.parse::<UserId>() {
        format!("/console/users/{id}")
    } else if let Ok(id) = asked.parse::<CardId>() {
        format!("/console/cards/{id}")
    } else if let Ok(id) = asked.parse::<HolderId>() {
        return Ok(Some(format!("/console/cards/{}", CardId::from(id))));
    } else if let Ok(id) = asked.parse::<DeviceId>() {
        format!("/console/devices/{id}")
    } else if let Ok(id) = asked.parse::<DriveId>() {
        format!("/console/drives/{id}")
    } else {
        return Ok(None);
    };
    let known = !entry::find(app, asked).await?.is_empty() || path.starts_with("/console/cards/");
    Ok(known.then_some(path))
}

async fn of_purchase(tx: &mut Tx, asked: &str) -> Result<Option<String>, DbError> {
    if let Ok(id) = asked.parse::<OrderId>() {
        return Ok(find::owner_of_order(tx, id).await?.map(|user| format!("/console/orders/{user}/{id}")));
    }
    if let Ok(id) = asked.parse::<LicenseId>() {
        return Ok(find::owner_of_license(tx, id).await?.map(|user| format!("/console/users/{user}")));
    }
    Ok(None)
}

async fn of_medium(tx: &mut Tx, scope: &Scope, asked: &str) -> Result<Option<String>, DbError> {
    let Ok(id) = asked.parse::<MediumId>() else { return Ok(None) };
    let Some(known) = medium::known(tx, &id).await? else { return Ok(None) };
    let covered = batch::get(tx, scope, known.batch).await?.is_some();
    Ok(covered.then(|| format!("/console/media/{}", encoded(id.as_str()))))
}

/// By a batch and a number in it, whether or not anybody has heard of that medium.
async fn of_serial(tx: &mut Tx, scope: &Scope, id: BatchId, serial: u64) -> Result<Option<String>, DbError> {
    let listed = match i64::try_from(serial) {
        Ok(number) => begun::of_serial(tx, id, number).await?,
        Err(_) => None,
    };
    of_medium(tx, scope, listed.unwrap_or_else(|| MediumId::pressed(id, serial)).as_str()).await
}

/// By the ID of a title or batch, a title and a version (`sky-raider 1.2`), or a batch and the number of a medium in it.
async fn of_catalogue(tx: &mut Tx, scope: &Scope, asked: &str) -> Result<Option<String>, DbError> {
    if let Ok(id) = asked.parse::<BatchId>() {
        return Ok(batch::get(tx, scope, id).await?.map(|row| format!("/console/batches/{}", row.id)));
    }
    if let Ok(id) = asked.parse::<TitleId>() {
        return Ok(title::get(tx, scope, &id).await?.map(|row| format!("/console/titles/{}", row.id)));
    }
    let Some((id, version)) = asked.split_once([' ', '@']) else { return Ok(None) };
    if let (Ok(id), Ok(serial)) = (id.parse::<BatchId>(), version.trim().parse()) {
        return of_serial(tx, scope, id, serial).await;
    }
    let (Ok(id), Ok(version)) = (id.parse::<TitleId>(), version.trim().parse::<ReleaseVersion>()) else { return Ok(None) };
    if title::get(tx, scope, &id).await?.is_none() || release::get(tx, &id, &version).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(super::media::release(id.as_str(), version.as_str())))
}

/// By an address, words of a name, or the first characters of an ID.
async fn by_words(app: &App, staff: &Staff, asked: &str) -> Result<(Vec<Hit>, Option<String>), Problem> {
    let (mut hits, mut wrong) = (vec![], None);
    if staff.sees(Sees::Entries) {
        match entry::find(app, asked).await {
            Ok(found) => hits.extend(found.into_iter().map(Hit::from)),
            // A typing error is told from an ID that nobody has.
            Err(problem) if problem.code == ApiCode::Unprocessable.as_str() => wrong = problem.detail,
            Err(problem) => return Err(problem),
        }
    }
    let (catalogue, orders, scope, text) = (staff.sees(Sees::Catalogue), staff.sees(Sees::Orders), staff.scope(), asked.to_owned());
    let read = async move |tx: &mut Tx| -> Result<Vec<Hit>, DbError> {
        let mut hits = vec![];
        if orders {
            hits.extend(begun::orders(tx, &text, SHOWN as i64).await?.into_iter().map(Hit::from));
        }
        hits.extend(begun::media(tx, &scope, &text, SHOWN).await?.into_iter().map(Hit::medium));
        if catalogue {
            hits.extend(of_names(tx, &scope, &text).await?);
        }
        Ok(hits)
    };
    hits.extend(app.db.read("console search by name", read).await?);
    let told = wrong.map(|wrong| wrong.trim_start_matches("`find`: ").to_owned()).filter(|_| hits.is_empty());
    Ok((hits, told))
}

/// Titles and batches by words of their names; batches also by the first characters of their IDs.
async fn of_names(tx: &mut Tx, scope: &Scope, text: &str) -> Result<impl Iterator<Item = Hit> + use<>, DbError> {
    let mut titles = word::find(tx, Shelf::Titles, scope, text, SHOWN).await?;
    titles.sort_by(|a, b| a.id.cmp(&b.id));
    let mut batches = begun::batches(tx, scope, text, SHOWN).await?;
    batches.extend(word::find(tx, Shelf::Batches, scope, text, SHOWN - batches.len()).await?);
    let batches = batches.into_iter().map(|named| Hit::of("Batch", "batches", named));
    Ok(titles.into_iter().map(|named| Hit::of("Title", "titles", named)).chain(batches))
}

impl Hit {
    fn medium(Named { id, name: batch, publisher }: Named) -> Self {
        let href = format!("/console/media/{}", encoded(&id));
        Self { kind: "Medium", name: id, about: format!("{batch}, {publisher}"), href, chip: None }
    }

    fn of(kind: &'static str, place: &str, named: Named) -> Self {
        let Named { id, name, publisher } = named;
        let href = format!("/console/{place}/{}", encoded(&id));
        let name = if name.is_empty() { id.clone() } else { name };
        Self { kind, name, about: format!("{id}, {publisher}"), href, chip: None }
    }
}

impl From<OrderFound> for Hit {
    fn from(OrderFound { order, user, title }: OrderFound) -> Self {
        Self {
            kind: "Order",
            name: order.to_string(),
            about: format!("{title}, {user}"),
            href: format!("/console/orders/{user}/{order}"),
            chip: None,
        }
    }
}

impl From<EntrySummary> for Hit {
    fn from(entry: EntrySummary) -> Self {
        let EntrySummary { user_id, name, email, card_id, card_dead, found_by, gone, devices, .. } = entry;
        let card = card_id.map(|card| format!(", {card}")).unwrap_or_default();
        let email = email.map(|email| format!("{email}, ")).unwrap_or_default();
        let chip = match (gone, card_dead) {
            (true, _) => Some(Chip::bad(format!("former {found_by}"))),
            (_, true) => Some(Chip::bad("card is dead")),
            _ => None,
        };
        let plural = if devices == 1 { "device" } else { "devices" };
        Self {
            kind: "User",
            name: name.unwrap_or_else(|| user_id.to_string()),
            about: format!("{email}{user_id}{card}, {devices} {plural}"),
            href: format!("/console/users/{user_id}"),
            chip,
        }
    }
}
