//! The gateway's database against the authority's, read directly: no code is shared with what either says of itself.

use super::house::House;
use crate::{
    authority::{Authority, Failure},
    database::Database,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long everything may take to come to its end once nobody is killed any more: the longest pause between two tries of an exchange.
const ENDED_WITHIN: u32 = 600;

/// What an exchange stands at, on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stands {
    state: String,
    amount: i64,
    operator: i64,
}

/// Both databases, as far as money is in them.
pub(super) struct Books {
    gateway: BTreeMap<String, Stands>,
    authority: BTreeMap<String, Stands>,
    /// Exchanges that live keys and orders name at the authority.
    live: BTreeSet<String>,
    /// Of all that counts in the gateway's journal: the sum over all books, and what is the operator's.
    sums: (i64, i64),
    reserved: i64,
}

impl Books {
    /// What the gateway's own checks say, on a live one as well.
    pub(super) fn checked(house: &House) -> Result<(), Failure> {
        house.said(&["books", "--check"]).map(drop)
    }

    /// Waits until nothing is on its way any more, and for as long as the gateway needs to learn what was given back at the authority.
    pub(super) fn settled(house: &House, learn: Option<Duration>) -> Result<(), Failure> {
        std::thread::sleep(learn.unwrap_or_default());
        let open = "SELECT count(*) FROM exchange WHERE state IN ('reserved', 'committing', 'undoing')";
        for _ in 0..ENDED_WITHIN {
            // It drives what is due, and learns.
            house.said(&["reconcile"])?;
            if house.database.number(open)? == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Failure::Broken(format!("exchanges did not come to their end: {:?}", house.database.lines(&listed("exchange"))?)))
    }

    pub(super) fn read(house: &House, authority: &Database) -> Result<Books, Failure> {
        let counts = "kind <> 'reserve'";
        let sum = format!(
            "SELECT CAST(COALESCE(SUM(customer + operator + gateway + cash + fees + vouchers + receivable), 0) AS BIGINT) FROM posting WHERE {counts}"
        );
        let operator = format!("SELECT CAST(COALESCE(SUM(operator), 0) AS BIGINT) FROM posting WHERE {counts}");
        let live = "SELECT exchange_id FROM orders WHERE exchange_id IS NOT NULL AND state <> 'ended'
                    UNION SELECT exchange_id FROM grants WHERE exchange_id IS NOT NULL AND state <> 'revoked'";
        Ok(Books {
            gateway: stands(&house.database, "exchange")?,
            authority: stands(authority, "gateway_exchange")?,
            live: authority.lines(live)?.into_iter().collect(),
            sums: (house.database.number(&sum)?, house.database.number(&operator)?),
            reserved: house.database.number("SELECT CAST(COALESCE(SUM(reserved), 0) AS BIGINT) FROM balance")?,
        })
    }

    /// Never a key without a charge, never a charge without a key; the money of each the same on both sides, and nothing left over.
    pub(super) fn compare(&self) -> Result<(), Failure> {
        let found = |what: &str, id: &str| {
            let at = (self.gateway.get(id), self.authority.get(id));
            Err(Failure::Broken(format!("exchange {id}: {what}; at the gateway and at the authority: {at:?}")))
        };
        let is = |side: &BTreeMap<String, Stands>, id: &str, state: &str| side.get(id).is_some_and(|stands| stands.state == state);
        for id in &self.live {
            if !is(&self.gateway, id, "charged") {
                return found("a key without a charge", id);
            }
        }
        for (id, here) in &self.gateway {
            let there = self.authority.get(id);
            match here.state.as_str() {
                "charged" if !self.live.contains(id) => return found("a charge without a key", id),
                "charged" | "undone" if there.is_none_or(|there| (there.amount, there.operator) != (here.amount, here.operator)) => {
                    return found("the money differs", id);
                }
                "charged" if !is(&self.authority, id, "committed") => return found("charged, and not carried out", id),
                "undone" if !is(&self.authority, id, "refunded") => return found("given back, and not ended", id),
                "reserved" | "committing" | "undoing" => return found("it has not come to its end", id),
                _ => {}
            }
        }
        for (id, there) in &self.authority {
            match there.state.as_str() {
                "committed" if !is(&self.gateway, id, "charged") => return found("carried out, and not charged", id),
                "refunded" if !is(&self.gateway, id, "undone") => return found("ended, and not given back", id),
                _ => {}
            }
        }
        let owed: i64 = self.authority.values().filter(|there| there.state == "committed").map(|there| there.operator).sum();
        match (self.sums, self.reserved) {
            ((0, operator), 0) if operator == owed => Ok(()),
            (sums, reserved) => Err(Failure::Broken(format!(
                "the books come to {}, the operator's part to {} where it should be {owed}, and {reserved} are reserved",
                sums.0, sums.1
            ))),
        }
    }

    /// What each side tells people is what its database holds.
    pub(super) fn statements(&self, house: &House, authority: &Authority, token: &str) -> Result<(), Failure> {
        let period = house.database.lines("SELECT DISTINCT period FROM posting ORDER BY period")?;
        let sum = |value: &Value, member: &str| value.as_array().into_iter().flatten().filter_map(|one| one[member].as_i64()).sum::<i64>();
        let mut told = 0;
        for period in period {
            let statement = authority.get(token, &format!("/v1/gateways/{}/statement?period={period}", house.id))?;
            told += sum(&statement["items"], "operator_part");
        }
        let books = house.said(&["books"])?;
        let own = sum(&books["totals"], "operator");
        if (told, own) == (self.sums.1, self.sums.1) {
            return Ok(());
        }
        Err(Failure::Broken(format!(
            "the operator's part: {told} by the authority's statement, {own} by the gateway's, {} booked",
            self.sums.1
        )))
    }
}

fn listed(table: &str) -> String {
    format!("SELECT exchange_id || ' ' || state || ' ' || amount || ' ' || operator_part FROM {table} ORDER BY exchange_id")
}

fn stands(database: &Database, table: &str) -> Result<BTreeMap<String, Stands>, Failure> {
    let parsed = |line: &String| {
        let mut words = line.split(' ');
        let (id, state) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some((id, Stands { state, amount: words.next()?.parse().ok()?, operator: words.next()?.parse().ok()? }))
    };
    let lines = database.lines(&listed(table))?;
    lines.iter().map(|line| parsed(line).ok_or_else(|| Failure::Broken(format!("no exchange: {line}")))).collect()
}
