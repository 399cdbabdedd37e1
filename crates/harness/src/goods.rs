//! What the store of a run sells.

use crate::{
    authority::{Authority, Failure},
    ground,
};
use counterfoil_core::{Money, Policy, SourceDevice, TitleId};
use serde_json::json;

/// A title on sale, and its terms.
#[derive(Clone, Debug)]
pub struct Goods {
    /// Its name.
    pub title: TitleId,
    /// In the currency of everything here.
    pub price: Money,
    /// As its publisher set them.
    pub policy: Policy,
}

/// An amount in the currency of everything here.
pub fn euros(cents: u64) -> Money {
    Money { amount: cents, currency: "EUR".parse().expect("three capital letters") }
}

/// Publishes three titles under terms that differ in everything that decides, and lists them. The clock of a run hardly moves, so that
/// terms are over by numbers and not by time.
///
/// # Errors
/// What the server refused.
pub fn stock(authority: &Authority, token: &str) -> Result<Vec<Goods>, Failure> {
    let goods = |title: &str, cents, policy| Goods { title: title.parse().expect("a name"), price: euros(cents), policy };
    let many = Policy { transfers: 1000, ..Policy::default() };
    let goods = vec![
        goods("shared", 1999, Policy { devices: 2, transfers: 3, trial_days: 7, ..Policy::default() }),
        goods("single", 500, Policy { trial_days: 7, ..many.clone() }),
        goods("moving", 1000, Policy { source: SourceDevice::Deregistered, ..many }),
    ];
    for Goods { title, price, policy } in &goods {
        if !authority.knows_title(token, title.as_str())? {
            ground::publish_title(authority, token, title.as_str())?;
        }
        let listing = json!({ "summary": "For the harness", "on_sale": true, "prices": [price], "policy": policy });
        authority.put_json(token, &format!("/v1/titles/{title}/listing"), listing)?;
    }
    Ok(goods)
}
