//! `/publish` (D2): a publisher signs in with its token, and edits how its titles stand in the store.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::{Money, Policy, SourceDevice, TitleId};

use super::desk::{AGAIN, Clerk, Desk};
use super::visitor::{Fields, Posted};
use super::{Layout, Section, filters, page, page_as};
use crate::actions::listing::{self, By};
use crate::api::listings::{ListingDocument, NewListing};
use crate::api::store::PictureDocument;
use crate::app::App;
use crate::auth::Admit;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::title::{self, Title};

pub mod media;

const DESK: Desk = Desk {
    path: "/publish",
    name: "publish",
    admit: Admit::Publisher,
    heading: "Publisher",
    about: "Here a publisher puts its titles into the store. The operator gives publishers a token.",
    wrong: "This is no token of a publisher, or it has ended.",
};
/// Titles on the page.
const SHOWN: usize = 500;

/// The terms that are numbers, as people read them. Empty is the default; of the last one, for good.
const NUMBERS: [(&str, &str); 9] = [
    ("devices", "Devices that may run it at once"),
    ("transfers", "Transfers in one period"),
    ("transfer_days", "Length of that period, in days"),
    ("lease_days", "Days without the network (0: for good)"),
    ("grace_days", "Days of warning after that"),
    ("refund_days", "Days in which it can be given back"),
    ("trial_days", "Days for which it can be tried (0: not at all)"),
    ("upload_mib", "MiB of saves that are kept for each user (0: none)"),
    ("term_days", "Days that a purchase lasts (empty: for good)"),
];

#[derive(Template)]
#[template(path = "publish.html")]
struct TitlesPage<'a> {
    layout: Layout,
    publisher: &'a str,
    titles: Vec<Title>,
    more: bool,
    form: String,
}

/// `/publish`: the publisher's titles.
///
/// # Errors
/// A failure of the database.
pub async fn titles(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some(clerk) = DESK.clerk(&app, &headers).await? else { return DESK.sign_in_page(&app, None) };
    let scope = clerk.caller().scope();
    let mut titles = app
        .db
        .read("own_titles", async move |tx: &mut Tx| -> Result<Vec<Title>, DbError> { title::list(tx, &scope, "", SHOWN as i64 + 1).await })
        .await?;
    let more = titles.len() > SHOWN;
    titles.truncate(SHOWN);
    page(&TitlesPage { layout: layout(&app), publisher: &clerk.token.name, titles, more, form: clerk.form_token() })
}

/// Takes a publisher's token.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    DESK.sign_in(&app, &fields).await
}

/// Forgets the publisher in this browser.
///
/// # Errors
/// `foreign_form`.
pub async fn sign_out(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    DESK.sign_out(&app, &headers, &fields).await
}

#[derive(Template)]
#[template(path = "publish-title.html")]
struct TitlePage<'a> {
    layout: Layout,
    title: &'a TitleId,
    name: &'a str,
    error: Option<&'a str>,
    saved: bool,
    on_sale: bool,
    /// When the listing was written that the form began with.
    seen: &'a str,
    typed: &'a Fields,
    numbers: &'static [(&'static str, &'static str)],
    pictures: &'a [PictureDocument],
    form: String,
}

/// A title of the publisher with its listing.
struct Own {
    title: Title,
    listing: ListingDocument,
}

impl Own {
    async fn read(app: &App, clerk: &Clerk, id: &str) -> Result<Self, Problem> {
        let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
        let scope = clerk.caller().scope();
        app.db
            .read("own_title", async move |tx: &mut Tx| -> Result<Self, Problem> {
                let title = title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
                Ok(Self { title, listing: listing::look(tx, &scope, &id).await? })
            })
            .await
    }

    fn page(&self, app: &App, clerk: &Clerk, typed: &Fields, said: Result<bool, &str>) -> Result<Response, Problem> {
        let status = if said.is_err() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let page = TitlePage {
            layout: layout(app),
            title: &self.title.id,
            name: &self.title.name,
            error: said.err(),
            saved: said == Ok(true),
            on_sale: self.listing.on_sale,
            seen: self.listing.updated_at.as_deref().unwrap_or_default(),
            typed,
            numbers: &NUMBERS,
            pictures: &self.listing.pictures,
            form: clerk.form_token(),
        };
        page_as(status, &page)
    }
}

/// `/publish/titles/{title}`: the form.
///
/// # Errors
/// `not_found`, also for another publisher's title.
pub async fn form(State(app): State<App>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Problem> {
    let Some(clerk) = DESK.clerk(&app, &headers).await? else { return DESK.sign_in_page(&app, None) };
    let own = Own::read(&app, &clerk, &id).await?;
    own.page(&app, &clerk, &as_fields(&own.listing), Ok(false))
}

/// Saves what was typed, unless somebody else has changed the listing since the form was made.
///
/// # Errors
/// `foreign_form`, `not_found`, or a failure of the database.
pub async fn save(State(app): State<App>, headers: HeaderMap, Path(id): Path<String>, Posted(fields): Posted) -> Result<Response, Problem> {
    let Some(clerk) = DESK.clerk(&app, &headers).await? else { return DESK.sign_in_page(&app, Some(AGAIN)) };
    clerk.check(&fields)?;
    let mut own = Own::read(&app, &clerk, &id).await?;
    let checked = typed(&fields).and_then(|new| listing::check(new).map_err(|problem| problem.detail.unwrap_or(problem.title)));
    let new = match checked {
        Ok(new) => new,
        Err(wrong) => return own.page(&app, &clerk, &fields, Err(&wrong)),
    };
    let caller = clerk.caller();
    let by = By { actor: caller.actor(), scope: caller.scope(), now: app.clock.now().0 };
    let (id, seen) = (own.title.id.clone(), fields.text("seen").to_owned());
    let written = app
        .db
        .write("put_listing", title::family(&id), async move |tx: &mut Tx| -> Result<Option<ListingDocument>, Problem> {
            let there = listing::look(tx, &by.scope, &id).await?;
            if there.updated_at.as_deref().unwrap_or_default() != seen {
                return Ok(None);
            }
            listing::put_within(tx, &by, &id, &new).await.map(Some)
        })
        .await?;
    match written {
        Some(listing) => {
            own.listing = listing;
            own.page(&app, &clerk, &as_fields(&own.listing), Ok(true))
        }
        None => {
            let said =
                "Somebody else has changed this listing since you opened it. Your text is below; look at theirs before you save it again.";
            own.page(&app, &clerk, &fields, Err(said))
        }
    }
}

fn layout(app: &App) -> Layout {
    Layout::new(&app.name, Section::Elsewhere)
}

/// A listing as the form shows it.
fn as_fields(listing: &ListingDocument) -> Fields {
    let ListingDocument { summary, description, on_sale, prices, policy, .. } = listing;
    let yes = |so: bool| if so { "yes" } else { "" }.to_owned();
    let lines = |lines: Vec<String>| lines.join("\n");
    let numbers = [
        policy.devices,
        policy.transfers,
        policy.transfer_days,
        policy.lease_days,
        policy.grace_days,
        policy.refund_days,
        policy.trial_days,
        policy.upload_mib,
    ];
    let mut fields: Vec<(String, String)> =
        NUMBERS.iter().zip(numbers).map(|((name, _), value)| ((*name).to_owned(), value.to_string())).collect();
    fields.extend([
        ("term_days".to_owned(), policy.term_days.map(|days| days.to_string()).unwrap_or_default()),
        ("summary".to_owned(), summary.clone()),
        ("description".to_owned(), description.clone()),
        ("on_sale".to_owned(), yes(*on_sale)),
        ("prices".to_owned(), lines(prices.iter().map(ToString::to_string).collect())),
        ("deregistered".to_owned(), yes(policy.source == SourceDevice::Deregistered)),
        ("control_program".to_owned(), yes(policy.control_program)),
        ("attributes".to_owned(), lines(policy.attributes.iter().map(|(name, value)| format!("{name} = {value}")).collect())),
    ]);
    Fields::of(fields)
}

/// What was typed, or what is wrong with it.
fn typed(fields: &Fields) -> Result<NewListing, String> {
    let usual = Policy::default();
    let number = |name: &str, usual: u32| match fields.text(name).trim() {
        "" => Ok(usual),
        text => text.parse().map_err(|_| format!("{name}: {text} is no number of days or times")),
    };
    let lines =
        |name: &str| fields.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let price = |line: String| line.parse::<Money>().map_err(|error| format!("{line}: {error}"));
    let prices = lines("prices").into_iter().map(price).collect::<Result<_, _>>()?;
    let flag = |line: String| match line.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(format!("{line}: a flag is written as name = value")),
    };
    let attributes: BTreeMap<_, _> = lines("attributes").into_iter().map(flag).collect::<Result<_, _>>()?;
    let policy = Policy {
        devices: number("devices", usual.devices)?,
        transfers: number("transfers", usual.transfers)?,
        transfer_days: number("transfer_days", usual.transfer_days)?,
        lease_days: number("lease_days", usual.lease_days)?,
        grace_days: number("grace_days", usual.grace_days)?,
        refund_days: number("refund_days", usual.refund_days)?,
        trial_days: number("trial_days", usual.trial_days)?,
        term_days: if fields.some("term_days").is_some() { Some(number("term_days", 0)?) } else { None },
        source: if fields.text("deregistered") == "yes" { SourceDevice::Deregistered } else { SourceDevice::Kept },
        control_program: fields.text("control_program") == "yes",
        upload_mib: number("upload_mib", usual.upload_mib)?,
        attributes,
    };
    let (summary, description) = (fields.text("summary").to_owned(), fields.text("description").to_owned());
    Ok(NewListing { summary, description, on_sale: fields.text("on_sale") == "yes", prices, policy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::listing::Listing;

    #[test]
    fn what_the_form_shows_is_what_it_sends() {
        let policy = Policy {
            devices: 4,
            source: SourceDevice::Deregistered,
            term_days: Some(365),
            control_program: true,
            attributes: [("edition".to_owned(), "a = b".to_owned())].into(),
            ..Policy::default()
        };
        let prices = vec!["19.99 EUR".parse().expect("money"), "500 JPY".parse().expect("money")];
        let listing = Listing { summary: "One".into(), description: "Two\n\nThree".into(), on_sale: true, prices, policy };
        let document = ListingDocument::of(&"a".parse().expect("a title"), listing.clone(), vec![], None);
        let sent = typed(&as_fields(&document)).expect("as it was");
        assert_eq!(
            (sent.summary, sent.description, sent.on_sale, sent.prices, sent.policy),
            (listing.summary, listing.description, listing.on_sale, listing.prices, listing.policy)
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (name, value) in [("prices", "19,99 EUR"), ("devices", "two"), ("attributes", "edition"), ("term_days", "-1")] {
            let wrong = typed(&Fields::of(vec![(name.to_owned(), value.to_owned())])).map(|_| ()).expect_err(name);
            assert!(wrong.contains(value), "{wrong}");
        }
        assert_eq!(typed(&Fields::of(vec![])).expect("defaults").policy, Policy::default());
    }
}
