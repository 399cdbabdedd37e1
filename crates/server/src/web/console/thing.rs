//! A page about one thing: what it is, what belongs to it, what can be done with it, and what happened to it.

use askama::Template;
use axum::response::Response;

use super::timeline::{Event, Timeline};
use super::words::{self, Chip};
use super::{Frame, table::Pager};
use crate::problem::Problem;
use crate::web::{filters, page};

/// A page about one thing.
#[derive(Default)]
pub struct Thing {
    /// Above the heading: where this belongs.
    pub crumbs: Vec<Link>,
    /// What kind of thing: `Device`.
    pub kind: &'static str,
    /// What it is called.
    pub heading: String,
    /// Its ID, where that is not the heading.
    pub id: Option<String>,
    /// A box to look for things with.
    pub find: Option<Find>,
    /// How it stands.
    pub chips: Vec<Chip>,
    /// What can be done with it.
    pub actions: Vec<Link>,
    /// What whoever looks should know first.
    pub notices: Vec<Notice>,
    /// What it is.
    pub panels: Vec<Panel>,
    /// What belongs to it.
    pub tables: Vec<Table>,
    /// What was refused lately; none: the section is left out.
    pub refused: Option<Vec<Event>>,
    /// What happened; none: it has no history of its own.
    pub timeline: Option<Timeline>,
}

/// A box to look for things with: the field `q` of the query.
pub struct Find {
    /// Where to.
    pub action: &'static str,
    /// Above it.
    pub label: &'static str,
    /// What was looked for.
    pub value: String,
}

/// A way on.
#[derive(Clone, Debug)]
pub struct Link {
    /// As people read it.
    pub name: String,
    /// Where to.
    pub href: String,
}

impl Link {
    /// To a page.
    pub fn new(name: impl Into<String>, href: impl Into<String>) -> Self {
        Self { name: name.into(), href: href.into() }
    }
}

/// Something that is said above everything else.
pub struct Notice {
    /// `warn`, `bad` or `good`.
    pub tone: &'static str,
    /// A sentence.
    pub text: String,
    /// Where to go on.
    pub link: Option<Link>,
}

/// Facts under a heading.
pub struct Panel {
    /// Above them.
    pub heading: &'static str,
    /// Name and value.
    pub facts: Vec<(&'static str, Cell)>,
}

/// Rows under a heading.
#[derive(Default)]
pub struct Table {
    /// Above them.
    pub heading: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// The first cell of each names its row.
    pub rows: Vec<Vec<Cell>>,
    /// What is said where there are none.
    pub empty: &'static str,
    /// Other pages of it.
    pub pager: Pager,
}

/// A value as it is shown.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The text, where there is one.
    pub text: String,
    /// Where it leads.
    pub href: Option<String>,
    /// Whether it is an ID.
    pub code: bool,
    /// Whether it is a moment.
    pub when: bool,
    /// A state.
    pub chip: Option<Chip>,
    /// Below it, smaller.
    pub below: Option<Box<Cell>>,
}

impl Cell {
    /// A text; a dash where there is none.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text: if text.is_empty() { "–".to_owned() } else { text }, ..Self::default() }
    }

    /// A text that may be missing.
    pub fn some(text: Option<impl Into<String>>) -> Self {
        text.map_or_else(|| Self::text(""), |text| Self::text(text))
    }

    /// An ID.
    pub fn id(id: impl ToString) -> Self {
        Self { text: id.to_string(), code: true, ..Self::default() }
    }

    /// A moment as the documents hold it.
    pub fn at(rfc3339: &str) -> Self {
        Self { text: words::moment(rfc3339), when: true, ..Self::default() }
    }

    /// A moment that may not have come.
    pub fn maybe_at(rfc3339: Option<&str>) -> Self {
        rfc3339.map_or_else(|| Self::text(""), Self::at)
    }

    /// A state.
    pub fn chip(chip: Chip) -> Self {
        Self { chip: Some(chip), ..Self::default() }
    }

    /// The same, leading somewhere.
    pub fn to(self, href: impl Into<String>) -> Self {
        Self { href: Some(href.into()), ..self }
    }

    /// The same, leading somewhere only for whoever sees that.
    pub fn to_if(self, sees: bool, href: impl Into<String>) -> Self {
        if sees { self.to(href) } else { self }
    }

    /// The same with something below it.
    pub fn below(self, below: Cell) -> Self {
        Self { below: Some(Box::new(below)), ..self }
    }
}

#[derive(Template)]
#[template(path = "console/thing.html")]
struct ThingPage {
    frame: Frame,
    thing: Thing,
}

impl Thing {
    /// The page.
    ///
    /// # Errors
    /// A failure of the template.
    pub fn page(self, frame: Frame) -> Result<Response, Problem> {
        page(&ThingPage { frame, thing: self })
    }
}
