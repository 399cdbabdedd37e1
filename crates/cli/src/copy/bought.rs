//! A medium without an identity (C18): whoever copies it buys the key, unless a license of theirs has room for this device already.

use std::num::NonZeroUsize;
use std::path::Path;

use counterfoil_core::{Code, Money, TitleId};
use counterfoil_terminal::{CardChoice, InstallOptions, Installed, Library, Terminal, WithoutIdentity};
use serde_json::{Value, json};

use crate::buy::Terms;
use crate::context::Context;
use crate::failure::Failure;
use crate::install;
use crate::paying::{self, Paying};

/// How it is bought.
pub struct Buying {
    /// What is agreed to.
    pub paying: Paying,
    /// Whose keys.
    pub card: CardChoice,
    /// Packs side by side.
    pub jobs: Option<NonZeroUsize>,
}

/// Buys what is not licensed here yet, title by title, and brings each into the library from the medium.
pub fn run(context: &Context, terminal: &mut Terminal, medium: &WithoutIdentity, path: &Path, buying: &Buying) -> Result<(), Failure> {
    // Everything that can be found wrong is found before anything is charged.
    for title in &medium.claims().titles {
        medium.release(title)?;
    }
    medium.meet(terminal)?;
    let library = Library::create_or_open(terminal, path)?;
    let options =
        InstallOptions { card: buying.card.clone(), from: Some(medium.path().to_owned()), jobs: buying.jobs, ..InstallOptions::default() };
    let (mut installed, mut charged): (Vec<Installed>, Vec<Value>) = (vec![], vec![]);
    let mut limit = buying.paying.consenting.max_price;
    for title in medium.titles() {
        let one = match install::bring(context, terminal, title, &library, &options) {
            Err(failure) if failure.code == Code::NotEntitled.as_str() => {
                order(context, terminal, title, buying, limit)?;
                let told = paying::tell(context, terminal);
                limit = limit.map(|limit| less(limit, &told));
                charged.extend(told);
                install::bring(context, terminal, title, &library, &options)?
            }
            brought => brought?,
        };
        installed.push(one);
    }
    let titles: Vec<Value> = installed.iter().map(|one| install::value(one, path)).collect();
    let resumed = installed.iter().any(|one| one.resumed);
    let value = json!({ "library": path, "without_identity": true, "resumed": resumed, "titles": titles, "charged": charged });
    context.output.result(&value, || installed.iter().map(|one| install::words(one, path)).collect())
}

/// Orders a title for what is left of the limit.
fn order(context: &Context, terminal: &mut Terminal, title: &TitleId, buying: &Buying, limit: Option<Money>) -> Result<(), Failure> {
    let Paying { currency, consenting } = buying.paying;
    let terms = Terms { trial: false, currency, limit, yes: consenting.yes };
    terminal.set_prices(terms.consenting().asker(context.output));
    match terms.order(context, terminal, &buying.card, title) {
        // The same person was quicker on another device, and what was bought there has room for this one.
        Err(failure) if failure.code == Code::AlreadyLicensed.as_str() => Ok(()),
        ordered => ordered.map(drop),
    }
}

/// What a limit comes to after these charges.
fn less(limit: Money, charged: &[Value]) -> Money {
    let price = |one: &Value| serde_json::from_value::<Money>(one["price"].clone()).ok();
    let spent: u64 = charged.iter().filter_map(price).filter(|price| price.currency == limit.currency).map(|price| price.amount).sum();
    Money { amount: limit.amount.saturating_sub(spent), ..limit }
}
