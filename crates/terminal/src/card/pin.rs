//! PINs of tokens and TPMs: asked for once in a program's life, wiped from memory, and never tried twice when wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::token::TokenError;

/// A PIN. It has no way to print itself.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// As it was typed or read.
    pub fn new(pin: String) -> Self {
        Self(Zeroizing::new(pin))
    }

    /// For the token.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// What a PIN is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct PinWanted<'a> {
    /// Of what, in words: `the TPM`.
    pub what: &'a str,
    /// Whether it is set now, and not one that exists.
    pub new: bool,
}

/// Who is asked for PINs: `None` where there is nobody to ask.
pub type AskPin = Box<dyn Fn(&PinWanted<'_>) -> Result<Option<Pin>, TokenError> + Send + Sync>;

/// The PINs that are known, and who knows more.
#[derive(Default)]
pub(crate) struct Pins {
    ask: Option<AskPin>,
    known: Mutex<HashMap<String, Pin>>,
}

impl Pins {
    /// Asks whom.
    pub fn new(ask: AskPin) -> Self {
        Self { ask: Some(ask), known: Mutex::default() }
    }

    /// Runs `with` with the PIN of `what`, in words, which is kept under `id` where it was right and forgotten where it was wrong.
    ///
    /// # Errors
    /// [`TokenError::PinNeeded`] where nobody says it; what `with` says.
    pub fn with<T>(&self, what: &str, id: &str, with: impl FnOnce(&Pin) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let known = self.known().get(id).cloned();
        let pin = match known {
            Some(pin) => pin,
            None => self.ask(&PinWanted { what, new: false })?,
        };
        let result = with(&pin);
        match &result {
            Err(TokenError::PinWrong { .. } | TokenError::PinLocked { .. }) => drop(self.known().remove(id)),
            _ => drop(self.known().insert(id.to_owned(), pin)),
        }
        result
    }

    /// A PIN that is set now.
    ///
    /// # Errors
    /// [`TokenError::PinNeeded`] where nobody says it.
    #[cfg(feature = "tpm")]
    pub fn fresh(&self, what: &str, id: &str) -> Result<Pin, TokenError> {
        let pin = self.ask(&PinWanted { what, new: true })?;
        self.known().insert(id.to_owned(), pin.clone());
        Ok(pin)
    }

    fn ask(&self, wanted: &PinWanted<'_>) -> Result<Pin, TokenError> {
        let said = self.ask.as_ref().map(|ask| ask(wanted)).transpose()?.flatten();
        said.filter(|pin| !pin.expose().is_empty()).ok_or_else(|| TokenError::PinNeeded { what: wanted.what.to_owned() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pin>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_right_pin_is_asked_for_once_and_a_wrong_one_is_never_tried_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let pins = Pins::new(Box::new(move |_| {
            let time = count.fetch_add(1, Ordering::Relaxed);
            Ok(Some(Pin::new(if time == 0 { "wrong" } else { "right" }.to_owned())))
        }));
        let mut tried = Vec::new();
        for _ in 0..3 {
            let _ = pins.with("it", "1", |pin| {
                tried.push(pin.expose().to_owned());
                if pin.expose() == "right" { Ok(()) } else { Err(TokenError::PinWrong { what: "it".into(), last: false }) }
            });
        }
        assert_eq!(tried, ["wrong", "right", "right"]);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // Another one of the same name has its own.
        let _ = pins.with("it", "2", |_| Ok(()));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn where_nobody_says_it_it_is_needed() {
        let nobody = Pins::default().with("it", "1", |_| Ok(()));
        assert_eq!(nobody, Err(TokenError::PinNeeded { what: "it".into() }));
        let empty = Pins::new(Box::new(|_| Ok(Some(Pin::new(String::new()))))).with("it", "1", |_| Ok(()));
        assert_eq!(empty, Err(TokenError::PinNeeded { what: "it".into() }));
    }
}
