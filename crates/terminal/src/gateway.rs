//! A gateway between this terminal and its authority (C16, C17): whether there is one, and who is signed in there.

pub mod account;
pub mod payment;

use crate::error::Result;
use crate::home::Authority;
use crate::io::{create_dirs, parent, read_small, replace};
use crate::terminal::Terminal;
use counterfoil_core::Timestamp;
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Longest file of an account that is read, in bytes.
const LONGEST: u64 = 16 << 10;

/// Tells that an authority was met through a gateway (its address) with no medium at hand: its keys are believed on the gateway's word.
pub type TellStranger = Box<dyn Fn(&str, &Authority) + Send + Sync>;

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

    /// Has it told where the keys of an authority are believed on a gateway's word.
    pub fn set_strangers(&mut self, tell: TellStranger) {
        self.strangers = Some(tell);
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
