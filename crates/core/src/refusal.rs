//! Every "no" of the system: a stable code, a message for people, and what they can do next.

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
    /// The operator has taken the medium out of use.
    MediumRetired = "medium_retired", "this medium has been taken out of use",
        "Ask the publisher or the shop for a replacement.";
    /// C8: every copy that the medium carries has been claimed.
    MediumSpent = "medium_spent", "CONTENT CANNOT BE COPIED FROM THIS MEDIA",
        "It was copied already. Whoever copied it plays it from the library; after a repair, the repair centre frees it.";
    /// B2: the rights do not include this.
    RightMissing = "right_missing", "the rights of this medium do not allow this",
        "`counterfoil inspect` shows what it allows.";
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
}

impl Refusal {
    /// With what was wrong in particular.
    pub fn with(code: Code, detail: impl Into<String>) -> Self {
        Refusal { detail: Some(detail.into()), ..Refusal::from(code) }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal { code, message: code.message().into(), hint: code.hint().into(), detail: None }
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
