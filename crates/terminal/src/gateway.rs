//! A gateway between this terminal and its authority (C16, C17): whether there is one, who is signed in there, and who agrees to what it
//! charges.

pub mod account;
pub mod payment;

use crate::error::Result;
use crate::home::Authority;
use crate::io::{create_dirs, parent, read_small, replace};
use crate::terminal::Terminal;
use crate::transport::Charged;
use counterfoil_core::wire::ChargeOnOffer;
use counterfoil_core::{Code, Money, Refusal, Timestamp};
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Longest file of an account that is read, in bytes.
const LONGEST: u64 = 16 << 10;

/// What is to be agreed to.
#[derive(Clone, Copy, Debug)]
pub struct PriceAsked<'a> {
    /// The gateway's address.
    pub gateway: &'a str,
    /// What for, how much, and what the account holds.
    pub offer: &'a ChargeOnOffer,
    /// What was agreed to before, where the gateway has come back with another price.
    pub agreed: Option<Money>,
}

/// What the person says to a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It may be charged.
    Agreed,
    /// It may not.
    Declined,
    /// It is more than was allowed beforehand.
    OverLimit(Money),
    /// There is nobody to ask.
    NobodyToAsk,
}

/// Asks somebody whether a price may be charged.
pub type AskPrice = Box<dyn Fn(&PriceAsked<'_>) -> Consent + Send + Sync>;

/// Tells that an authority was met through a gateway (its address) with no medium at hand: its keys are believed on the gateway's word.
pub type TellStranger = Box<dyn Fn(&str, &Authority) + Send + Sync>;

/// A price that was not agreed to, or cannot be paid: nothing was charged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Unpaid {
    /// Why not.
    pub refusal: Refusal,
    /// What would be charged.
    pub offer: ChargeOnOffer,
}

/// An account at a gateway that this home is signed in to, as stored (0600).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    /// The gateway's address.
    pub gateway: String,
    /// The account's name.
    pub name: String,
    /// Lets its bearer be charged.
    pub token: Zeroizing<String>,
    /// When it ends, where the gateway says.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl Terminal {
    /// The gateway that everything goes through: the one that is named, or the one that this home met its authority through, unless an
    /// authority's address is named.
    ///
    /// # Errors
    /// [`crate::HomeError::Profile`]; what the system said.
    pub fn via(&self) -> Result<Option<String>> {
        if let Some(named) = &self.setup.via {
            return Ok(Some(at(named)));
        }
        if self.setup.server.is_some() {
            return Ok(None);
        }
        Ok(self.home().profile()?.via)
    }

    /// Has prices asked about like that. Otherwise nobody agrees to any.
    pub fn set_prices(&mut self, ask: AskPrice) {
        self.prices = Some(ask);
    }

    /// Has it told where the keys of an authority are believed on a gateway's word.
    pub fn set_strangers(&mut self, tell: TellStranger) {
        self.strangers = Some(tell);
    }

    /// What gateways have charged since this was asked last.
    pub fn take_charged(&self) -> Vec<Charged> {
        std::mem::take(&mut *self.charged.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn note_charged(&self, charged: Charged) {
        self.charged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(charged);
    }

    /// Whether the price may be charged, by whoever is to be asked.
    pub(crate) fn consent(&self, gateway: &str, offer: &ChargeOnOffer, agreed: Option<Money>) -> std::result::Result<(), Box<Unpaid>> {
        let asked = PriceAsked { gateway, offer, agreed };
        let no = |detail: String| Err(Box::new(Unpaid { refusal: Refusal::with(Code::ChargeUnconfirmed, detail), offer: offer.clone() }));
        let price = format!("`{}` costs {} at {gateway}", offer.title, offer.price);
        match self.prices.as_ref().map_or(Consent::NobodyToAsk, |ask| ask(&asked)) {
            Consent::Agreed => Ok(()),
            Consent::Declined | Consent::NobodyToAsk => no(price),
            Consent::OverLimit(limit) => no(format!("{price}, which is more than {limit}")),
        }
    }

    /// Who is signed in at a gateway.
    pub(crate) fn signed_in(&self, gateway: &str) -> Result<Option<SignedIn>> {
        let bytes = read_small(&**self.io(), &self.account_file(gateway), LONGEST)?.map(Zeroizing::new);
        // A file that cannot be read is none: signing in writes it again.
        Ok(bytes.and_then(|bytes| parse_strict(&bytes).ok()))
    }

    pub(crate) fn sign_in_as(&self, account: &SignedIn) -> Result<()> {
        let path = self.account_file(&account.gateway);
        create_dirs(&**self.io(), parent(&path), 0o700)?;
        let bytes = Zeroizing::new(serde_json::to_vec(account).expect("an account is strings and numbers"));
        Ok(replace(&**self.io(), &path, &bytes, 0o600)?)
    }

    pub(crate) fn account_file(&self, gateway: &str) -> PathBuf {
        let name = counterfoil_format::content::ObjectName::of(gateway.as_bytes()).to_string();
        self.home().path().join("accounts").join(format!("{}.json", &name[..32]))
    }
}

/// One spelling of an address.
pub(crate) fn at(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
