//! `/console/reissues`: who has lost a card and waits for another one (C15); and the new card in place of the old one.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::{ReissueId, Timestamp, UserId};

use super::confirm::{Confirm, Field};
use super::repair::name;
use super::table::{Asked, Paged, Pager};
use super::tasks::{InAddress as _, mendable};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::{entry, reissue};
use crate::api::entries::document::{EntryDocument, ReissueOfEntry};
use crate::api::reissues::{CardKeys, NewCard};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::person;
use crate::store::reissue::{self as rows, ReissueRow};
use crate::web::visitor::{Fields, see_other};
use crate::web::{filters, page};

#[derive(Template)]
#[template(path = "console/reissues.html")]
struct ReissuesPage {
    frame: Frame,
    waiting: Vec<Waiting>,
    pager: Pager,
    decides: bool,
}

/// A request, with what the person is called.
struct Waiting {
    row: ReissueRow,
    name: Option<String>,
}

/// What waits, oldest first.
///
/// # Errors
/// `not_found` for whoever sees no entries; a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Entries)?;
    let asked = Asked::new("/console/reissues", query.as_deref());
    let place = asked.after();
    let (at, id) = place.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned()))).unwrap_or((i64::MIN, String::new()));
    let limit = asked.rows();
    let found = app
        .db
        .read("console reissues", async move |tx: &mut Tx| -> Result<Vec<Waiting>, DbError> {
            let mut found = vec![];
            for row in rows::waiting(tx, (Timestamp(at), &id), limit).await? {
                let name = person::find(tx, row.user).await?.map(|person| person.name);
                found.push(Waiting { row, name });
            }
            Ok(found)
        })
        .await?;
    let Paged { items: waiting, pager } = Paged::of(found, &asked, |one| format!("{}.{}", one.row.created_at.0, one.row.reissue));
    let (frame, decides) = (Frame::told(&app, &staff, Section::Reissues, query.as_deref()), staff.sees(Sees::Repairers));
    page(&ReissuesPage { frame, waiting, pager, decides })
}

/// What is asked about a new card: the entry, and the request that waits, where one does.
struct Asking {
    entry: EntryDocument,
    request: Option<ReissueOfEntry>,
}

impl Asking {
    async fn load(app: &App, staff: &Staff, user: &str, request: Option<&str>) -> Result<Self, Problem> {
        staff.needs(Sees::Repairers)?;
        let mut entry = entry::load(app, UserId::read(user)?).await?.ok_or(ApiCode::NotFound)?;
        let wanted = |one: &ReissueOfEntry| match request {
            Some(id) => one.reissue_id.to_string() == id,
            None => one.state == "waiting",
        };
        let request = entry.reissues.iter().position(wanted).map(|place| entry.reissues.swap_remove(place));
        Ok(Self { entry, request })
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("User", name(&self.entry)), ("User ID", self.entry.user_id.to_string())];
        facts.extend(self.entry.card.as_ref().map(|card| ("Card now", card.card_id.to_string())));
        if let Some(request) = &self.request {
            facts.push(("Asked", request.at.clone()));
            facts.extend(request.contact.clone().map(|contact| ("Reached at", contact)));
            facts.extend(request.card_id.map(|card| ("New card", card.to_string())));
        }
        facts
    }

    /// Whether the card's keys have to be typed here.
    fn makes_card(&self) -> bool {
        self.request.as_ref().is_none_or(|request| request.card_id.is_none())
    }

    fn confirm(&self, fields: &Fields, error: Option<String>) -> Confirm {
        let mut happens = vec![
            "The old card is dead at once, everywhere: it claims, registers and collects nothing any more.".to_owned(),
            "Everything that was copied plays with the new card, offline as well; nothing has to be copied again.".to_owned(),
            "Devices, drives and licenses stay as they are.".to_owned(),
        ];
        let mut typed = vec![];
        if self.makes_card() {
            let key = |name, label, help| Field { name, label, value: fields.text(name).to_owned(), help, required: true, longest: 200 };
            typed.push(key("sign", "Signing key of the new card", "“counterfoil card new --json” shows both public keys."));
            typed.push(key("seal", "Sealing key of the new card", ""));
            happens
                .push("The new card is filled by “counterfoil repair reissue --card”, or at its first contact with a terminal.".to_owned());
        } else {
            happens.push("The user's terminal fills the new card at its next contact.".to_owned());
        }
        typed.extend([Field::reason(fields.text("reason")), Field::reference(fields.text("reference"))]);
        Confirm {
            section: Section::Reissues,
            heading: "Replace this card?".to_owned(),
            facts: self.facts(),
            happens,
            fields: typed,
            hidden: self.request.iter().map(|request| ("request", request.reissue_id.to_string())).collect(),
            action: format!("/console/users/{}/reissue", self.entry.user_id),
            button: "Replace the card",
            danger: true,
            back: format!("/console/users/{}", self.entry.user_id),
            error,
        }
    }

    fn decline(&self, id: ReissueId, fields: &Fields, error: Option<String>) -> Confirm {
        Confirm {
            section: Section::Reissues,
            heading: "Decline this request?".to_owned(),
            facts: self.facts(),
            happens: vec!["The card that the user has now stays as it is.".to_owned(), "The user may ask again.".to_owned()],
            fields: vec![Field::reason(fields.text("reason"))],
            hidden: vec![],
            action: format!("/console/users/{}/reissues/{id}/decline", self.entry.user_id),
            button: "Decline the request",
            danger: true,
            back: "/console/reissues".to_owned(),
            error,
        }
    }
}

/// Asks before a card is replaced; `?request=` names the request that is carried out.
///
/// # Errors
/// `not_found`.
pub async fn ask(State(app): State<App>, staff: Staff, Path(user): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let typed = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    let asking = Asking::load(&app, &staff, &user, typed.some("request")).await?;
    if asking.request.as_ref().is_some_and(|request| request.state != "waiting") {
        return Ok(see_other(&format!("/console/users/{}?done=decided", asking.entry.user_id)));
    }
    asking.confirm(&typed, None).page(&app, &staff)
}

/// Replaces it.
///
/// # Errors
/// `not_found`.
pub async fn replace(State(app): State<App>, Path(user): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let fields = &sent.fields;
    let asking = Asking::load(&app, &sent.by, &user, fields.some("request")).await?;
    let keys =
        asking.makes_card().then(|| CardKeys { sign: fields.text("sign").trim().to_owned(), seal: fields.text("seal").trim().to_owned() });
    let new = NewCard {
        reissue_id: fields.some("request").map(|id| id.parse().map_err(|_| ApiCode::NotFound)).transpose()?,
        card: keys,
        reason: fields.text("reason").trim().to_owned(),
        reference: fields.some("reference").map(str::to_owned),
    };
    match reissue::replace_by(&app, &sent.by.actor(), &sent.once, asking.entry.user_id, new).await {
        Ok(_) => Ok(see_other(&format!("/console/users/{}?done=replaced", asking.entry.user_id))),
        Err(problem) => asking.confirm(fields, Some(mendable(problem)?)).page(&app, &sent.by),
    }
}

/// Asks before a request is declined.
///
/// # Errors
/// `not_found`.
pub async fn ask_decline(State(app): State<App>, staff: Staff, Path((user, id)): Path<(String, String)>) -> Result<Response, Problem> {
    let asking = Asking::load(&app, &staff, &user, Some(&id)).await?;
    let id = asking.request.as_ref().ok_or(ApiCode::NotFound)?.reissue_id;
    asking.decline(id, &Fields::default(), None).page(&app, &staff)
}

/// Declines it.
///
/// # Errors
/// `not_found`.
pub async fn decline(State(app): State<App>, Path((user, id)): Path<(String, String)>, sent: Sent) -> Result<Response, Problem> {
    let asking = Asking::load(&app, &sent.by, &user, Some(&id)).await?;
    let id = asking.request.as_ref().ok_or(ApiCode::NotFound)?.reissue_id;
    let reason = sent.fields.text("reason").trim().to_owned();
    match reissue::decline_by(&app, &sent.by.actor(), &sent.once, asking.entry.user_id, id, reason).await {
        Ok(_) => Ok(see_other("/console/reissues?done=declined")),
        Err(problem) => asking.decline(id, &sent.fields, Some(mendable(problem)?)).page(&app, &sent.by),
    }
}
