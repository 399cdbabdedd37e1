//! Every "no" of the system: a stable code, a message for people, and what they can do next.

use crate::rules::order::Collection;
use crate::{Money, TitleId};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $message:literal, $hint:literal;)*) => {
        /// Why something was refused. Closed: programs may match on it, and a new one is a change of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// All there are, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The stable name that programs match on.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),* }
            }

            /// What people are told; capitals where the source documents fix the words.
            pub fn message(self) -> &'static str {
                match self { $(Code::$variant => $message),* }
            }

            /// What the person can do next.
            pub fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint),* }
            }
        }
    };
}

codes! {
    /// C4: the card is not one that the operator knows, or it is dead.
    CardUnknown = "card_unknown", "USER REGISTRATION CANNOT BE COMPLETED WITH THIS MEMORY CARD",
        "Use a card issued by this operator. A card that was reported lost or replaced stays refused.";
    /// C5: the operator's policy asks for other IDs than were given.
    RegistrationNotAllowed = "registration_not_allowed", "registration with this combination of card, device and drive is not allowed here",
        "Register again with the IDs that the detail names.";
    /// C6: the user ID does not belong to this card, device or drive.
    UserInvalid = "user_invalid", "USER ID INVALID. PLEASE COMPLETE USER REGISTRATION.",
        "Run `counterfoil register`. To add a device to a user who is registered already, give that user's ID: `counterfoil register --user USER-ID`.";
    /// The user is registered, but not with this device or drive.
    DeviceNotRegistered = "device_not_registered", "this device or drive is not registered for the user",
        "Register it for the user: `counterfoil register --user USER-ID`.";
    /// C5: more devices or drives than the policy allows.
    TooManyDevices = "too_many_devices", "the user has as many devices as the operator allows",
        "Ask the operator or a repair centre to take a device out of the entry.";
    /// A1: no such medium, or what was presented does not prove to be it. One code for both, so that guessing IDs teaches nothing.
    MediumUnknown = "medium_unknown", "this medium is not known",
        "Check that the medium is complete and unaltered. If it was bought, ask the publisher with the medium ID at hand.";
    /// B7: proven under a claim secret that a refresh has replaced: an old copy of the medium's identity, or a clone.
    MediumSuperseded = "medium_superseded", "this is an old copy of the medium: it was refreshed since",
        "Use the medium itself. If nobody has copied it, ask the publisher with the medium ID at hand: the copy is in its timeline.";
    /// The operator has taken the medium out of use.
    MediumRetired = "medium_retired", "this medium has been taken out of use",
        "Ask the publisher or the shop for a replacement.";
    /// C8: every copy that the medium carries has been claimed.
    MediumSpent = "medium_spent", "CONTENT CANNOT BE COPIED FROM THIS MEDIA",
        "It was copied already. Whoever copied it plays it from the library; after a repair, the repair centre frees it.";
    /// B2: the rights do not include this.
    RightMissing = "right_missing", "the rights of this medium do not allow this",
        "`counterfoil inspect` shows what it allows.";
    /// C14: it was exchanged for another one, and has turned up again.
    DeviceExchanged = "device_exchanged", "this device or drive was exchanged for another one at a repair centre",
        "Use the one that took its place. If it was repaired after all, the repair centre takes it in again under a new ID.";
    /// C14: more exchanges than the operator allows, or too soon after the last one.
    RepairNotAllowed = "repair_not_allowed", "this exchange is not allowed now",
        "The detail says from when. An operator may override it.";
    /// C14: the entry has no such device or drive.
    NotInEntry = "not_in_entry", "this device or drive is not in the user's entry",
        "`counterfoil repair find` shows what is.";
    /// C15: nobody has decided yet.
    ReissueWaiting = "reissue_waiting", "the new card waits for the repair centre",
        "Repeat the command later: `counterfoil card replace`.";
    /// C15: somebody has decided against it.
    ReissueDeclined = "reissue_declined", "the repair centre has declined the new card",
        "Ask the repair centre, with the user ID at hand.";
    /// D2: no title of that name is sold here.
    NotForSale = "not_for_sale", "this title is not sold here",
        "`counterfoil store` shows what is.";
    /// The price has changed since the buyer saw it.
    PriceChanged = "price_changed", "the price is not what was shown",
        "Look at the price, and order again.";
    /// D3: the charge could not be made.
    PaymentRefused = "payment_refused", "the charge was refused",
        "Have the balance topped up by the shop or the operator, then order again.";
    /// C18: the medium was given away, and its key is paid for when it is copied.
    PaymentRequired = "payment_required", "the key of this medium is paid for when it is copied",
        "Run `counterfoil copy` at a terminal, which asks, or agree beforehand: `--yes`. Where the authority does not sell it: `--via https://…`, a gateway that does.";
    /// C17: the account would be charged, and nobody has agreed to the price yet.
    ChargeUnconfirmed = "charge_unconfirmed", "the price has not been agreed to",
        "Run the command at a terminal, which asks, or agree beforehand: `--yes`.";
    /// C17: the gateway charges an account, and none was named, or it is not let in.
    AccountNeeded = "account_needed", "the gateway wants an account",
        "Sign in: `counterfoil account sign-in https://…`, or make an account there: `counterfoil account new https://…`.";
    /// C17: no such voucher, or it was redeemed or has ended. One code for all, so that guessing teaches nothing.
    VoucherInvalid = "voucher_invalid", "this voucher cannot be redeemed",
        "Check the code. A voucher is good once, until the day that is written on it; whoever sold it can tell more.";
    /// C16: the exchange was given up, or was not paid for in time.
    ExchangeEnded = "exchange_ended", "this exchange was given up, or not paid for in time",
        "Repeat the command: it begins another one. Nothing was charged for this one.";
    /// D2: there is nothing to buy.
    AlreadyLicensed = "already_licensed", "this device is licensed for the title already",
        "Install it: `counterfoil install TITLE`.";
    /// A title can be tried once.
    TrialUsed = "trial_used", "this title was tried before",
        "Buy it: `counterfoil buy TITLE`.";
    /// D5: user, device and title are not registered together.
    NotEntitled = "not_entitled", "user, device and title are not registered together",
        "Buy the title for this device: `counterfoil buy TITLE`. If it is licensed to another of your devices: `counterfoil transfer TITLE --to THIS-DEVICE`.";
    /// D6: no such transaction, or it is another device's.
    TransactionUnknown = "transaction_unknown", "no license waits under this transaction ID for this device",
        "Ask for the license again: `counterfoil install TITLE`.";
    /// D6: the license was fetched and its installation confirmed.
    TransactionSpent = "transaction_spent", "the license under this transaction ID was fetched already",
        "It is in the library that it was installed to. If that is gone: `counterfoil install TITLE --again`.";
    /// D10: transferred, given back or taken back.
    LicenseEnded = "license_ended", "this license has ended on this device",
        "It was moved, given back or taken back: `counterfoil devices` and `orders` show which. `counterfoil transfer TITLE --to THIS-DEVICE` brings back what was moved; `counterfoil install TITLE` installs what was bought after trying it.";
    /// D8: not by the terms under which it was bought.
    TransferNotAllowed = "transfer_not_allowed", "this transfer is not allowed",
        "The detail says why. `counterfoil devices` shows what can be moved, and from when.";
    /// Not by the terms under which it was bought.
    RefundNotAllowed = "refund_not_allowed", "this order can no longer be given back",
        "Ask the operator.";
    /// No such release, or none at all yet.
    ReleaseUnknown = "release_unknown", "there is no such release of this title",
        "Leave the release out to get the newest one.";
    /// A5: the publisher has taken the release back, or does not let it be gone back to.
    ReleaseWithdrawn = "release_withdrawn", "this release is not offered any more",
        "Leave the release out to get the one that is.";
    /// A2: nothing that could be sent: it is bought or copied for neither device.
    NothingToSend = "nothing_to_send", "the other device may not have this title",
        "Buy it for that device, or move it there: `counterfoil transfer TITLE --to DEVICE`.";
    /// Terminal: what the publisher signed says otherwise, or is over; somebody keeps updates back or passes off old ones.
    UpdateNotAuthentic = "update_not_authentic", "this update is not what the publisher signed last",
        "Nothing was changed. Try again later or from another network; if it stays so, tell the publisher.";
    /// A10: signed by somebody else, over, for another user or question, or of titles that the contents server may not select.
    SelectionInvalid = "selection_invalid", "this selection is not one that the contents server may make",
        "Nothing was changed. If it stays so, tell the operator of the authority which contents server it is.";
    /// B4: no such provider, or it has ended.
    ProviderUnknown = "provider_unknown", "this provider is not known to the authority",
        "Check the address. If it is right, ask the provider.";
    /// B4: the verdict on this presentation was given, and is over.
    PresentationOver = "presentation_over", "this presentation is over",
        "Present the medium again: `counterfoil present`.";
    /// B4: made for another provider, another challenge or another medium.
    PresentationInvalid = "presentation_invalid", "this presentation was made for something else",
        "Present the medium again: `counterfoil present`.";
    /// A4: more than may be held.
    QuotaExceeded = "quota_exceeded", "there is no room for this upload",
        "`counterfoil save list` shows what is held; `counterfoil save remove` makes room.";
    /// A4: somebody has handed in another version since this one was fetched.
    SaveConflict = "save_conflict", "another device has saved since",
        "Look at both: `counterfoil save list`. Then `counterfoil save pull` takes the other one, and `counterfoil save push --over` puts yours above it; both are kept.";
    /// A4: a slot, a note or a length that nothing can be handed in under.
    UploadInvalid = "upload_invalid", "this cannot be handed in as it is",
        "The detail says what is wrong with it.";
    /// A4: no such upload, or it is somebody else's.
    UploadUnknown = "upload_unknown", "there is no such upload",
        "`counterfoil save list` shows what there is.";
    /// A grant that does not exist, or is somebody else's.
    GrantUnknown = "grant_unknown", "no such grant for this device",
        "Copy the medium again: `counterfoil copy`.";
    /// The terminal's clock and the authority's lie more than a day apart.
    ClockSkewed = "clock_skewed", "the clock of this device is more than a day off",
        "Set the clock and repeat the command.";
    /// One request ID, two contents.
    RequestMismatch = "request_mismatch", "this request ID was used for another request",
        "Repeat the command; the terminal makes a new request.";
    /// A signature or proof is missing or wrong.
    ProofInvalid = "proof_invalid", "the request is not signed by what it names",
        "Check that card and device are the ones that were registered.";
    /// The envelope cannot be opened or read.
    EnvelopeInvalid = "envelope_invalid", "the request could not be opened",
        "Update the terminal, and renew what it knows of the authority: `counterfoil authority refresh`.";
    /// Too many attempts.
    RateLimited = "rate_limited", "too many requests",
        "Wait as long as the answer says, then repeat the command.";
    /// C10, terminal: hardware is not what the grant is bound to.
    CopyNotPermitted = "copy_not_permitted", "COPY IS NOT PERMITTED",
        "The keys on the card are bound to another device or drive. Use those, or have them exchanged at the repair centre.";
    /// D7, terminal: the hardware is not the one that the license names.
    RunNotPermitted = "run_not_permitted", "THE SOFTWARE CANNOT BE RUN ON THIS DEVICE",
        "It is licensed to another device. On one of your devices: `counterfoil transfer TITLE --to THIS-DEVICE`.";
    /// Terminal: the license is over, and so is its grace period.
    LicenseExpired = "license_expired", "the license has expired",
        "Connect to the network and run it again: the license is renewed by itself if it still stands.";
    /// Terminal: not signed by the authority, edited, or no license at all.
    LicenseInvalid = "license_invalid", "this is no genuine license",
        "Have it issued again: `counterfoil install TITLE --again`.";
    /// C12, terminal: hardware is not what the library is bound to, or the card does not open it.
    PlayNotPermitted = "play_not_permitted", "CONTENT REPRODUCTION IS NOT PERMITTED",
        "This library is bound to another card, device or drive. Use those, or have them exchanged at the repair centre.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A "no", with what this case adds to its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// What people are told. Sent along, so that a terminal older than the server still says something true.
    pub message: String,
    /// What they can do next.
    pub hint: String,
    /// What was wrong here in particular, without secrets and without telling of other people's things.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// What it costs, where it can be paid for here and has not been agreed to (C18).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offer: Option<Box<CopyOffer>>,
}

/// What a key that is paid for when it is copied costs at the authority itself (C18): in `payment_required`, in `price_changed` and in
/// `payment_refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOffer {
    /// What for: the first of several.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// One a currency, in the order of their codes; the copy is paid for in one of them.
    pub prices: Vec<Money>,
    /// How it is paid for.
    pub payment: Collection,
    /// What the user has paid in advance, one a currency.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub balance: Vec<Money>,
}

impl Refusal {
    /// With what was wrong in particular.
    pub fn with(code: Code, detail: impl Into<String>) -> Self {
        Refusal { detail: Some(detail.into()), ..Refusal::from(code) }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal { code, message: code.message().into(), hint: code.hint().into(), detail: None, offer: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the source documents are part of the requirements.
    #[test]
    fn the_sources_words_are_kept_to_the_letter() {
        for (code, words) in [
            (Code::CardUnknown, "USER REGISTRATION CANNOT BE COMPLETED WITH THIS MEMORY CARD"),
            (Code::UserInvalid, "USER ID INVALID. PLEASE COMPLETE USER REGISTRATION."),
            (Code::MediumSpent, "CONTENT CANNOT BE COPIED FROM THIS MEDIA"),
            (Code::CopyNotPermitted, "COPY IS NOT PERMITTED"),
            (Code::PlayNotPermitted, "CONTENT REPRODUCTION IS NOT PERMITTED"),
        ] {
            assert_eq!(code.message(), words);
        }
    }

    #[test]
    fn codes_are_distinct_and_the_same_in_json() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(serde_json::to_value(code).expect("an enum"), code.as_str());
            assert!(!code.hint().is_empty());
        }
    }
}
