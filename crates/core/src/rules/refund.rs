//! Refunds: who may end an order, until when, and what becomes of the money.

use super::order::{OrderKind, OrderState, Payment, after};
use crate::{Code, Money, Refusal, Timestamp};
use serde::{Deserialize, Serialize};

/// Why an order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is given back, and so is the money.
    Refund,
    /// Whoever moved the money has taken it back already, so nothing is given back here.
    Chargeback,
    /// It was a trial, and the title was bought for the same device.
    Bought,
    /// The copy that it was charged for was not granted after all: the money goes back (C18).
    NotCopied,
}

impl Why {
    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Refund => "refund",
            Why::Chargeback => "chargeback",
            Why::Bought => "bought",
            Why::NotCopied => "not_copied",
        }
    }
}

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The one who ordered, within the time that the terms give.
    User,
    /// The operator, at any time.
    Operator,
}

/// What is known of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: OrderKind,
    /// How it was charged.
    pub payment: Payment,
    /// What was charged.
    pub charge: Option<Money>,
    /// Where it stands.
    pub state: OrderState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Days that its terms give.
    pub refund_days: u32,
}

/// Until when the one who ordered may give it back; absent where they may not.
pub fn refundable_until(kind: OrderKind, refund_days: u32, created_at: Timestamp) -> Option<Timestamp> {
    (kind == OrderKind::Purchase && refund_days > 0).then(|| after(created_at, refund_days))
}

/// Whether the order may be ended, and what is credited to the balance that it was paid from.
///
/// # Errors
/// [`Code::RefundNotAllowed`].
pub fn decide(by: By, why: Why, facts: &Facts, now: Timestamp) -> Result<Option<Money>, Refusal> {
    let no = |detail: &str| Err(Refusal::with(Code::RefundNotAllowed, detail));
    if facts.state == OrderState::Ended {
        return no("it has ended already");
    }
    if facts.state == OrderState::Open && why != Why::NotCopied {
        return no("the copy that it pays for is just being granted; try again in a moment");
    }
    if by == By::User {
        match refundable_until(facts.kind, facts.refund_days, facts.created_at) {
            None if facts.kind == OrderKind::Trial => return no("a trial ends by itself, and cost nothing"),
            None if facts.kind == OrderKind::Copy => return no("the key of a medium is the user's once it was copied"),
            None => return no("by its terms it cannot be given back"),
            Some(end) if end <= now => return no("the time in which it could be given back is over"),
            Some(_) => {}
        }
    }
    Ok(facts.charge.filter(|_| matches!(why, Why::Refund | Why::NotCopied) && facts.payment == Payment::Balance))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn bought(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            kind: OrderKind::Purchase,
            payment: Payment::Balance,
            charge: "19.99 EUR".parse().ok(),
            state: OrderState::Paid,
            created_at: NOW,
            refund_days: 14,
        };
        change(&mut facts);
        facts
    }

    fn by(by: By, facts: &Facts, now: Timestamp) -> Result<Option<Money>, Code> {
        decide(by, Why::Refund, facts, now).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_user_has_as_long_as_the_terms_say_and_the_operator_forever() {
        let facts = bought(|_| ());
        let end = Timestamp(NOW.0 + 14 * Timestamp::DAY);
        assert!(by(By::User, &facts, Timestamp(end.0 - 1)).is_ok());
        assert_eq!(by(By::User, &facts, end), Err(Code::RefundNotAllowed));
        assert!(by(By::Operator, &facts, Timestamp(end.0 + 1000 * Timestamp::DAY)).is_ok());
        assert_eq!(refundable_until(OrderKind::Purchase, 14, NOW), Some(end));
        let never = decide(By::User, Why::Refund, &bought(|facts| facts.refund_days = 0), NOW).expect_err("the terms allow none");
        assert_eq!((never.code, never.detail.as_deref()), (Code::RefundNotAllowed, Some("by its terms it cannot be given back")));
    }

    #[test]
    fn the_balance_gets_back_exactly_what_was_taken_from_it() {
        assert_eq!(by(By::User, &bought(|_| ()), NOW), Ok("19.99 EUR".parse().ok()));
        for payment in [Payment::Invoice, Payment::Gateway, Payment::Free] {
            assert_eq!(by(By::User, &bought(|facts| facts.payment = payment), NOW), Ok(None));
        }
        // Money that somebody has taken back already is not given back again.
        assert_eq!(decide(By::Operator, Why::Chargeback, &bought(|_| ()), NOW), Ok(None));
    }

    #[test]
    fn c18_a_copy_is_not_given_back_by_its_user_and_by_nobody_while_it_is_being_granted() {
        let copy = bought(|facts| facts.kind = OrderKind::Copy);
        let refused = decide(By::User, Why::Refund, &copy, NOW).expect_err("copied");
        assert_eq!(
            (refused.code, refused.detail.as_deref()),
            (Code::RefundNotAllowed, Some("the key of a medium is the user's once it was copied"))
        );
        assert_eq!(by(By::Operator, &copy, NOW), Ok(copy.charge));
        let open = Facts { state: OrderState::Open, ..copy };
        assert_eq!(by(By::Operator, &open, NOW), Err(Code::RefundNotAllowed));
        assert_eq!(decide(By::Operator, Why::NotCopied, &open, NOW), Ok(copy.charge), "it was not granted after all");
    }

    #[test]
    fn an_order_ends_once() {
        let ended = bought(|facts| facts.state = OrderState::Ended);
        assert_eq!(by(By::User, &ended, NOW), Err(Code::RefundNotAllowed));
        assert_eq!(by(By::Operator, &ended, NOW), Err(Code::RefundNotAllowed));
        assert!(by(By::User, &bought(|facts| facts.state = OrderState::Due), NOW).is_ok());
    }

    #[test]
    fn a_trial_is_ended_by_the_operator_only() {
        let trial = bought(|facts| (facts.kind, facts.charge, facts.payment) = (OrderKind::Trial, None, Payment::Free));
        assert_eq!(by(By::User, &trial, NOW), Err(Code::RefundNotAllowed));
        assert_eq!(by(By::Operator, &trial, NOW), Ok(None));
    }
}
