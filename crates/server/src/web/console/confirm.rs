//! Before something is done that cannot be taken back: what will happen, why it is done, and the button.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::staff::draw_once;
use super::{Frame, Section, Staff};
use crate::app::App;
use crate::problem::Problem;
use crate::web::page_as;

/// Something that is asked before.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// As the form sends it.
    pub name: &'static str,
    /// As people read it.
    pub label: &'static str,
    /// What was typed.
    pub value: String,
    /// Below it; empty for nothing.
    pub help: &'static str,
    /// Whether it may stay empty.
    pub required: bool,
    /// Longest text, in characters.
    pub longest: u32,
}

impl Field {
    /// Why it is done: for the audit log.
    pub fn reason(value: &str) -> Self {
        Self {
            name: "reason",
            label: "Reason",
            value: value.to_owned(),
            help: "It stands in the audit log, beside your name.",
            required: true,
            longest: 200,
        }
    }

    /// The operator's own number for it.
    pub fn reference(value: &str) -> Self {
        Self {
            name: "reference",
            label: "Reference",
            value: value.to_owned(),
            help: "The number of a ticket or repair order, where there is one.",
            required: false,
            longest: 100,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// Under which heading of the menu.
    pub section: Section,
    /// What is about to be done: `Revoke this card?`
    pub heading: String,
    /// What it is done to: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What will happen, a sentence each.
    pub happens: Vec<String>,
    /// What is typed before.
    pub fields: Vec<Field>,
    /// What the form carries besides.
    pub hidden: Vec<(&'static str, String)>,
    /// Where it is sent to.
    pub action: String,
    /// On the button: the verb, and what.
    pub button: &'static str,
    /// Whether something ends by it.
    pub danger: bool,
    /// Where to go on without doing it.
    pub back: String,
    /// Why it was not done.
    pub error: Option<String>,
}

#[derive(Template)]
#[template(path = "console/confirm.html")]
struct ConfirmPage<'a> {
    frame: Frame,
    ask: &'a Confirm,
    once: String,
}

impl Confirm {
    /// The page; with what was wrong, where something was.
    ///
    /// # Errors
    /// A failure of the template.
    pub fn page(&self, app: &App, staff: &Staff) -> Result<Response, Problem> {
        self.framed(Frame::new(app, staff, self.section), draw_once(&app.rng))
    }

    /// The same in another frame, for a form with this `once`.
    ///
    /// # Errors
    /// A failure of the template.
    pub fn framed(&self, frame: Frame, once: String) -> Result<Response, Problem> {
        let status = if self.error.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
        page_as(status, &ConfirmPage { frame, ask: self, once })
    }
}
