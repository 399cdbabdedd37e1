//! Exchanges through a gateway (C16–C18): what is charged for, and what an exchange that stands somewhere may become.
//!
//! Nothing is locked between `prepare` and `commit`: who gets the key is decided when it is carried out, as for everybody. Only the price is held.

use super::split::{Share, operator_part};
use crate::wire::{Charge, ExchangeState as State};
use crate::{Code, Currency, Money, Refusal, Timestamp, TitleId};

/// How the key that a request asks for is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pay {
    /// Not at all: it came directly, or through a gateway that charges nothing for it.
    Nothing,
    /// It came through a gateway that charges for it, and has not been paid.
    Owed,
    /// The gateway has promised the charge.
    Paid,
}

/// C18: whether a fresh copy of a medium may be given for what was paid. `credit`: a copy of it that was paid for was taken back at a repair,
/// and this one takes its place (C14).
///
/// # Errors
/// [`Code::PaymentRequired`].
pub fn key(paid_on_copy: bool, pay: Pay, credit: bool) -> Result<(), Refusal> {
    let wanted = paid_on_copy || pay == Pay::Owed;
    if wanted && pay != Pay::Paid && !credit { Err(Code::PaymentRequired.into()) } else { Ok(()) }
}

/// A title with what it costs at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Which.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// At most one in each currency.
    pub prices: Vec<Money>,
}

/// What a copy of a medium costs at a gateway: the sum of what its titles cost there, in the first currency by the alphabet that all of those have a
/// price in, or in the one that is wanted. Nothing where the gateway does not charge for it.
///
/// # Errors
/// [`Code::NotForSale`]: its key is paid for when it is copied, and not sold at this gateway; [`Code::PriceChanged`]: not in that currency.
pub fn copy(
    titles: &[Priced],
    every_copy: bool,
    paid_on_copy: bool,
    wanted: Option<Currency>,
    share: Share,
) -> Result<Option<Charge>, Refusal> {
    if !every_copy && !paid_on_copy {
        return Ok(None);
    }
    let Some(sold) = sold(titles) else {
        let detail = "the gateway sells no key of this medium";
        return if paid_on_copy { Err(Refusal::with(Code::NotForSale, detail)) } else { Ok(None) };
    };
    let first =
        sold.prices.first().ok_or_else(|| Refusal::with(Code::NotForSale, "its titles have no price in one currency at the gateway"))?;
    let price = match wanted {
        None => *first,
        Some(wanted) => in_currency(&sold.prices, wanted)?,
    };
    Ok(Some(charge(&sold.title, &sold.name, price, share)))
}

/// What those of a medium's titles that have a price cost together: by the name of the first, with all their names, and the sums in the order of
/// the currencies that each has a price in. Nothing where none is sold.
pub fn sold(titles: &[Priced]) -> Option<Priced> {
    let sold: Vec<&Priced> = titles.iter().filter(|title| !title.prices.is_empty()).collect();
    let first = sold.first()?;
    let sum = |currency| {
        let mut prices = sold.iter().map(|title| title.prices.iter().find(|price| price.currency == currency));
        prices.try_fold(0_u64, |sum, price| sum.checked_add(price?.amount)).map(|amount| Money { currency, amount })
    };
    let mut prices: Vec<Money> = first.prices.iter().filter_map(|price| sum(price.currency)).collect();
    prices.sort_by_key(|price| price.currency);
    let names: Vec<&str> = sold.iter().map(|title| title.name.as_str()).collect();
    Some(Priced { title: first.title.clone(), name: names.join(", "), prices })
}

/// The price in a currency.
///
/// # Errors
/// [`Code::PriceChanged`] where there is none, which says which there are.
pub fn in_currency(prices: &[Money], wanted: Currency) -> Result<Money, Refusal> {
    let price = prices.iter().find(|price| price.currency == wanted).copied();
    price.ok_or_else(|| {
        let all: Vec<String> = prices.iter().map(Money::to_string).collect();
        Refusal::with(Code::PriceChanged, format!("it is not sold in {wanted}, but for {}", all.join(" or ")))
    })
}

/// What is charged at a price.
pub fn charge(title: &TitleId, name: &str, price: Money, share: Share) -> Charge {
    Charge { title: title.clone(), name: name.to_owned(), price, operator_part: operator_part(price.amount, share) }
}

/// What a title is ordered for at a gateway: its prices there, and whatever costs nothing in the store.
///
/// # Errors
/// [`Code::NotForSale`] where there is neither.
pub fn offered(at_gateway: &[Money], in_store: &[Money]) -> Result<Vec<Money>, Refusal> {
    let free = in_store.iter().filter(|price| price.amount == 0 && at_gateway.iter().all(|own| own.currency != price.currency));
    let prices: Vec<Money> = at_gateway.iter().chain(free).copied().collect();
    if prices.is_empty() { Err(Refusal::with(Code::NotForSale, "the gateway does not sell it")) } else { Ok(prices) }
}

/// What `commit` has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Note that it has begun, then carry it out.
    Begin,
    /// It had begun: carry it out, or find that it was.
    CarryOn,
    /// It has ended: say how.
    Tell,
}

/// What becomes of an exchange that the gateway commits. One that nobody has given up is carried out, late as well; see [`held`].
pub fn commit(state: State) -> Commit {
    match state {
        State::Prepared => Commit::Begin,
        State::Committing => Commit::CarryOn,
        State::Free | State::Committed | State::Refused | State::Aborted | State::Refunded => Commit::Tell,
    }
}

/// Whether the price that was held can be charged still: until `expires_at` whatever happens, and then while it is what the key costs.
///
/// # Errors
/// [`Code::PriceChanged`].
pub fn held(price: Money, expires_at: Timestamp, began_at: Timestamp, today: &[Money]) -> Result<(), Refusal> {
    if began_at < expires_at || today.contains(&price) {
        return Ok(());
    }
    let held = format!("{price} was held until a moment that has passed, and is not the price any more");
    Err(Refusal::with(Code::PriceChanged, held))
}

/// Whether an exchange can be given up: not once it has begun to be carried out, for then a key may be out.
pub fn can_abort(state: State) -> bool {
    state == State::Prepared
}

/// Whether nobody may commit it any more, because the time for that is over.
pub fn has_expired(state: State, expires_at: Timestamp, now: Timestamp) -> bool {
    state == State::Prepared && expires_at <= now
}

/// Whether what an exchange paid for is to be ended; false where it has been.
///
/// # Errors
/// [`Code::ExchangeEnded`] where nothing was paid for.
pub fn undo(state: State) -> Result<bool, Refusal> {
    match state {
        State::Committed => Ok(true),
        State::Refunded => Ok(false),
        State::Committing => Err(Refusal::with(Code::ExchangeEnded, "it is being carried out: commit it first, then undo it")),
        State::Free | State::Prepared | State::Refused | State::Aborted => Err(Code::ExchangeEnded.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [State; 7] =
        [State::Free, State::Prepared, State::Committing, State::Committed, State::Refused, State::Aborted, State::Refunded];

    /// Every way that an exchange can go. One that may have been carried out ends by what came of that, and by nothing else.
    fn may_become(from: State, to: State) -> bool {
        matches!(
            (from, to),
            (State::Prepared, State::Committing | State::Aborted)
                | (State::Committing, State::Committed | State::Refused)
                | (State::Committed, State::Refunded)
        )
    }

    fn money(text: &str) -> Money {
        text.parse().expect("money")
    }

    fn priced(title: &str, prices: &[&str]) -> Priced {
        Priced {
            title: title.parse().expect("a title"),
            name: title.to_uppercase(),
            prices: prices.iter().map(|text| money(text)).collect(),
        }
    }

    fn share() -> Share {
        Share::new(3000).expect("30 %")
    }

    #[test]
    fn c18_a_key_that_is_paid_on_copy_is_given_for_a_charge_or_in_place_of_one_that_was_paid() {
        for (paid_on_copy, pay, credit, given) in [
            (false, Pay::Nothing, false, true),
            (false, Pay::Owed, false, false),
            (false, Pay::Paid, false, true),
            (true, Pay::Nothing, false, false),
            (true, Pay::Owed, false, false),
            (true, Pay::Paid, false, true),
            (true, Pay::Nothing, true, true),
            (true, Pay::Owed, true, true),
        ] {
            let decided = key(paid_on_copy, pay, credit).map_err(|refusal| refusal.code);
            assert_eq!(decided, if given { Ok(()) } else { Err(Code::PaymentRequired) }, "{paid_on_copy} {pay:?} {credit}");
        }
    }

    #[test]
    fn c17_a_copy_costs_what_its_titles_cost_at_the_gateway() {
        let game = priced("sky-raider", &["9.00 EUR", "10.00 USD"]);
        let film = priced("blue-moon", &["1.00 USD"]);
        let extra = priced("extra", &[]);
        let cost = |titles: &[Priced]| copy(titles, true, false, None, share()).expect("sold").map(|charge| charge.price.to_string());
        assert_eq!(cost(std::slice::from_ref(&game)).as_deref(), Some("9.00 EUR"));
        assert_eq!(cost(&[game.clone(), film.clone(), extra.clone()]).as_deref(), Some("11.00 USD"), "the currency that both have");
        assert_eq!(cost(std::slice::from_ref(&extra)), None);
        let paid_in = |code: &str| copy(std::slice::from_ref(&game), true, false, code.parse().ok(), share());
        assert_eq!(paid_in("USD").expect("sold").expect("charged for").price, money("10.00 USD"));
        let refused = paid_in("GBP").expect_err("no such price");
        assert!(refused.code == Code::PriceChanged && refused.detail.expect("says more").contains("9.00 EUR or 10.00 USD"));
        let both = copy(&[extra.clone(), game.clone(), film], false, true, None, share()).expect("sold").expect("charged for");
        assert_eq!((both.title.as_str(), both.name.as_str(), both.operator_part), ("sky-raider", "SKY-RAIDER, BLUE-MOON", 770));
        assert_eq!(
            copy(std::slice::from_ref(&game), false, false, None, share()),
            Ok(None),
            "neither medium nor contract says that it is charged for"
        );
        assert_eq!(copy(&[extra], false, true, None, share()).map_err(|refusal| refusal.code), Err(Code::NotForSale));
        let apart = [game, priced("blue-moon", &["1.00 GBP"])];
        assert_eq!(copy(&apart, true, false, None, share()).map_err(|refusal| refusal.code), Err(Code::NotForSale));
    }

    #[test]
    fn c17_an_order_is_made_at_the_gateways_price_and_what_is_free_stays_so() {
        let (own, store) = ([money("12.00 EUR")], [money("19.99 EUR"), money("0.00 USD")]);
        assert_eq!(offered(&own, &store), Ok(vec![money("12.00 EUR"), money("0.00 USD")]));
        assert_eq!(offered(&own, &[money("0.00 EUR")]), Ok(own.to_vec()), "what the gateway says goes first");
        assert_eq!(offered(&[], &[money("19.99 EUR")]).map_err(|refusal| refusal.code), Err(Code::NotForSale));
    }

    #[test]
    fn c17_a_price_is_held_for_its_time_and_charged_later_only_where_it_is_the_price() {
        let (price, end) = (money("9.00 EUR"), Timestamp(1_000));
        assert_eq!(held(price, end, Timestamp(999), &[]), Ok(()));
        assert_eq!(held(price, end, end, &[money("9.00 EUR")]), Ok(()));
        assert_eq!(held(price, end, end, &[money("9.01 EUR")]).map_err(|refusal| refusal.code), Err(Code::PriceChanged));
    }

    #[test]
    fn c16_what_may_have_been_carried_out_ends_by_what_came_of_it_alone() {
        for from in ALL {
            for to in ALL {
                let may = may_become(from, to);
                if may && to == State::Aborted {
                    assert!(can_abort(from), "{from:?}");
                }
                assert!(!may || from != State::Committing || matches!(to, State::Committed | State::Refused));
                assert!(!may || to != State::Committed || from == State::Committing);
            }
            assert_eq!(undo(from) == Ok(true), may_become(from, State::Refunded), "{from:?}");
            assert_eq!(commit(from) == Commit::Begin, may_become(from, State::Committing), "{from:?}");
            assert_eq!(can_abort(from), may_become(from, State::Aborted), "{from:?}");
        }
        assert!(has_expired(State::Prepared, Timestamp(5), Timestamp(5)) && !has_expired(State::Prepared, Timestamp(6), Timestamp(5)));
        assert!(!has_expired(State::Committing, Timestamp(5), Timestamp(9)));
    }

    proptest! {
        /// No order of steps leads back, or from one end to another.
        #[test]
        fn every_walk_ends(steps in prop::collection::vec(0..ALL.len(), 0..40)) {
            let (mut state, mut moved) = (State::Prepared, 0);
            for step in steps {
                if may_become(state, ALL[step]) {
                    state = ALL[step];
                    moved += 1;
                }
            }
            prop_assert!(moved <= 3);
        }
    }
}
