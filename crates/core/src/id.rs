//! Identifiers that a person can read out, write down and type in again.
//!
//! 128 bits, shown as a prefix that says what it names, 26 characters of Crockford's base 32 and two check characters:
//! `usr-7Q2M-…`. The check characters tell a typing error from a wrong ID (`security.md`: "typing errors are told from guesses").

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Base-32 characters for 128 bits, without the check characters.
const DATA_CHARS: usize = 26;
const CHECK_CHARS: usize = 2;
/// The largest prime below 32². Any single wrong character and any two neighbours exchanged change the remainder.
const CHECK_MODULUS: u32 = 1021;

/// Why a text is not an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It names something else, or nothing.
    #[error("it does not begin with `{0}-`")]
    Prefix(&'static str),
    /// Too short or too long: something was left out or doubled.
    #[error("it has {0} characters after the prefix instead of 28")]
    Length(usize),
    /// A character that no ID contains.
    #[error("the character {0:?} does not occur in IDs")]
    Character(char),
    /// A typing error: the check characters do not fit the rest.
    #[error("its check characters do not fit: a character is wrong or two are exchanged")]
    Check,
}

/// 128 bits under a prefix; the common part of every ID type below.
fn encode(prefix: &str, bytes: &[u8; 16]) -> String {
    let mut number = u128::from_be_bytes(*bytes);
    let mut data = [0u8; DATA_CHARS];
    for digit in data.iter_mut().rev() {
        *digit = (number & 31) as u8;
        number >>= 5;
    }
    let check = check_value(prefix, &data);
    let digits = data.into_iter().chain([(check >> 5) as u8, (check & 31) as u8]);

    written(prefix, digits)
}

fn written(prefix: &str, digits: impl IntoIterator<Item = u8>) -> String {
    let mut text = String::with_capacity(prefix.len() + 35);
    text.push_str(prefix);
    for (place, digit) in digits.into_iter().enumerate() {
        if place % 4 == 0 {
            text.push('-');
        }
        text.push(ALPHABET[digit as usize] as char);
    }
    text
}

fn decode(prefix: &'static str, text: &str) -> Result<[u8; 16], IdError> {
    let rest = text
        .trim()
        .get(..prefix.len())
        .filter(|head| head.eq_ignore_ascii_case(prefix))
        .map(|head| &text.trim()[head.len()..])
        .ok_or(IdError::Prefix(prefix))?;
    let mut digits = Vec::with_capacity(DATA_CHARS + CHECK_CHARS);
    for character in rest.chars().filter(|c| !matches!(c, '-' | ' ')) {
        digits.push(digit(character).ok_or(IdError::Character(character))?);
    }
    if digits.len() != DATA_CHARS + CHECK_CHARS {
        return Err(IdError::Length(digits.len()));
    }
    let (data, check) = digits.split_at(DATA_CHARS);
    // 26 characters hold 130 bits: the first may only use the lower three of its five.
    if data[0] > 7 || check_value(prefix, data) != u32::from(check[0]) << 5 | u32::from(check[1]) {
        return Err(IdError::Check);
    }
    let number = data.iter().fold(0u128, |number, digit| number << 5 | u128::from(*digit));
    Ok(number.to_be_bytes())
}

/// The canonical form of the first characters of an ID, as far as they were typed: `USR 7q2mo` is `usr-7Q2M-0`. Nothing where the text names
/// something else, has fewer than three or more than 26 characters after the prefix (those that check them follow) or one that no ID has.
pub fn beginning(prefix: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let head = text.get(..prefix.len()).filter(|head| head.eq_ignore_ascii_case(prefix))?;
    let rest = text[head.len()..].strip_prefix(['-', ' '])?;
    let digits: Vec<u8> = rest.chars().filter(|c| !matches!(c, '-' | ' ')).map(digit).collect::<Option<_>>()?;
    if !(3..=DATA_CHARS).contains(&digits.len()) {
        return None;
    }
    Some(written(prefix, digits))
}

/// The prefix takes part, so that a user ID typed where a card ID belongs is a typing error as well.
fn check_value(prefix: &str, data: &[u8]) -> u32 {
    prefix.bytes().map(|byte| byte & 31).chain(data.iter().copied()).fold(0u32, |sum, digit| (sum * 32 + u32::from(digit)) % CHECK_MODULUS)
}

/// Crockford's reading: case does not matter, O is 0, I and L are 1.
pub(crate) fn digit(character: char) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known as char == upper).map(|place| place as u8)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What the written form begins with, before the first hyphen.
            pub const PREFIX: &'static str = $prefix;

            /// From 128 bits that are random, or derived from what identifies the thing.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 128 bits.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode($prefix, &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                decode($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|error| serde::de::Error::custom(format_args!("{} ID: {error}", $prefix)))
            }
        }
    };
}

id!(
    /// A user: the person who owns. Random, made by the authority (C3), written down for the day a card is lost (C15).
    UserId, "usr"
);
id!(
    /// A device, from what its hardware says of itself (C3, D1).
    DeviceId, "dev"
);
id!(
    /// A drive: the volume that a library lies on (C3).
    DriveId, "drv"
);
id!(
    /// A card, from its public keys; visible to its owner (C2).
    CardId, "crd"
);
id!(
    /// Whatever holds the keys of a user entry, named by its public keys: the card, or where there is none the device's or the drive's own store (C5).
    HolderId, "key"
);
id!(
    /// A medium pressed here: the 64 bits of its batch, then its serial (see [`crate::medium::MediumId`]).
    PressedId, "med"
);
id!(
    /// One issuance of keys.
    GrantId, "grt"
);

id!(
    /// One purchase (D2, D3), and the charge that it raises.
    OrderId, "ord"
);
id!(
    /// A user's right to a title that came from an order.
    EntitlementId, "ent"
);
id!(
    /// A license: one device at a time may run the title by it. It keeps its ID when it moves to another device (D8, D9).
    LicenseId, "lic"
);
id!(
    /// The ticket for a license that waits to be fetched (D6).
    TransactionId, "txn"
);
id!(
    /// A contents server of somebody else's, registered with the authority (A8).
    ContentsServerId, "cts"
);
id!(
    /// A third party that offers a service to media that the authority vouches for (B4).
    ProviderId, "prv"
);
id!(
    /// Something that a user has handed in (A4).
    UploadId, "upl"
);
id!(
    /// A reseller's server between terminals and authority (C16).
    GatewayId, "gwy"
);
id!(
    /// Who a gateway charges (C17).
    AccountId, "acc"
);
id!(
    /// What is booked in a ledger at once, with entries that sum to nothing.
    PostingId, "pst"
);
id!(
    /// A payment by card at a gateway. Drawn by whoever wants to pay, so that it is one payment however often it is asked for.
    PaymentId, "pay"
);
id!(
    /// Something for a device to do, in its inbox.
    JobId, "job"
);

id!(
    /// A repair: what was exchanged in a user entry, and why (C14, C15).
    RepairId, "rep"
);
id!(
    /// A request for a new card in place of one that is lost (C15).
    ReissueId, "rei"
);
id!(
    /// Somebody's server that is told what happens.
    WebhookId, "whk"
);
id!(
    /// One thing that a webhook is told.
    DeliveryId, "dlv"
);

/// What the IDs of all kinds begin with.
pub const PREFIXES: [&str; 19] = [
    UserId::PREFIX,
    DeviceId::PREFIX,
    DriveId::PREFIX,
    CardId::PREFIX,
    HolderId::PREFIX,
    PressedId::PREFIX,
    GrantId::PREFIX,
    OrderId::PREFIX,
    EntitlementId::PREFIX,
    LicenseId::PREFIX,
    TransactionId::PREFIX,
    JobId::PREFIX,
    ContentsServerId::PREFIX,
    ProviderId::PREFIX,
    UploadId::PREFIX,
    RepairId::PREFIX,
    ReissueId::PREFIX,
    WebhookId::PREFIX,
    DeliveryId::PREFIX,
];

impl From<CardId> for HolderId {
    /// A card is a holder; both names are the same bits.
    fn from(card: CardId) -> Self {
        HolderId(card.0)
    }
}

impl From<HolderId> for CardId {
    /// For a holder known to be a card.
    fn from(holder: HolderId) -> Self {
        CardId(holder.0)
    }
}

/// Names one request of a terminal for good: a UUIDv7, made and stored before sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub uuid::Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_survives_being_written_down(bytes: [u8; 16]) {
            let id = UserId::from_bytes(bytes);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 3 + 7 * 5);
            prop_assert_eq!(text.parse::<UserId>(), Ok(id));
            prop_assert_eq!(text.to_lowercase().replace('-', " ").replace("usr ", "usr-").parse::<UserId>(), Ok(id));
            let request = RequestId(uuid::Uuid::from_bytes(bytes));
            prop_assert_eq!(request.to_string().parse(), Ok(request.0));
        }

        #[test]
        fn one_wrong_character_is_a_typing_error(bytes: [u8; 16], place in 4usize..38, other in 0usize..32) {
            let text = CardId::from_bytes(bytes).to_string();
            let mut typed: Vec<char> = text.chars().collect();
            prop_assume!(typed[place] != '-' && typed[place] != ALPHABET[other] as char);
            typed[place] = ALPHABET[other] as char;
            prop_assert_eq!(typed.iter().collect::<String>().parse::<CardId>(), Err(IdError::Check));
        }

        #[test]
        fn neighbours_exchanged_are_a_typing_error(bytes: [u8; 16], place in 0usize..27) {
            let text = DeviceId::from_bytes(bytes).to_string();
            let mut typed: Vec<char> = text.chars().filter(|c| *c != '-').collect();
            let (a, b) = (3 + place, 4 + place);
            prop_assume!(typed[a] != typed[b]);
            typed.swap(a, b);
            let typed: String = typed.iter().collect::<String>().replacen("dev", "dev-", 1);
            prop_assert_eq!(typed.parse::<DeviceId>(), Err(IdError::Check));
        }
    }

    proptest! {
        #[test]
        fn what_an_id_begins_with_is_written_as_the_whole(bytes: [u8; 16], typed in 3usize..27) {
            let whole = UserId::from_bytes(bytes).to_string();
            let digits: String = whole[4..].chars().filter(|c| *c != '-').take(typed).collect();
            let begun = beginning("usr", &format!("USR {}", digits.to_lowercase())).unwrap();
            prop_assert!(whole.starts_with(&begun), "{} of {}", begun, whole);
            prop_assert_eq!(begun.chars().filter(|c| *c != '-').count(), 3 + typed);
        }
    }

    #[test]
    fn what_is_no_beginning_of_an_id_is_none() {
        let whole = UserId::from_bytes([7; 16]).to_string();
        for text in ["", "usr", "usr-", "usr-7Q", "usr-7U2", "crd-7Q2M", "usr7Q2M", whole.as_str()] {
            assert_eq!(beginning("usr", text), None, "{text}");
        }
        assert_eq!(beginning("usr", " usr-7qo-l2"), Some("usr-7Q01-2".to_owned()));
    }

    #[test]
    fn an_id_of_another_kind_is_not_taken() {
        let user = UserId::from_bytes([7; 16]).to_string();
        assert_eq!(user.parse::<CardId>(), Err(IdError::Prefix("crd")));
        assert_eq!(user.replacen("usr", "crd", 1).parse::<CardId>(), Err(IdError::Check));
    }

    #[test]
    fn letters_that_look_like_digits_are_read_as_such() {
        let id = DriveId::from_bytes([0; 16]);
        assert_eq!(id.to_string().replace('0', "o").parse::<DriveId>(), Ok(id));
    }

    #[test]
    fn what_is_no_id_says_why() {
        assert_eq!("usr-123".parse::<UserId>(), Err(IdError::Length(3)));
        assert_eq!("".parse::<UserId>(), Err(IdError::Prefix("usr")));
        assert_eq!("ü".parse::<UserId>(), Err(IdError::Prefix("usr")));
        assert_eq!("usr-U".parse::<UserId>(), Err(IdError::Character('U')));
    }
}
