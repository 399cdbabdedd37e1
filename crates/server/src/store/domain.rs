//! How the words of `core` are read from columns: parsed once, where they leave the database.

use std::str::FromStr;

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{
    AccountId, BatchId, CardId, Channel, ContentsServerId, Currency, DeliveryId, DeviceId, DriveId, EntitlementId, GatewayId, GrantId,
    HolderId, JobId, Kind, LicenseId, MediumId, OrderId, PaymentId, Policy, PostingId, ProviderId, ReissueId, ReleaseVersion, RepairId,
    RequestId, Rights, Timestamp, TitleId, TransactionId, UploadId, UserId, WebhookId,
};

use crate::auth::Role;
use crate::db::{FromValue, Value};

macro_rules! from_text {
    ($($kind:ty),* $(,)?) => {$(
        impl FromValue for $kind {
            fn from_value(value: Value<'static>) -> Result<Self, String> {
                <$kind>::from_str(&String::from_value(value)?).map_err(|error| error.to_string())
            }
        }
    )*};
}

from_text!(
    UserId,
    DeviceId,
    DriveId,
    CardId,
    HolderId,
    GrantId,
    OrderId,
    EntitlementId,
    LicenseId,
    TransactionId,
    JobId,
    ContentsServerId,
    ProviderId,
    GatewayId,
    AccountId,
    PaymentId,
    PostingId,
    UploadId,
    RepairId,
    ReissueId,
    WebhookId,
    DeliveryId,
    Currency,
    MediumId,
    BatchId,
    TitleId,
    ReleaseVersion,
    Channel,
    Kind
);

impl FromValue for RequestId {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        String::from_value(value)?.parse().map(RequestId).map_err(|error: uuid::Error| error.to_string())
    }
}

impl FromValue for Timestamp {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        i64::from_value(value).map(Timestamp)
    }
}

impl FromValue for Role {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        Role::parse(&String::from_value(value)?).ok_or_else(|| "expected a role".to_owned())
    }
}

impl FromValue for Rights {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        serde_json::from_str(&String::from_value(value)?).map_err(|error| format!("expected rights: {error}"))
    }
}

impl FromValue for Policy {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        serde_json::from_str(&String::from_value(value)?).map_err(|error| format!("expected terms: {error}"))
    }
}

impl FromValue for GrantState {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        GrantState::parse(&String::from_value(value)?).ok_or_else(|| "expected the state of a grant".to_owned())
    }
}

impl FromValue for HolderKind {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        [HolderKind::Card, HolderKind::Device, HolderKind::Drive]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| "expected card, device or drive".to_owned())
    }
}
