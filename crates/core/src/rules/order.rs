//! Orders (D2, D3): who may buy or try what, at which price, and what comes of it.

use crate::{Code, Money, Policy, Refusal, Timestamp};
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// As in JSON and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// From the database.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What is ordered.
    OrderKind {
        /// The title, for money or for nothing.
        Purchase = "purchase",
        /// A while to try it.
        Trial = "trial",
        /// The key of a medium that is paid for when it is copied (C18).
        Copy = "copy",
    }
}

words! {
    /// How the charge is made.
    Payment {
        /// Taken from what the user has paid in advance.
        Balance = "balance",
        /// Written down as due, and collected elsewhere.
        Invoice = "invoice",
        /// The gateway that it came through has charged its account (C17).
        Gateway = "gateway",
        /// There is nothing to charge.
        Free = "free",
    }
}

words! {
    /// Where an order stands.
    OrderState {
        /// Charged for a copy that is being granted, or refused after all (C18).
        Open = "open",
        /// Paid, or nothing was to be paid.
        Paid = "paid",
        /// Charged, and not paid yet.
        Due = "due",
        /// Given back, taken back, or followed by a purchase.
        Ended = "ended",
    }
}

/// How this authority collects charges, set by the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collection {
    /// From balances that users have paid in advance.
    Balance,
    /// Elsewhere: what is due is exported.
    #[default]
    Invoice,
    /// By the gateway that the order came through (C17); nothing that an operator sets.
    #[serde(skip)]
    Gateway,
}

/// What a title is sold under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whether its publisher sells it.
    pub on_sale: bool,
    /// Whether it has a release.
    pub released: bool,
    /// At most one in each currency.
    pub prices: Vec<Money>,
    /// The terms.
    pub policy: Policy,
}

/// What the user has of the title by an order that has neither been ended nor run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Whether it is only being tried.
    pub trial: bool,
    /// Whether the device that orders is licensed by it.
    pub here: bool,
    /// Whether its terms allow one more device.
    pub free_place: bool,
}

/// What an order is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether user and device are registered together.
    pub registered: bool,
    /// The offer; absent where no title of that name is listed.
    pub offer: Option<Offer>,
    /// Whether this user has tried the title at any time.
    pub tried: bool,
    /// What the user has of it now.
    pub owned: Vec<Owned>,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// At the price that they were shown, if they were.
    Purchase(Option<Money>),
    /// For trying.
    Trial,
}

/// What an order comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is.
    pub kind: OrderKind,
    /// What is charged; nothing for a trial.
    pub charge: Option<Money>,
    /// How.
    pub payment: Payment,
    /// Where it stands then.
    pub state: OrderState,
    /// The terms, to be kept with it.
    pub policy: Policy,
    /// When what was ordered ends.
    pub expires_at: Option<Timestamp>,
    /// Until when the user may give it back.
    pub refundable_until: Option<Timestamp>,
}

/// D2, D3: whether the order is accepted, and what it comes to. Whether a balance suffices shows when it is charged.
///
/// # Errors
/// [`Code::DeviceNotRegistered`], [`Code::NotForSale`], [`Code::AlreadyLicensed`], [`Code::TrialUsed`], [`Code::PriceChanged`].
pub fn decide(wanted: &Wanted, facts: &Facts, collection: Collection, now: Timestamp) -> Result<Decision, Refusal> {
    if !facts.registered {
        return Err(Code::DeviceNotRegistered.into());
    }
    let offer = facts.offer.as_ref().filter(|offer| offer.on_sale && offer.released).ok_or(Code::NotForSale)?;
    let bought = || facts.owned.iter().filter(|owned| !owned.trial);
    if bought().any(|owned| owned.here) {
        return Err(Code::AlreadyLicensed.into());
    }
    if bought().any(|owned| owned.free_place) {
        let detail = "an order that was made before allows one more device, and this can be it";
        return Err(Refusal::with(Code::AlreadyLicensed, detail));
    }
    match wanted {
        Wanted::Trial => trial(offer, facts.tried, now),
        Wanted::Purchase(shown) => purchase(offer, *shown, collection, now),
    }
}

/// C18: the order that pays for a copy at the authority itself, at the price that was agreed to.
///
/// # Errors
/// [`Code::DeviceNotRegistered`], [`Code::PriceChanged`].
pub fn copy(agreed: Money, prices: &[Money], registered: bool, collection: Collection) -> Result<Decision, Refusal> {
    if !registered {
        return Err(Code::DeviceNotRegistered.into());
    }
    if !prices.contains(&agreed) {
        return Err(Refusal::with(Code::PriceChanged, format!("{agreed} was shown, and is not the price")));
    }
    Ok(Decision {
        kind: OrderKind::Copy,
        charge: Some(agreed),
        payment: payment(agreed, collection),
        state: OrderState::Open,
        policy: Policy::default(),
        expires_at: None,
        refundable_until: None,
    })
}

/// How a price is paid.
fn payment(price: Money, collection: Collection) -> Payment {
    match collection {
        _ if price.amount == 0 => Payment::Free,
        Collection::Balance => Payment::Balance,
        Collection::Invoice => Payment::Invoice,
        Collection::Gateway => Payment::Gateway,
    }
}

/// Where an order stands that was carried out.
pub fn charged(payment: Payment) -> OrderState {
    if payment == Payment::Invoice { OrderState::Due } else { OrderState::Paid }
}

fn trial(offer: &Offer, tried: bool, now: Timestamp) -> Result<Decision, Refusal> {
    if offer.policy.trial_days == 0 {
        return Err(Refusal::with(Code::NotForSale, "it cannot be tried, only bought"));
    }
    if tried {
        return Err(Code::TrialUsed.into());
    }
    Ok(Decision {
        kind: OrderKind::Trial,
        charge: None,
        payment: Payment::Free,
        state: OrderState::Paid,
        policy: offer.policy.clone(),
        expires_at: Some(after(now, offer.policy.trial_days)),
        refundable_until: None,
    })
}

fn purchase(offer: &Offer, shown: Option<Money>, collection: Collection, now: Timestamp) -> Result<Decision, Refusal> {
    let changed = |detail: String| Refusal::with(Code::PriceChanged, detail);
    let shown = shown.ok_or_else(|| changed("the order does not say which price it agrees to".into()))?;
    let price = offer.prices.iter().find(|price| price.currency == shown.currency);
    let price = *price.ok_or_else(|| changed(format!("it is not sold in {}", shown.currency)))?;
    if price != shown {
        return Err(changed(format!("it is {price}, and {shown} was shown")));
    }
    let payment = payment(price, collection);
    let state = charged(payment);
    Ok(Decision {
        kind: OrderKind::Purchase,
        charge: Some(price),
        payment,
        state,
        policy: offer.policy.clone(),
        expires_at: offer.policy.term_days.map(|days| after(now, days)),
        refundable_until: super::refund::refundable_until(OrderKind::Purchase, offer.policy.refund_days, now),
    })
}

/// So many days after a moment.
pub(super) fn after(moment: Timestamp, days: u32) -> Timestamp {
    Timestamp(moment.0.saturating_add(i64::from(days).saturating_mul(Timestamp::DAY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn money(text: &str) -> Money {
        text.parse().expect("money")
    }

    fn offered(change: impl FnOnce(&mut Facts)) -> Facts {
        let prices = vec![money("19.99 EUR"), money("21.50 USD")];
        let offer = Offer { on_sale: true, released: true, prices, policy: Policy { trial_days: 7, ..Policy::default() } };
        let mut facts = Facts { registered: true, offer: Some(offer), tried: false, owned: vec![] };
        change(&mut facts);
        facts
    }

    fn offer(facts: &mut Facts) -> &mut Offer {
        facts.offer.as_mut().expect("there is one")
    }

    fn buy(facts: &Facts) -> Result<Decision, Code> {
        decide(&Wanted::Purchase(Some(money("19.99 EUR"))), facts, Collection::Invoice, NOW).map_err(|refusal| refusal.code)
    }

    fn try_out(facts: &Facts) -> Result<Decision, Code> {
        decide(&Wanted::Trial, facts, Collection::Balance, NOW).map_err(|refusal| refusal.code)
    }

    #[test]
    fn d3_only_a_user_and_a_device_that_are_registered_together_order() {
        assert!(buy(&offered(|_| ())).is_ok());
        assert_eq!(buy(&offered(|facts| facts.registered = false)), Err(Code::DeviceNotRegistered));
        assert_eq!(try_out(&offered(|facts| facts.registered = false)), Err(Code::DeviceNotRegistered));
    }

    #[test]
    fn d2_only_what_is_listed_on_sale_and_released_is_sold() {
        assert_eq!(buy(&offered(|facts| facts.offer = None)), Err(Code::NotForSale));
        assert_eq!(buy(&offered(|facts| offer(facts).on_sale = false)), Err(Code::NotForSale));
        assert_eq!(buy(&offered(|facts| offer(facts).released = false)), Err(Code::NotForSale));
    }

    #[test]
    fn d3_the_price_that_is_charged_is_the_one_that_was_shown() {
        let decide = |shown: Option<&str>| {
            decide(&Wanted::Purchase(shown.map(money)), &offered(|_| ()), Collection::Balance, NOW).map_err(|refusal| refusal.code)
        };
        assert_eq!(decide(Some("21.50 USD")).expect("the other currency").charge, Some(money("21.50 USD")));
        for other in [Some("19.98 EUR"), Some("20.00 EUR"), Some("19.99 GBP"), None] {
            assert_eq!(decide(other), Err(Code::PriceChanged), "{other:?}");
        }
    }

    #[test]
    fn d3_a_charge_is_paid_at_once_or_due_as_the_operator_collects_it() {
        let by = |collection| decide(&Wanted::Purchase(Some(money("19.99 EUR"))), &offered(|_| ()), collection, NOW).expect("accepted");
        let standing = |decision: &Decision| (decision.payment, decision.state);
        assert_eq!(standing(&by(Collection::Balance)), (Payment::Balance, OrderState::Paid));
        assert_eq!(standing(&by(Collection::Invoice)), (Payment::Invoice, OrderState::Due));
        assert_eq!(standing(&by(Collection::Gateway)), (Payment::Gateway, OrderState::Paid));
    }

    #[test]
    fn c18_a_copy_is_ordered_at_the_price_that_was_agreed_to_and_stays_open_until_it_is_granted() {
        let prices = [money("19.99 EUR"), money("0.00 USD")];
        let order = |agreed, registered, by| copy(money(agreed), &prices, registered, by).map_err(|refusal| refusal.code);
        for (agreed, by, payment, then) in [
            ("19.99 EUR", Collection::Balance, Payment::Balance, OrderState::Paid),
            ("19.99 EUR", Collection::Invoice, Payment::Invoice, OrderState::Due),
            ("0.00 USD", Collection::Invoice, Payment::Free, OrderState::Paid),
        ] {
            let decision = order(agreed, true, by).expect("ordered");
            assert_eq!((decision.kind, decision.state, decision.payment), (OrderKind::Copy, OrderState::Open, payment));
            assert_eq!((decision.charge, charged(payment)), (Some(money(agreed)), then));
        }
        assert_eq!(order("19.98 EUR", true, Collection::Balance), Err(Code::PriceChanged));
        assert_eq!(order("19.99 GBP", true, Collection::Balance), Err(Code::PriceChanged));
        assert_eq!(order("19.99 EUR", false, Collection::Balance), Err(Code::DeviceNotRegistered));
    }

    #[test]
    fn what_is_free_is_ordered_and_nothing_is_due() {
        let facts = offered(|facts| offer(facts).prices = vec![money("0.00 EUR")]);
        let decision = decide(&Wanted::Purchase(Some(money("0.00 EUR"))), &facts, Collection::Invoice, NOW).expect("accepted");
        assert_eq!((decision.payment, decision.state, decision.charge), (Payment::Free, OrderState::Paid, Some(money("0.00 EUR"))));
    }

    #[test]
    fn nobody_pays_twice_for_what_they_can_install_already() {
        let owned = |owned: Owned| buy(&offered(|facts| facts.owned = vec![owned])).map(|_| ());
        assert_eq!(owned(Owned { trial: false, here: true, free_place: false }), Err(Code::AlreadyLicensed));
        assert_eq!(owned(Owned { trial: false, here: false, free_place: true }), Err(Code::AlreadyLicensed));
        // All places of the other order are on other devices: this is one more.
        assert_eq!(owned(Owned { trial: false, here: false, free_place: false }), Ok(()));
        assert_eq!(owned(Owned { trial: true, here: true, free_place: true }), Ok(()));
    }

    #[test]
    fn a_title_is_tried_once_where_its_terms_allow_it_and_costs_nothing() {
        let decision = try_out(&offered(|_| ())).expect("accepted");
        assert_eq!((decision.kind, decision.charge, decision.payment), (OrderKind::Trial, None, Payment::Free));
        assert_eq!(decision.expires_at, Some(Timestamp(NOW.0 + 7 * Timestamp::DAY)));
        assert_eq!(decision.refundable_until, None);
        assert_eq!(try_out(&offered(|facts| facts.tried = true)), Err(Code::TrialUsed));
        assert_eq!(try_out(&offered(|facts| offer(facts).policy.trial_days = 0)), Err(Code::NotForSale));
        let owner = offered(|facts| facts.owned = vec![Owned { trial: false, here: true, free_place: false }]);
        assert_eq!(try_out(&owner), Err(Code::AlreadyLicensed));
    }

    #[test]
    fn what_was_bought_lasts_as_long_as_its_terms_say() {
        assert_eq!(buy(&offered(|_| ())).expect("accepted").expires_at, None);
        let rented = offered(|facts| offer(facts).policy.term_days = Some(365));
        assert_eq!(buy(&rented).expect("accepted").expires_at, Some(Timestamp(NOW.0 + 365 * Timestamp::DAY)));
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in [OrderState::Paid, OrderState::Due, OrderState::Ended] {
            assert_eq!(OrderState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
        }
        assert_eq!((OrderKind::parse("trial"), Payment::parse("gold")), (Some(OrderKind::Trial), None));
    }
}
