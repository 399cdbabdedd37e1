//! What a medium without an identity is (C18): everybody's, with what its keys cost.

use counterfoil_core::wire::NoticeClaims;
use counterfoil_core::{Money, TitleId};
use counterfoil_terminal::{Signature, Terminal, WithoutIdentity, store};
use serde_json::json;

use super::signed;
use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// What a title on it costs; nothing where it is not sold any more.
type Priced = (TitleId, Option<Vec<Money>>);

/// Shows what is on it, and what the authority sells it for.
pub fn run(context: &Context, terminal: &Terminal, medium: &WithoutIdentity, offline: bool) -> Result<(), Failure> {
    let prices: Vec<Priced> = if offline { vec![] } else { priced(terminal, medium)? };
    let listed: Vec<_> =
        prices.iter().map(|(title, prices)| json!({ "title": title, "on_sale": prices.is_some(), "prices": prices })).collect();
    let signature = if medium.verdict() == Signature::Pinned { "known_authority" } else { "first_contact" };
    let mut value = json!({ "without_identity": true, "notice": medium.claims(), "signature": signature });
    if !offline {
        value["store"] = listed.into();
    }
    context.output.result(&value, || words(medium.claims(), medium.verdict(), &prices))
}

fn priced(terminal: &Terminal, medium: &WithoutIdentity) -> Result<Vec<Priced>, Failure> {
    let mut prices = vec![];
    medium.meet(terminal)?;
    for title in medium.titles() {
        match store::show(terminal, title) {
            Ok(shown) => prices.push((title.clone(), Some(shown.prices))),
            Err(error) if error.refusal().is_some() => prices.push((title.clone(), None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(prices)
}

fn words(notice: &NoticeClaims, signature: Signature, prices: &[Priced]) -> String {
    let mut text = "medium     without an identity: everybody's is the same, and its keys are bought when it is copied\n".to_owned();
    for title in &notice.titles {
        let publisher = &title.publisher.id;
        text += &format!("title      {}, {} ({}), release {}, of {publisher}\n", title.title, title.name, title.kind, title.release);
    }
    text += &signed(signature, &notice.iss);
    text += &format!("published  {}\n", units::moment(counterfoil_core::Timestamp(notice.iat.saturating_mul(1000))));
    for (title, prices) in prices {
        text += &match prices {
            Some(prices) => format!("price      {title}: {}\n", crate::store::prices(prices)),
            None => format!("price      {title}: not sold here any more\n"),
        };
    }
    text
}
