//! `/account/lost-card`: for whoever has lost the card, and has user ID and recovery code written down (C15). Nobody signs in for it. The new
//! card is made by the repair centre; who has one already asks at a terminal, with `counterfoil card replace`.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::wire::{ReissueResult, ReissueState};
use counterfoil_core::{RecoveryCode, UserId};

use crate::actions::checks::check_text;
use crate::actions::reissue::{self, Asking};
use crate::app::App;
use crate::problem::Problem;
use crate::web::visitor::{Fields, Posted};
use crate::web::{Layout, Section, page, page_as, sentence};

#[derive(Template)]
#[template(path = "lost-card.html")]
struct LostCardPage<'a> {
    layout: Layout,
    error: Option<String>,
    user_id: &'a str,
    contact: &'a str,
    done: Option<Asked>,
}

/// What became of a request.
struct Asked {
    id: String,
    state: ReissueState,
}

impl Asked {
    /// In words.
    fn told(&self) -> &'static str {
        match self.state {
            ReissueState::Waiting => "Your request is at the repair centre. Keep its number.",
            ReissueState::Done => "The new card was made. Have the repair centre give it to you.",
            ReissueState::Declined => "The repair centre has declined the request. Ask there, with its number at hand.",
        }
    }
}

fn form_page(app: &App, error: Option<(StatusCode, String)>, fields: &Fields) -> Result<Response, Problem> {
    let (status, error) = error.map_or((StatusCode::OK, None), |(status, error)| (status, Some(error)));
    // Not the code: it is in nobody's history.
    let (user_id, contact) = (fields.text("user_id"), fields.text("contact"));
    page_as(status, &LostCardPage { layout: Layout::new(&app.name, Section::Account), error, user_id, contact, done: None })
}

/// Asks for user ID and code.
///
/// # Errors
/// A failure of the template.
pub async fn form(State(app): State<App>) -> Result<Response, Problem> {
    form_page(&app, None, &Fields::default())
}

/// Lodges the request. Typing errors are told before anything is looked up; whatever else is wrong, in the same words.
///
/// # Errors
/// A failure of the database.
pub async fn ask(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    let asking = match read(&fields) {
        Ok(asking) => asking,
        Err(typing) => return form_page(&app, Some((StatusCode::UNPROCESSABLE_ENTITY, typing)), &fields),
    };
    match reissue::ask(&app, asking, app.clock.now()).await? {
        Ok(ReissueResult { reissue_id, state }) => {
            let done = Some(Asked { id: reissue_id.to_string(), state });
            page(&LostCardPage { layout: Layout::new(&app.name, Section::Account), error: None, user_id: "", contact: "", done })
        }
        Err(refusal) => form_page(&app, Some((StatusCode::FORBIDDEN, sentence(&refusal))), &fields),
    }
}

fn read(fields: &Fields) -> Result<Asking, String> {
    let user: UserId = fields.text("user_id").parse().map_err(|error| format!("There is a typing error in the user ID: {error}."))?;
    let code: RecoveryCode =
        fields.text("code").parse().map_err(|error| format!("There is a typing error in the recovery code: {error}."))?;
    let contact = fields.some("contact").map(str::to_owned);
    if contact.as_deref().is_some_and(|contact| check_text(contact).is_err()) {
        return Err("How we reach you has at most 200 characters, in one line.".to_owned());
    }
    Ok(Asking { user, code: Some(code), card: None, contact, actor: "/web".to_owned() })
}
