//! Money: integer minor units with an ISO 4217 currency. Amounts of two currencies never meet.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An ISO 4217 code, such as `EUR`: three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Currencies.
    #[error("a currency is three capital letters (ISO 4217), such as `EUR`")]
    Currency,
    /// Amounts.
    #[error("an amount is a number such as `19.99`, with at most as many decimals as its currency has")]
    Amount,
}

impl Currency {
    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters")
    }

    /// Decimals of its minor unit (ISO 4217): 2 for most, none for the yen, three for some dinars.
    pub fn decimals(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"VND" | b"VUV" | b"XAF"
            | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| MoneyError::Currency)?;
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(MoneyError::Currency) }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// In minor units, such as cents. Never negative: whether it comes or goes is said elsewhere.
    pub amount: u64,
    /// Of what.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10u64.pow(self.currency.decimals());
        match self.currency.decimals() {
            0 => write!(f, "{} {}", self.amount, self.currency),
            decimals => write!(f, "{}.{:0width$} {}", self.amount / unit, self.amount % unit, self.currency, width = decimals as usize),
        }
    }
}

impl FromStr for Money {
    type Err = MoneyError;
    /// Reads `19.99 EUR`, `5 USD`, `500 JPY`.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (number, currency) = text.trim().rsplit_once(' ').ok_or(MoneyError::Currency)?;
        let currency: Currency = currency.parse()?;
        let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let decimals = currency.decimals() as usize;
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > decimals || number.trim().ends_with('.') {
            return Err(MoneyError::Amount);
        }
        let amount = format!("{whole}{part:0<decimals$}").parse().map_err(|_| MoneyError::Amount)?;
        Ok(Money { amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written_in_every_currency() {
        for (text, amount) in [("19.99 EUR", 1999), ("0.05 USD", 5), ("500 JPY", 500), ("1.250 KWD", 1250), ("0.00 EUR", 0)] {
            let money: Money = text.parse().expect(text);
            assert_eq!((money.amount, money.to_string().as_str()), (amount, text));
        }
        assert_eq!("5 EUR".parse::<Money>().map(|money| money.amount), Ok(500));
        assert_eq!("5.5 EUR".parse::<Money>().map(|money| money.amount), Ok(550));
        let currency: Currency = "JPY".parse().expect("a currency");
        assert_eq!(serde_json::to_string(&currency).expect("JSON"), "\"JPY\"");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [
            "",
            "EUR",
            "-1 EUR",
            "+1 EUR",
            "1.-5 EUR",
            "1.x EUR",
            "1.  EUR",
            "1.999 EUR",
            "1.5 JPY",
            "1. EUR",
            ".5 EUR",
            "1 eur",
            "1 EURO",
            "1,5 EUR",
            "99999999999999999999 EUR",
        ] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
    }
}
