//! Software ordered, paid for and given back (D2, D3).

use crate::rules::order::{OrderKind, OrderState, Payment};
use crate::{CardId, Currency, DeviceId, EntitlementId, LicenseId, Money, OrderId, Timestamp, TitleId, UserId};
use serde::{Deserialize, Serialize};

/// D2, D3. Signed by the device, and by the card where the entry has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// As received at registration.
    pub user_id: UserId,
    /// Where the entry has a card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that it is bought for.
    pub device_id: DeviceId,
    /// What.
    pub title: TitleId,
    /// What the buyer has been shown, and agrees to; another price is refused. Absent for a trial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub price: Option<Money>,
    /// What the buyer wants to pay in, where the price is a gateway's, which is agreed to there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub currency: Option<Currency>,
    /// To be tried, not bought.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub trial: bool,
}

/// Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
}

/// Ends what was ordered, within the time that its terms give. Signed by the device, and by the card where the entry has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// As received at registration.
    pub user_id: UserId,
    /// Where the entry has a card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Which order.
    pub order_id: OrderId,
}

/// D3: what was ordered, and the charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderResult {
    /// Which order.
    pub order_id: OrderId,
    /// The right that came of it.
    pub entitlement_id: EntitlementId,
    /// The license that waits for the device.
    pub license_id: LicenseId,
    /// What was charged; absent for a trial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charged: Option<Money>,
    /// What is left of what was paid in advance, in the currency of the charge, where that was taken from there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub balance: Option<Money>,
    /// Until when the title can be tried, or what was bought lasts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Timestamp>,
    /// Until when it can be given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refundable_until: Option<Timestamp>,
}

/// What the user has ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrdersResult {
    /// Newest first, the newest thousand.
    pub orders: Vec<OrderedTitle>,
    /// What is left of what was paid in advance, one amount in each currency.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub balance: Vec<Money>,
}

/// One order, as whoever made it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedTitle {
    /// Which.
    pub order_id: OrderId,
    /// Of what.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// For which device it was ordered.
    pub device_id: DeviceId,
    /// Bought, or being tried.
    pub kind: OrderKind,
    /// What was charged; absent for a trial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charged: Option<Money>,
    /// How.
    pub payment: Payment,
    /// Where it stands.
    pub state: OrderState,
    /// When it was made.
    pub since: Timestamp,
    /// When what was ordered ends by its terms.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Timestamp>,
    /// Until when it can be given back, where it still can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refundable_until: Option<Timestamp>,
    /// When it was ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// By what: `refund`, `chargeback`, `bought`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// The order has ended, and its licenses with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundResult {
    /// Which.
    pub order_id: OrderId,
    /// Licenses that have ended with it.
    pub ended: Vec<LicenseId>,
    /// What the user's balance got back; absent where nothing was taken from it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credited: Option<Money>,
}
