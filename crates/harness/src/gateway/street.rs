//! Where a gateway's customers live: what they share, and what everybody has been told.

use super::house::House;
use crate::{
    authority::{Authority, Failure},
    goods::Goods,
    terminal::Medium,
};
use std::{
    collections::HashMap,
    ops::AddAssign,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

/// What customers share.
pub(super) struct Street<'a> {
    /// As every terminal knows it; nobody asks it directly.
    pub(super) authority: Authority,
    pub(super) house: &'a House,
    pub(super) goods: Vec<Goods>,
    /// Media that nobody has touched.
    pub(super) media: Mutex<Vec<Arc<Medium>>>,
    /// Media that everybody wants, and who has the one copy of each.
    pub(super) wanted: Vec<Arc<Medium>>,
    pub(super) holders: Mutex<HashMap<usize, Holder>>,
    pub(super) vouchers: Mutex<Vec<String>>,
    pub(super) acknowledged: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) busy: AtomicU64,
    /// Answered by another process than the one that was asked first.
    pub(super) elsewhere: AtomicU64,
    pub(super) stop: AtomicBool,
    /// The processes may be down for good: nobody waits for an answer any more.
    pub(super) given_up: AtomicBool,
    pub(super) finding: Mutex<Option<Failure>>,
    /// Whether somebody gave something back without the gateway, which learns of it later.
    pub(super) given_back: AtomicBool,
    /// A planted bug: who got no answer asks again under another ID.
    pub(super) forgetful: bool,
}

/// Who has the one copy of a medium.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Account(String),
    /// The bank has taken the money back, and the copy is lost.
    Nobody,
}

impl Street<'_> {
    /// Takes note of a copy that was given to somebody.
    pub(super) fn hold(&self, medium: usize, name: &str) -> Result<(), Failure> {
        let before = self.holders.lock().expect("no holder panics").insert(medium, Holder::Account(name.to_owned()));
        match before {
            None => Ok(()),
            Some(Holder::Account(other)) => Err(Failure::Broken(format!("medium {medium} is {name}'s, and {other} has a live copy of it"))),
            Some(Holder::Nobody) => Err(Failure::Broken(format!("medium {medium} is {name}'s, and its copy was lost to a chargeback"))),
        }
    }
}

/// What customers have done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) steps: u64,
    pub(super) ordered: u64,
    pub(super) copied: u64,
    pub(super) short: u64,
    pub(super) unagreed: u64,
    pub(super) refused: u64,
    pub(super) again: u64,
    pub(super) paid_in: u64,
    pub(super) vouchers: u64,
    pub(super) refunded: u64,
    pub(super) given_back: u64,
    pub(super) charged_back: u64,
    pub(super) ended: u64,
    pub(super) abandoned: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.steps += more.steps;
        self.ordered += more.ordered;
        self.copied += more.copied;
        self.short += more.short;
        self.unagreed += more.unagreed;
        self.refused += more.refused;
        self.again += more.again;
        self.paid_in += more.paid_in;
        self.vouchers += more.vouchers;
        self.refunded += more.refunded;
        self.given_back += more.given_back;
        self.charged_back += more.charged_back;
        self.ended += more.ended;
        self.abandoned += more.abandoned;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { steps, ordered, copied, short, unagreed, refused, again, paid_in, vouchers, .. } = self;
        let Tally { refunded, given_back, charged_back, ended, abandoned, .. } = self;
        write!(
            f,
            "{steps} steps of customers: {ordered} orders and {copied} copies charged, {again} asked for again, {short} without the money, \
             {unagreed} not agreed to, {refused} refused, {paid_in} top-ups, {vouchers} vouchers, {refunded} refunds, {given_back} given back by \
             themselves, {charged_back} chargebacks that ended {ended} exchanges, {abandoned} abandoned"
        )
    }
}

impl Tally {
    /// Whether everything happened at least so often, `much` being what charges are counted by.
    pub(super) fn is_plenty(&self, much: u64) -> bool {
        let some = 1.max(much / 40);
        self.ordered + self.copied >= much
            && self.ordered >= much / 5
            && self.copied >= much / 5
            && self.again >= much / 8
            && self.refused + self.unagreed >= much / 5
            && [self.short, self.vouchers, self.refunded, self.charged_back, self.ended, self.paid_in].iter().all(|count| *count >= some)
    }
}
