//! What a gateway and the authority say to each other (C16, C17), over mutual TLS on the authority's private listener.
//!
//! An exchange has the ID of the terminal's request, which the terminal made and stored: one name from the user's disk to both ledgers. What
//! is inside the envelope stays between terminal and authority; the gateway learns what is charged for, and how much.

use crate::{GatewayId, Money, RequestId, Timestamp, TitleId};
use serde::{Deserialize, Serialize};

/// The gateway hands in what a terminal wants, or hands it in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// As the terminal names it; the authority refuses one whose request has another ID.
    pub exchange_id: RequestId,
    /// The sealed envelope.
    pub envelope: serde_json::Value,
}

/// What a step of an exchange has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub exchange_id: RequestId,
    /// Where it stands.
    pub state: ExchangeState,
    /// The authority's answer, sealed to the terminal: where the state is [`ExchangeState::Free`], [`ExchangeState::Committed`] or
    /// [`ExchangeState::Refused`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<String>,
    /// What is charged, in every state but free and refused at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charge: Option<Charge>,
    /// Until when it can be committed, while it is prepared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Timestamp>,
}

/// Where an exchange stands at the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeState {
    /// Nothing is charged for it; it has been carried out, or refused, and nothing is kept of it.
    Free,
    /// It would be granted. It waits for the charge.
    Prepared,
    /// The charge is promised, and it is being carried out.
    Committing,
    /// Carried out: the charge stands.
    Committed,
    /// Refused when it was to be carried out: the charge is to be voided.
    Refused,
    /// Given up by the gateway, or not committed in time.
    Aborted,
    /// What it paid for was ended afterwards: the charge is to be given back.
    Refunded,
}

impl ExchangeState {
    /// As in JSON and in both databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Prepared => "prepared",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Refunded => "refunded",
        }
    }

    /// From a database.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Free, Self::Prepared, Self::Committing, Self::Committed, Self::Refused, Self::Aborted, Self::Refunded];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// What the key costs, and whose the money is (C17).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// What for.
    pub title: TitleId,
    /// The title's name, for people and receipts.
    pub name: String,
    /// What the account is charged.
    pub price: Money,
    /// Of that, what the operator of the authority gets, in minor units; the rest is the gateway's.
    pub operator_part: u64,
}

/// Why an exchange that was carried out is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoReason {
    /// The money goes back to the account.
    Refund,
    /// The bank has taken the money back.
    Chargeback,
}

/// The gateway undoes an exchange: exactly what it paid for ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Why.
    pub why: UndoReason,
    /// For the record; 1,000 characters at most.
    #[serde(default)]
    pub note: String,
}

/// One exchange as the authority has it, for comparing the two databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    /// Which.
    pub exchange_id: RequestId,
    /// Where it stands.
    pub state: ExchangeState,
    /// What is charged.
    pub charge: Charge,
    /// When it was prepared.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

/// A page of exchanges, in the order that they changed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRecords {
    /// In order of `changed_at`.
    pub exchanges: Vec<ExchangeRecord>,
    /// Where to go on, where there are more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// What a gateway tells a terminal that has not agreed to the price yet: member `charge` of the problem `charge_unconfirmed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeOnOffer {
    /// What for.
    pub title: TitleId,
    /// The title's name.
    pub name: String,
    /// What the account would be charged.
    pub price: Money,
    /// What the account holds in that currency.
    pub balance: Money,
    /// Until when the price stands.
    pub expires_at: Timestamp,
    /// The payment card that is charged with what the balance is short of, in words, where one is kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<String>,
}

/// What a gateway asks a certificate for (RFC 2986), and proves to be the one that is meant with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// One-time token, as the authority's operator handed it over; absent where the gateway's certificate asks for its successor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
    /// Certificate signing request, PEM.
    pub request: String,
}

/// Answers [`Enrol`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The gateway's name at the authority.
    pub gateway: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The certificates that the private listener's own is signed by, PEM, the one in use first.
    pub authorities: String,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// First line of the table of a settled month, which both sides write, so that their bytes can be compared: amounts in minor units, a line a currency.
pub const SETTLEMENT_HEAD: &str = "period,currency,charges,refunds,amount,gateway_part,operator_part\r\n";

/// Header by which a terminal names its exchange to a gateway: the request's ID.
pub const EXCHANGE_HEADER: &str = "counterfoil-exchange";
/// Header by which a terminal names the card that signs, where one does.
pub const CARD_HEADER: &str = "counterfoil-card";
/// Header by which a terminal agrees to a price: minor units, a blank, the currency: `1999 EUR`.
pub const PAY_HEADER: &str = "counterfoil-pay";
/// Name in the certificate of the authority's private listener. A gateway looks for it whatever address it dials, so that the listener can stand
/// behind any address; whose certificate it may be is decided by the certificate authority that the gateway pins.
pub const AUTHORITY_NAME: &str = "authority.counterfoil.internal";

/// Lets a gateway in once, and says by whose certificate it knows the authority: `cge_<gateway>_<secret>_<pin>`, secret and pin in hexadecimal.
///
/// It holds a secret, and so has no way to print itself but [`EnrolToken::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    /// Whose.
    pub gateway: GatewayId,
    /// What is good once.
    pub secret: [u8; 32],
    /// SHA-256 of the certificate, in DER, of the authority for the private listener's certificates.
    pub pin: [u8; 32],
}

impl EnrolToken {
    /// As the operator hands it over.
    pub fn reveal(&self) -> String {
        format!("cge_{}_{}_{}", self.gateway, hex(&self.secret), hex(&self.pin))
    }

    /// Reads what was handed over.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().strip_prefix("cge_")?.split('_');
        let token = Self { gateway: parts.next()?.parse().ok()?, secret: unhex(parts.next()?)?, pin: unhex(parts.next()?)? };
        parts.next().is_none().then_some(token)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for text in ["free", "prepared", "committing", "committed", "refused", "aborted", "refunded"] {
            assert_eq!(ExchangeState::parse(text).expect(text).as_str(), text);
        }
        assert_eq!(ExchangeState::parse("reserved"), None);
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is() {
        let token = EnrolToken { gateway: GatewayId::from_bytes([7; 16]), secret: [0xa5; 32], pin: [3; 32] };
        let text = token.reveal();
        assert!(EnrolToken::parse(&format!(" {text}\n")) == Some(token));
        for bad in [&text[1..], &text[..text.len() - 1], &format!("{text}_00"), &text.replace("gwy", "acc"), &text.replace("a5a5", "a5g5")]
        {
            assert!(EnrolToken::parse(bad).is_none(), "{bad}");
        }
    }
}
