//! `[store]`: how what is sold is paid for.

use counterfoil_core::Currency;
use counterfoil_core::rules::order::Collection;
use serde::{Deserialize, Serialize};

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Where the money of a charge comes from (D3).
    pub payment: Collection,
    /// Prices in this currency are named first.
    pub currency: Currency,
}

impl Default for Store {
    fn default() -> Self {
        let currency = "EUR".parse().expect("three capital letters");
        Self { payment: Collection::Invoice, currency }
    }
}
