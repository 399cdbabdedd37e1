//! Postings as rows: written once, found again, never changed.

use counterfoil_core::{AccountId, Currency, PostingId, RequestId, Timestamp, TitleId};

use super::{EXCHANGE, MOST, Period, broken};
use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// What is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Money came in.
    TopUp,
    /// A voucher was redeemed.
    Voucher,
    /// A charge is on its way; pending.
    Reserve,
    /// A charge.
    Charge,
    /// A charge that was on its way was given up.
    Void,
    /// A charge was given back.
    Refund,
    /// The bank has taken money back: what was left of a top-up, or a charge that was paid from it.
    Chargeback,
    /// What the bank or the payment provider asks for itself.
    Fee,
    /// What a card had promised is not taken.
    Release,
    /// What was left of a top-up goes back to its card.
    Repayment,
    /// It comes back from there: the provider has not done it.
    RepaymentFailed,
}

const KINDS: [(Kind, &str); 11] = [
    (Kind::TopUp, "top_up"),
    (Kind::Voucher, "voucher"),
    (Kind::Reserve, "reserve"),
    (Kind::Charge, "charge"),
    (Kind::Void, "void"),
    (Kind::Refund, "refund"),
    (Kind::Chargeback, "chargeback"),
    (Kind::Fee, "fee"),
    (Kind::Release, "release"),
    (Kind::Repayment, "repayment"),
    (Kind::RepaymentFailed, "repayment_failed"),
];

impl Kind {
    /// As in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }
}

impl FromValue for Kind {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        KINDS.iter().find(|(_, word)| *word == text).map(|(kind, _)| *kind).ok_or_else(|| format!("{text} is no kind of posting"))
    }
}

/// The entries of a posting: signed minor units in each book, which come to nothing together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// What is owed to the account.
    pub customer: i64,
    /// What is owed to the operator of the authority.
    pub operator: i64,
    /// What the gateway has earned.
    pub gateway: i64,
    /// Where the money lies: negative while it does.
    pub cash: i64,
    /// What the gateway has paid for payments: negative.
    pub fees: i64,
    /// What was redeemed of vouchers: negative.
    pub vouchers: i64,
    /// What a payment provider holds for the gateway: negative while it does.
    pub receivable: i64,
}

/// A posting, before it is written or as it was.
#[derive(Clone, Debug)]
pub(super) struct Posting {
    pub id: PostingId,
    pub currency: Currency,
    pub kind: Kind,
    /// What it answers.
    pub refers_to: Option<PostingId>,
    pub exchange: Option<RequestId>,
    /// What is charged for, and its name then.
    pub title: Option<(TitleId, String)>,
    pub entries: Entries,
    /// What it adds to the reserved part of the balance.
    pub reserved: i64,
    pub actor: String,
    pub note: String,
}

/// Where in an account's journal a posting stands.
pub(super) struct Place {
    pub number: i64,
    open_from: Period,
}

impl Posting {
    /// One without entries.
    pub fn new(id: PostingId, currency: Currency, kind: Kind) -> Self {
        let (actor, note) = (EXCHANGE.to_owned(), String::new());
        Self { id, currency, kind, refers_to: None, exchange: None, title: None, entries: Entries::default(), reserved: 0, actor, note }
    }

    /// One that answers this one, for the same exchange and title; without entries.
    pub fn answered(&self, id: PostingId, kind: Kind) -> Self {
        let (exchange, title) = (self.exchange, self.title.clone());
        Self { refers_to: Some(self.id), exchange, title, ..Self::new(id, self.currency, kind) }
    }

    /// Writes it. Where its place in the journal, its ID or what it answers was taken meanwhile, the action is run again.
    pub async fn write(self, tx: &mut Tx, account: AccountId, place: &Place, now: Timestamp) -> Result<(), DbError> {
        let Entries { customer, operator, gateway, cash, fees, vouchers, receivable } = self.entries;
        if customer + operator + gateway + cash + fees + vouchers + receivable != 0 {
            return Err(broken("the entries of a posting do not come to nothing"));
        }
        let (title, name) = self.title.map(|(title, name)| (title.to_string(), name)).unzip();
        let written = tx
            .query(
                "INSERT INTO posting (account_id, posting_id, currency, number, kind, refers_to, exchange_id, title_id, title_name, customer, operator,
                   gateway, cash, fees, vouchers, receivable, reserved, period, booked_at, actor, note)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) ON CONFLICT DO NOTHING",
            )
            .bind(account.to_string())
            .bind(self.id.to_string())
            .bind(self.currency.as_str())
            .bind(place.number)
            .bind(self.kind.as_str())
            .bind(self.refers_to.map(|id| id.to_string()))
            .bind(self.exchange.map(|id| id.to_string()))
            .bind(title)
            .bind(name)
            .bind(customer)
            .bind(operator)
            .bind(gateway)
            .bind(cash)
            .bind(fees)
            .bind(vouchers)
            .bind(receivable)
            .bind(self.reserved)
            .bind(Period::of(now).max(place.open_from).to_string())
            .bind(now.0)
            .bind(self.actor)
            .bind(self.note)
            .execute()
            .await?;
        if written == 1 { Ok(()) } else { Err(tx.conflict("the journal of an account")) }
    }
}

/// Changes a balance and counts one posting more; none, and nothing is changed, where less is available than would be taken or reserved.
pub(super) async fn change(
    tx: &mut Tx,
    account: AccountId,
    currency: Currency,
    posted: i64,
    reserved: i64,
) -> Result<Option<Place>, DbError> {
    let row: Option<(i64, Period)> = tx
        .query(
            "UPDATE balance SET posted = posted + $3, reserved = reserved + $4, postings = postings + 1
             WHERE account_id = $1 AND currency = $2 AND reserved + $4 >= 0 AND posted + $3 - reserved - $4 >= 0 RETURNING postings, open_from",
        )
        .bind(account.to_string())
        .bind(currency.as_str())
        .bind(posted)
        .bind(reserved)
        .opt()
        .await?;
    Ok(row.map(|(number, open_from)| Place { number, open_from }))
}

/// Adds to a balance, which it begins where there is none; none where it would hold more than [`MOST`].
pub(super) async fn open(tx: &mut Tx, account: AccountId, currency: Currency, amount: i64) -> Result<Option<Place>, DbError> {
    let (settled,): (Option<Period>,) = tx.query("SELECT MAX(period) FROM settled_period").one().await?;
    let row: Option<(i64, Period)> = tx
        .query(
            "INSERT INTO balance (account_id, currency, posted, reserved, postings, open_from) VALUES ($1, $2, $3, 0, 1, $4)
             ON CONFLICT (account_id, currency) DO UPDATE SET posted = balance.posted + excluded.posted, postings = balance.postings + 1
             WHERE balance.posted <= $5 - excluded.posted RETURNING postings, open_from",
        )
        .bind(account.to_string())
        .bind(currency.as_str())
        .bind(amount)
        .bind(settled.map_or(Period::FIRST, Period::next).to_string())
        .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
        .opt()
        .await?;
    Ok(row.map(|(number, open_from)| Place { number, open_from }))
}

/// Whether it was booked.
pub(super) async fn exists(tx: &mut Tx, account: AccountId, posting: PostingId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM posting WHERE account_id = $1 AND posting_id = $2";
    Ok(tx.query(sql).bind(account.to_string()).bind(posting.to_string()).opt::<(i64,)>().await?.is_some())
}

/// What a posting has brought the account, where it was booked: its currency, the customer's entry, and that of fees.
pub(super) async fn money_in(tx: &mut Tx, account: AccountId, posting: PostingId) -> Result<Option<(Currency, i64, i64)>, DbError> {
    let sql = "SELECT currency, customer, fees FROM posting WHERE account_id = $1 AND posting_id = $2";
    tx.query(sql).bind(account.to_string()).bind(posting.to_string()).opt().await
}

/// The reservation for an exchange.
pub(super) async fn of_exchange(tx: &mut Tx, account: AccountId, exchange: RequestId) -> Result<Option<PostingId>, DbError> {
    let sql = "SELECT posting_id FROM posting WHERE account_id = $1 AND exchange_id = $2 AND kind = 'reserve'";
    let row: Option<(PostingId,)> = tx.query(sql).bind(account.to_string()).bind(exchange.to_string()).opt().await?;
    Ok(row.map(|(posting,)| posting))
}

/// A posting of an exchange, and what answers it.
pub(super) struct Found {
    pub posting: Posting,
    pub answer: Option<PostingId>,
}

/// Finds a posting of a kind that may be answered.
pub(super) async fn find(tx: &mut Tx, account: AccountId, id: PostingId, kind: Kind) -> Result<Found, DbError> {
    tx.query(
        "SELECT p.posting_id, p.currency, p.kind, p.refers_to, p.exchange_id, p.title_id, p.title_name, p.customer, p.operator, p.gateway, p.cash,
           p.reserved, (SELECT a.posting_id FROM posting a WHERE a.account_id = p.account_id AND a.refers_to = p.posting_id)
         FROM posting p WHERE p.account_id = $1 AND p.posting_id = $2 AND p.kind = $3",
    )
    .bind(account.to_string())
    .bind(id.to_string())
    .bind(kind.as_str())
    .one()
    .await
}

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, currency, kind): (PostingId, Currency, Kind) = (row.column()?, row.column()?, row.column()?);
        let (refers_to, exchange): (Option<PostingId>, Option<Exchange>) = (row.column()?, row.column()?);
        let (title, name): (Option<TitleId>, Option<String>) = (row.column()?, row.column()?);
        let (customer, operator, gateway, cash) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let entries = Entries { customer, operator, gateway, cash, ..Entries::default() };
        let reserved = row.column()?;
        let exchange = exchange.map(|Exchange(id)| id);
        let posting = Posting { refers_to, exchange, title: title.zip(name), entries, reserved, ..Posting::new(id, currency, kind) };
        Ok(Self { posting, answer: row.column()? })
    }
}

/// The ID of an exchange, in a column.
pub struct Exchange(pub RequestId);

impl FromValue for Exchange {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        text.parse().map(|id| Self(RequestId(id))).map_err(|error: uuid::Error| error.to_string())
    }
}
