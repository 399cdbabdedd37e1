//! Money that comes in: `/operator/payments`, `/operator/vouchers`, a top-up by hand, and one that the bank has taken back.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::{Money, PostingId};
use counterfoil_format::encoding::{from_base64url, to_base64url};

use super::customers::find;
use super::visitor::{Operator, Sent};
use super::{Desk, Section, frame};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::chargeback as bank;
use crate::gateway::ledger::posting::Kind;
use crate::gateway::ledger::{self, Source, ToppedUp};
use crate::gateway::store::account::AccountRow;
use crate::gateway::store::listed::{self, Objected, PaidIn};
use crate::gateway::store::repayment::Stands;
use crate::gateway::vouchers::{self as store, Voucher};
use crate::gateway::web::exchanges::place;
use crate::gateway::web::words::{self, available};
use crate::problem::{ApiCode, Problem};
use crate::web::console::confirm::{Confirm, Field};
use crate::web::console::staff::draw_once;
use crate::web::console::table::{Asked, Paged, Pager};
use crate::web::console::thing::{Cell, Find, Table, Thing};
use crate::web::console::words::Chip;
use crate::web::visitor::{Fields, see_other};

/// Objections that are listed: more than are ever open at a time.
const OBJECTED: i64 = 500;

/// A table of what came in; with accounts where they are of many.
pub(super) fn shown(heading: &'static str, rows: &[PaidIn], pager: Pager, accounts: bool) -> Table {
    let mut columns = vec!["Amount", "What", "Left of it", "When", "Note", ""];
    if accounts {
        columns.insert(1, "Account");
    }
    let row = |row: &PaidIn| {
        let currency = row.money.currency;
        let left = match row.ended_at {
            Some(_) => Cell::chip(Chip::bad("taken back")),
            None => Cell::text(words::amount(row.remaining, currency)),
        };
        let fee = Cell::text(format!("less {}", words::amount(row.fee, currency)));
        let amount = Cell::text(row.money.to_string());
        let back = format!("/operator/payments/{}/{}/chargeback", row.account, row.posting);
        let action = match (row.kind, row.ended_at) {
            (Kind::TopUp, None) => Cell::text("Taken back by the bank…").to(back),
            _ => Cell::text(""),
        };
        let note = Cell::text(&row.note).below(Cell::id(row.posting));
        let mut cells = vec![
            if row.fee > 0 { amount.below(fee) } else { amount },
            Cell::text(words::kind(row.kind.as_str())),
            left,
            Cell::at(&rfc3339(row.at)),
            note,
            action,
        ];
        if accounts {
            cells.insert(1, Cell::text(&row.name).to(format!("/operator/customers/{}", row.account)));
        }
        cells
    };
    Table { heading, columns, rows: rows.iter().map(row).collect(), empty: "Nothing came in.", pager }
}

/// What card holders object to at their banks, until it is decided.
fn objections(rows: &[Objected]) -> Table {
    let row = |row: &Objected| {
        let stands = match row.stands {
            Stands::Inquiry => Chip::plain("the bank asks"),
            _ => Chip::bad("the bank has taken it"),
        };
        vec![
            Cell::text(row.money.to_string()),
            Cell::text(&row.name).to(format!("/operator/customers/{}", row.account)),
            Cell::chip(stands),
            Cell::at(&rfc3339(row.since)),
            Cell::id(&row.dispute).below(Cell::id(row.posting)),
        ]
    };
    let columns = vec!["Amount", "Account", "Stands", "Since", "At the payment provider"];
    let (heading, empty) = ("Objections of card holders", "None is open.");
    Table { heading, columns, rows: rows.iter().map(row).collect(), empty, pager: Pager::default() }
}

/// `/operator/payments`
///
/// # Errors
/// A failure of the database.
pub async fn payments(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/payments", query.as_deref());
    let ((at, before), most) = (place(&asked.after()), asked.rows());
    let read = async move |tx: &mut Tx| listed::paid_in(tx, None, (at, &before), most).await;
    let found = desk.db.read("operator's payments", read).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |row: &PaidIn| format!("{}.{}", row.at.0, row.posting));
    let objected = desk.db.read("objections", async |tx: &mut Tx| listed::objected(tx, OBJECTED).await).await?;
    let tables = vec![objections(&objected), shown("Top-ups and vouchers, newest first", &items, pager, true)];
    let thing = Thing { kind: "Money", heading: "Paid in".to_owned(), tables, ..Thing::default() };
    thing.page(frame(&desk, &by, Section::Payments, query.as_deref()))
}

/// `/operator/vouchers`: those of the batch `q`, or all; by their hashes, which is no order.
///
/// # Errors
/// A failure of the database.
pub async fn vouchers(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/vouchers", query.as_deref());
    let (batch, after) = (asked.text("q").to_owned(), from_base64url(&asked.after()).unwrap_or_default());
    let read = async move |tx: &mut Tx| store::list(tx, Some(&batch), &after).await;
    let mut found = desk.db.read("operator's vouchers", read).await?;
    found.truncate(usize::try_from(asked.rows()).unwrap_or(usize::MAX));
    let Paged { items, pager } = Paged::of(found, &asked, |(hash, _): &(Vec<u8>, Voucher)| to_base64url(hash));
    let rows = items.into_iter().map(|(_, voucher)| {
        let state = match (&voucher.account, voucher.expires_at) {
            (Some(_), _) => Chip::plain("redeemed"),
            (None, Some(until)) if until <= desk.clock.now() => Chip::bad("ended"),
            _ => Chip::good("good"),
        };
        let whose = voucher.account.map_or_else(|| Cell::text(""), |id| Cell::id(id).to(format!("/operator/customers/{id}")));
        vec![
            Cell::text(&voucher.batch).below(Cell::id(&voucher.voucher)),
            Cell::text(voucher.money.to_string()),
            Cell::chip(state),
            Cell::maybe_at(voucher.expires_at.map(rfc3339).as_deref()),
            whose.below(Cell::maybe_at(voucher.taken_at.map(rfc3339).as_deref())),
        ]
    });
    let columns = vec!["Batch", "Worth", "State", "Until", "Redeemed by"];
    let table = Table { heading: "Vouchers", columns, rows: rows.collect(), empty: "There are none.", pager };
    let find = Find { action: "/operator/vouchers", label: "Batch", value: asked.text("q").to_owned() };
    let thing = Thing { kind: "Money", heading: "Vouchers".to_owned(), find: Some(find), tables: vec![table], ..Thing::default() };
    thing.page(frame(&desk, &by, Section::Vouchers, query.as_deref()))
}

/// A top-up as it was typed, and as it is booked.
struct Typed {
    money: Money,
    fee: u64,
    reference: String,
    note: String,
}

fn read(desk: &Desk, fields: &Fields) -> Result<Typed, &'static str> {
    let usual = desk.config.server.currency;
    let money = words::money(fields.text("money"), usual).filter(|money| (1..=ledger::MOST).contains(&money.amount));
    let money = money.ok_or("Write the amount as 50.00, or with its currency: 50.00 EUR.")?;
    let fee = match fields.some("fee") {
        None => 0,
        Some(typed) => {
            let fee = words::money(typed, money.currency).filter(|fee| fee.currency == money.currency && fee.amount <= money.amount);
            fee.ok_or("The fee is in the same currency, and no more than the amount.")?.amount
        }
    };
    let short = |name| Some(fields.text(name).trim().to_owned()).filter(|text: &String| text.chars().count() <= 200);
    let (reference, note) = short("reference").zip(short("note")).ok_or("Reference and note have 200 characters at most.")?;
    Ok(Typed { money, fee, reference, note })
}

fn field(name: &'static str, label: &'static str, value: &str, help: &'static str, required: bool) -> Field {
    Field { name, label, value: value.to_owned(), help, required, longest: 200 }
}

/// Asks what has come in.
fn ask(row: &AccountRow, fields: &Fields, error: Option<String>) -> Confirm {
    let path = format!("/operator/customers/{}", row.id);
    Confirm {
        section: crate::web::console::Section::Things,
        heading: format!("Top up {}", row.name),
        facts: vec![],
        happens: vec![],
        fields: vec![
            field("money", "Amount that has arrived", fields.text("money"), "Such as 50.00 EUR.", true),
            field("fee", "What being paid has cost", fields.text("fee"), "", false),
            field("reference", "Reference of the payment", fields.text("reference"), "The same again is booked once.", false),
            field("note", "Note", fields.text("note"), "Its owner reads it on the statement.", false),
        ],
        hidden: vec![],
        action: format!("{path}/top-up"),
        button: "See what is booked",
        danger: false,
        back: path,
        error,
    }
}

/// `/operator/customers/{account}/top-up`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn top_up_form(State(desk): State<Desk>, by: Operator, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    ask(&row, &Fields::default(), None).framed(frame(&desk, &by, Section::Customers, None), draw_once(&desk.rng))
}

/// Shows what would be booked; and books it, once, where that was agreed to.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn top_up(State(desk): State<Desk>, Path(id): Path<String>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let framed = |confirm: Confirm, once: String| confirm.framed(frame(&desk, &by, Section::Customers, None), once);
    let typed = match read(&desk, &fields) {
        Ok(typed) => typed,
        Err(error) => return framed(ask(&row, &fields, Some(error.to_owned())), draw_once(&desk.rng)),
    };
    let (account, currency) = (row.id, typed.money.currency);
    if fields.text("agreed") != "yes" {
        let held = desk.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &currency).await).await?;
        return framed(second_look(&row, &fields, &typed, available(held, currency)), draw_once(&desk.rng));
    }
    // By the payment's own name, or by the form's: what is sent twice is booked once.
    let reference = if typed.reference.is_empty() { format!("form {}", fields.text("once")) } else { typed.reference.clone() };
    let posting = bank::referenced(account, &reference);
    let (source, now) = (Source::Cash { fee: typed.fee }, desk.clock.now());
    let note = format!("{} {}", typed.note, typed.reference).trim().to_owned();
    let booked = ledger::TopUp { posting, money: typed.money, source, actor: "operator".to_owned(), note };
    let write = async move |tx: &mut Tx| ledger::top_up(tx, account, &booked, now).await;
    match desk.db.write("top up", account.to_string(), write).await? {
        ToppedUp::Done => Ok(see_other(&format!("/operator/customers/{account}?done=topped-up"))),
        ToppedUp::Other(earlier) => {
            let why = format!("Nothing was booked: a payment with this reference was booked before, as {earlier} or with another fee.");
            framed(ask(&row, &fields, Some(why)), draw_once(&desk.rng))
        }
        ToppedUp::Unfit => framed(ask(&row, &fields, Some("A balance does not hold as much.".to_owned())), draw_once(&desk.rng)),
    }
}

fn second_look(row: &AccountRow, fields: &Fields, typed: &Typed, now: Money) -> Confirm {
    let of = |amount| Money { amount, ..typed.money };
    let mut hidden: Vec<(&'static str, String)> = vec![("agreed", "yes".to_owned())];
    hidden.extend(["money", "fee", "reference", "note"].map(|name| (name, fields.text(name).to_owned())));
    Confirm {
        heading: format!("Book {} for {}?", typed.money, row.name),
        facts: vec![
            ("Amount", typed.money.to_string()),
            ("Fee", of(typed.fee).to_string()),
            ("Arrived in cash", of(typed.money.amount.saturating_sub(typed.fee)).to_string()),
            ("Can spend now", now.to_string()),
            ("Can spend then", of(now.amount.saturating_add(typed.money.amount)).to_string()),
            ("Reference", typed.reference.clone()),
        ],
        happens: vec![
            format!("{} can spend {} more, at once.", row.name, typed.money),
            "What is booked is never changed: what was wrong is booked back.".to_owned(),
        ],
        fields: vec![],
        hidden,
        button: "Book it",
        ..ask(row, fields, None)
    }
}

/// What a top-up has paid for: how many exchanges.
async fn paid(desk: &Desk, row: &PaidIn) -> Result<usize, DbError> {
    let (account, posting) = (row.account, row.posting);
    let (mut count, mut after) = (0, None);
    loop {
        let page = desk.db.read("what a top-up paid for", async move |tx| ledger::funded_by(tx, account, posting, after).await).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.exchange);
        count += page.len();
    }
}

async fn payment(desk: &Desk, account: &str, posting: &str) -> Result<PaidIn, Problem> {
    let (Ok(account), Ok(posting)) = (account.parse(), posting.parse::<PostingId>()) else { return Err(ApiCode::NotFound.into()) };
    let found = desk.db.read("operator's payment", async move |tx: &mut Tx| listed::one_paid_in(tx, account, posting).await).await?;
    let row = found.ok_or(ApiCode::NotFound)?;
    if row.kind != Kind::TopUp {
        return Err(Problem::with(ApiCode::Conflict, "a voucher was redeemed with it: no bank takes that back"));
    }
    Ok(row)
}

/// The objection to a payment that is not decided, where there is one.
async fn objection(desk: &Desk, row: &PaidIn) -> Result<Option<String>, DbError> {
    let (account, posting) = (row.account, row.posting);
    desk.db.read("objection to a payment", async move |tx: &mut Tx| listed::objection(tx, account, posting).await).await
}

async fn ask_back(desk: &Desk, row: &PaidIn, fields: &Fields, error: Option<String>) -> Result<Confirm, DbError> {
    let left = words::amount(row.remaining, row.money.currency);
    let exchanges = paid(desk, row).await?;
    let objection = objection(desk, row).await?;
    let by_itself = objection.map(|dispute| {
        format!("The card holder objects, as {dispute} at the payment provider: once the bank takes the money, this is booked by itself.")
    });
    Ok(Confirm {
        section: crate::web::console::Section::Things,
        heading: format!("Has the bank taken {} back?", row.money),
        facts: vec![
            ("Account", row.name.clone()),
            ("Paid in", row.money.to_string()),
            ("Left of it", left.clone()),
            ("Exchanges that it paid for", exchanges.to_string()),
            ("Posting", row.posting.to_string()),
        ],
        happens: by_itself
            .into_iter()
            .chain([
                format!("{left} leave the account, at once."),
                format!(
                    "{exchanges} exchanges that it paid for are undone at the authority, which ends exactly what was bought, and booked back."
                ),
                "Operator and gateway give back their parts of them; what was paid from other top-ups goes back to the account.".to_owned(),
            ])
            .collect(),
        fields: vec![
            field("fee", "What the bank asks for it", fields.text("fee"), "Such as 15.00 EUR; it is the gateway's cost.", false),
            field("note", "Why", fields.text("note"), "It stands in the books, and at the authority.", true),
        ],
        hidden: vec![],
        action: format!("/operator/payments/{}/{}/chargeback", row.account, row.posting),
        button: "Book it back",
        danger: true,
        back: format!("/operator/customers/{}", row.account),
        error,
    })
}

/// `/operator/payments/{account}/{posting}/chargeback`: what ends and what goes where.
///
/// # Errors
/// `not_found`, `conflict` for a voucher, or a failure of the database.
pub async fn chargeback_form(
    State(desk): State<Desk>,
    by: Operator,
    Path((account, posting)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let row = payment(&desk, &account, &posting).await?;
    ask_back(&desk, &row, &Fields::default(), None).await?.framed(frame(&desk, &by, Section::Payments, None), draw_once(&desk.rng))
}

/// Books it back; again, it changes nothing.
///
/// # Errors
/// `not_found`, `conflict` for a voucher, or a failure of the database.
pub async fn chargeback(
    State(desk): State<Desk>,
    Path((account, posting)): Path<(String, String)>,
    Sent { by, fields }: Sent,
) -> Result<Response, Problem> {
    let row = payment(&desk, &account, &posting).await?;
    let currency = row.money.currency;
    let fee = fields.some("fee").map(|typed| words::money(typed, currency).filter(|fee| fee.currency == currency));
    let note = fields.some("note").filter(|note| note.chars().count() <= 200);
    let (Some(note), None | Some(Some(_))) = (note, fee) else {
        let error = "Say why, in 200 characters at most; the fee is in the currency of the payment.".to_owned();
        let again = ask_back(&desk, &row, &fields, Some(error)).await?;
        return again.framed(frame(&desk, &by, Section::Payments, None), draw_once(&desk.rng));
    };
    let came = bank::chargeback(&desk, row.posting, fee.flatten(), note).await?;
    let done = if came.under_way.is_empty() && came.reserved.is_empty() { "taken-back" } else { "under-way" };
    Ok(see_other(&format!("/operator/customers/{}?done={done}", row.account)))
}
