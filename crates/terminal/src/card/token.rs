//! Keys that cannot be had: what a token or TPM does for a card, what its file says of it, and what can go wrong with it.

use counterfoil_format::holder::{HolderKind, HolderPublic};
use counterfoil_format::hpke::{DiffieHellman, HpkeError, SealingPublicKey};
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::pin::Pins;
use super::{pkcs11, tpm};
use crate::home::Home;

const FORMAT: &str = "counterfoil-token";
const VERSION: u32 = 1;

/// A token or TPM at hand: it signs and does the Diffie-Hellman, and gives no key away.
pub(crate) trait Hardware: Ecdsa + DiffieHellman + Send + Sync {}

/// Where a card's keys are to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKeys {
    /// In a PKCS#11 token.
    Pkcs11 {
        /// Its driver, a shared library.
        module: PathBuf,
        /// Its label.
        token: String,
    },
    /// In a TPM 2.0.
    Tpm {
        /// How it is reached, as the TPM software stack writes it; the system's own where nothing is said.
        tcti: Option<String>,
        /// Whether a PIN is demanded whenever a key is used.
        pin: bool,
    },
}

/// What a token or TPM is reached with.
pub(crate) struct Means<'a> {
    /// The PINs that are known, and who knows more.
    pub pins: &'a Pins,
    /// Which drivers the person has named.
    pub home: &'a Home,
}

/// In a card's file, in place of its keys: which these are, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysElsewhere {
    format: String,
    version: u32,
    kind: HolderKind,
    signing_key: HolderVerifyingKey,
    sealing_key: SealingPublicKey,
    keys_in: Place,
}

/// Where they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Pkcs11(pkcs11::Place),
    Tpm(tpm::Place),
}

impl Place {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::Pkcs11(place) => format!("the PKCS#11 token `{}`", place.token),
            Self::Tpm(_) => "the TPM".to_owned(),
        }
    }
}

impl KeysElsewhere {
    /// Of the keys just made.
    pub fn new(public: HolderPublic, keys_in: Place) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            kind: HolderKind::Card,
            signing_key: public.signing,
            sealing_key: public.sealing,
            keys_in,
        }
    }

    /// Reads that part of a card's file; `None` where it is no such thing, as where the keys are in the file itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(json: &str) -> Option<Result<Self, String>> {
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        let format = serde_json::from_str::<Format>(json).ok()?;
        (format.format == FORMAT).then(|| Self::checked(json))
    }

    fn checked(json: &str) -> Result<Self, String> {
        let file: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!("version {} of keys elsewhere is not known", file.version));
        }
        if file.kind != HolderKind::Card || file.signing_key.is_ed25519() || HolderPublic::new(file.signing_key, file.sealing_key).is_err()
        {
            return Err("only a card's keys of P-256 are in a token or TPM".to_owned());
        }
        Ok(file)
    }

    /// The public halves.
    pub fn public(&self) -> HolderPublic {
        HolderPublic { signing: self.signing_key, sealing: self.sealing_key }
    }

    /// Where the private ones are.
    pub fn place(&self) -> &Place {
        &self.keys_in
    }

    /// Reaches them, with the PIN where one is demanded.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn reach(&self, means: &Means<'_>) -> Result<Box<dyn Hardware>, TokenError> {
        match &self.keys_in {
            Place::Pkcs11(place) => Ok(Box::new(pkcs11::Token::reach(place, &self.public(), means)?)),
            Place::Tpm(place) => tpm::reach(place, &self.public(), means.pins),
        }
    }
}

/// Makes both keys in a token or TPM.
///
/// # Errors
/// [`TokenError`].
pub(crate) fn make(new: &NewKeys, means: &Means<'_>) -> Result<(KeysElsewhere, Box<dyn Hardware>), TokenError> {
    let (public, place) = match new {
        NewKeys::Pkcs11 { module, token } => {
            let (public, place) = pkcs11::make(module, token, means)?;
            (public, Place::Pkcs11(place))
        }
        NewKeys::Tpm { tcti, pin } => {
            let (public, place) = tpm::make(tcti.as_deref(), *pin, means.pins)?;
            (public, Place::Tpm(place))
        }
    };
    let keys = KeysElsewhere::new(public, place);
    let hardware = keys.reach(means)?;
    Ok((keys, hardware))
}

/// What is wrong with a token or TPM, or its PIN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The driver is not there, or none.
    #[error("the PKCS#11 module {} cannot be used: {reason}", module.display())]
    Module {
        /// Which.
        module: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Nobody but a card's file names the driver.
    #[error("the card names the PKCS#11 module {}, and a card file is not trusted to name a program", module.display())]
    ModuleUntrusted {
        /// Which.
        module: PathBuf,
    },
    /// Not plugged in, or another.
    #[error("{what} is not there{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Missing {
        /// Which token or TPM.
        what: String,
        /// What the system said.
        reason: Option<String>,
    },
    /// There, and the card's keys are not in it.
    #[error("the keys of this card are not in {what}")]
    OtherKeys {
        /// Which token or TPM.
        what: String,
    },
    /// Nobody said the PIN.
    #[error("{what} demands its PIN")]
    PinNeeded {
        /// Which token or TPM.
        what: String,
    },
    /// Not its PIN.
    #[error("the PIN is not that of {what}{}", if *last { "; one attempt is left" } else { "" })]
    PinWrong {
        /// Which token or TPM.
        what: String,
        /// Whether one more wrong one locks it.
        last: bool,
    },
    /// Too many wrong ones.
    #[error("{what} is locked after too many wrong PINs")]
    PinLocked {
        /// Which token or TPM.
        what: String,
    },
    /// What holds the PIN cannot be read.
    #[error("the PIN cannot be read from {}: {reason}", path.display())]
    PinFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot make or use such keys.
    #[error("{what} cannot hold a card's keys: {reason}")]
    Unsuitable {
        /// Which token or TPM.
        what: String,
        /// What it lacks.
        reason: String,
    },
    /// It was there, and failed in the middle.
    #[error("what holds the card's keys failed: {0}")]
    Failed(String),
    /// This program was built without it.
    #[error("this program was built without support of TPMs")]
    NotBuilt,
}

impl TokenError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Module { .. } => "no_module",
            Self::ModuleUntrusted { .. } => "module_untrusted",
            Self::Missing { .. } => "no_token",
            Self::OtherKeys { .. } => "other_token_keys",
            Self::PinNeeded { .. } => "pin_needed",
            Self::PinWrong { .. } => "pin_wrong",
            Self::PinLocked { .. } => "pin_locked",
            Self::PinFile { .. } => "pin_file",
            Self::Unsuitable { .. } => "token_unsuitable",
            Self::Failed(_) => "token_failed",
            Self::NotBuilt => "no_tpm_support",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Module { .. } => "Install the token's driver; a card's file says which one it needs.",
            Self::ModuleUntrusted { .. } => {
                "Where that is the driver of your token, say so once: `counterfoil card show --pkcs11 MODULE`, with the same card. \
                 Where you do not know it, do not use this card file."
            }
            Self::Missing { .. } => "Plug it in, or go to the computer that it belongs to, and repeat the command: nothing is lost.",
            Self::OtherKeys { .. } => {
                "Plug in the token that this card was made in, or name that token's card: `--card FILE`. \
                 A copy of a card's file opens nothing without the keys."
            }
            Self::PinNeeded { .. } => "Run it on a terminal, which asks; or name a file: `--pin-file FILE`; or set COUNTERFOIL_PIN.",
            Self::PinWrong { .. } => "Try again with the right one; too many wrong ones lock it.",
            Self::PinLocked { .. } => "Unlock a token with its security officer's PIN; a TPM unlocks itself after a while.",
            Self::PinFile { .. } => "It holds the PIN in its first line and belongs to you alone: `chmod 600`.",
            Self::Unsuitable { .. } => "Use one that makes P-256 keys which cannot be exported, and does ECDSA and ECDH with them.",
            Self::Failed(_) => "Plug it in again and repeat the command: nothing is lost.",
            Self::NotBuilt => "Use a program that was built with `--features tpm`.",
        }
    }
}

/// What went wrong with hardware in the middle of something, where it did.
pub(crate) fn failed(error: &HpkeError) -> Option<TokenError> {
    match error {
        HpkeError::Holder(reason) => Some(TokenError::Failed(reason.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_format::hpke::{Kem, SealingKey};
    use counterfoil_format::secret::SystemRandom;
    use serde_json::{Value, json};

    fn good() -> Value {
        let point = SealingKey::generate(Kem::P256, &mut SystemRandom).public_key().to_string();
        let place = json!({ "module": "/m.so", "token": "Anna", "serial": "1", "signing_id": "0a", "sealing_id": "0b" });
        json!({ "format": FORMAT, "version": 1, "kind": "card", "signing_key": point, "sealing_key": point, "keys_in": { "pkcs11": place } })
    }

    #[test]
    fn what_is_written_is_read() {
        let written = good();
        let keys = KeysElsewhere::parse(&written.to_string()).expect("of this format").expect("good");
        assert_eq!(keys.place().words(), "the PKCS#11 token `Anna`");
        assert_eq!(serde_json::to_value(&keys).expect("JSON"), written);
        assert!(KeysElsewhere::parse(r#"{"format":"counterfoil-keys","version":1}"#).is_none(), "the keys are in the file itself");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_refused() {
        let x25519 = SealingKey::generate(Kem::X25519, &mut SystemRandom).public_key().to_string();
        let changes: [(&str, Value); 8] = [
            ("/version", 2.into()),
            ("/kind", "device".into()),
            ("/signing_key", x25519.clone().into()),
            ("/sealing_key", x25519.into()),
            ("/keys_in", json!({ "file": {} })),
            ("/keys_in/pkcs11/serial", Value::Null),
            ("/keys_in/pkcs11", json!({ "module": "/m.so" })),
            ("/keys_in", json!({})),
        ];
        for (place, value) in changes {
            let mut changed = good();
            *changed.pointer_mut(place).expect("there") = value;
            assert!(KeysElsewhere::parse(&changed.to_string()).expect("of this format").is_err(), "{changed}");
        }
        let mut more = good();
        more["keys_in"]["pkcs11"]["pin"] = "123456".into();
        assert!(KeysElsewhere::parse(&more.to_string()).expect("of this format").is_err(), "a PIN has no place in it");
    }
}
