//! Talks to a TPM by the TPM software stack. Nothing stays in the TPM: each use connects, loads the key under the storage key, and lets go.

use std::str::FromStr as _;

use counterfoil_format::holder::HolderPublic;
use counterfoil_format::hpke::{DiffieHellman, HpkeError, SealingPublicKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey, SignError};
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, Digest, EccParameter, EccPoint, EccScheme, HashScheme, HashcheckTicket, KeyDerivationFunctionScheme, Private, Public,
    PublicBuilder, PublicEccParametersBuilder, Signature, SignatureScheme, SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, Error, TctiNameConf};

use super::super::pin::{Pin, Pins};
use super::super::token::{Hardware, TokenError};
use super::{Place, Wrapped};

/// The kernel's resource manager.
const SYSTEM: &str = "device:/dev/tpmrm0";
const WHAT: &str = "the TPM";
/// Longest PIN: what an authorization value may have under SHA-256.
const LONGEST_PIN: usize = 32;

/// The keys of a card in a TPM.
struct Tpm {
    place: Place,
    pin: Option<Pin>,
    public: SealingPublicKey,
}

impl Hardware for Tpm {}

/// Reaches the TPM and looks whether the keys are its own; with a PIN, whether it is the right one.
///
/// # Errors
/// [`TokenError`].
pub(crate) fn reach(place: &Place, public: &HolderPublic, pins: &Pins) -> Result<Box<dyn Hardware>, TokenError> {
    let others = || TokenError::OtherKeys { what: WHAT.to_owned() };
    let point = |wrapped: &Wrapped| Public::unmarshall(&wrapped.public).ok().as_ref().and_then(point_of).ok_or_else(others);
    if point(&place.signing)? != *public.signing.as_bytes() || point(&place.sealing)? != *public.sealing.as_bytes() {
        return Err(others());
    }
    let tpm = |pin| Tpm { place: place.clone(), pin, public: public.sealing };
    if place.pin {
        return pins.with(WHAT, place.tcti.as_deref().unwrap_or(SYSTEM), |pin| {
            let tpm = tpm(Some(pin.clone()));
            tpm.sign(&[0; 32]).map_err(|error| wrong(&error))?;
            Ok(Box::new(tpm) as Box<dyn Hardware>)
        });
    }
    let tpm = tpm(None);
    tpm.sign(&[0; 32]).map_err(|error| wrong(&error))?;
    Ok(Box::new(tpm))
}

/// Makes both pairs, wrapped by the TPM.
///
/// # Errors
/// [`TokenError`].
pub(crate) fn make(tcti: Option<&str>, pin: bool, pins: &Pins) -> Result<(HolderPublic, Place), TokenError> {
    // Before anybody is asked for a PIN that there is nothing for.
    drop(connect(tcti)?);
    let pin = if pin { Some(pins.fresh(WHAT, tcti.unwrap_or(SYSTEM))?) } else { None };
    let unsuitable = |reason: String| TokenError::Unsuitable { what: WHAT.to_owned(), reason };
    let auth = auth_of(pin.as_ref()).map_err(|_| unsuitable(format!("a PIN has at most {LONGEST_PIN} bytes")))?;
    let create = |public: Result<Public, Error>| -> Result<(Vec<u8>, Wrapped), TokenError> {
        let (public, wrapped) = public.and_then(|public| create(tcti, public, auth.clone())).map_err(|error| match wrong(&error) {
            TokenError::Failed(reason) => unsuitable(reason),
            other => other,
        })?;
        Ok((point_of(&public).ok_or_else(|| unsuitable("its public keys are none of P-256".to_owned()))?, wrapped))
    };
    let (signs, signing) = create(key(true))?;
    let (opens, sealing) = create(key(false))?;
    let none = |_| unsuitable("its public keys are none of P-256".to_owned());
    let public =
        HolderPublic::new(HolderVerifyingKey::from_bytes(&signs).map_err(none)?, SealingPublicKey::from_bytes(&opens).map_err(none)?);
    Ok((public.map_err(none)?, Place { tcti: tcti.map(str::to_owned), pin: pin.is_some(), signing, sealing }))
}

impl Tpm {
    fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], Error> {
        let digest = Digest::try_from(&digest[..])?;
        let signature = self.with(&self.place.signing, |context, key| context.sign(key, digest, SignatureScheme::Null, no_ticket()?))?;
        match signature {
            Signature::EcDsa(signature) => {
                let mut bytes = [0; 64];
                padded(signature.signature_r(), &mut bytes[..32]);
                padded(signature.signature_s(), &mut bytes[32..]);
                Ok(bytes)
            }
            _ => Err(Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm)),
        }
    }

    fn z(&self, peer: &[u8]) -> Result<Secret<32>, Error> {
        let point = EccPoint::new(EccParameter::try_from(&peer[1..33])?, EccParameter::try_from(&peer[33..])?);
        let shared = self.with(&self.place.sealing, |context, key| context.ecdh_z_gen(key, point))?;
        let mut z = [0; 32];
        padded(shared.x(), &mut z);
        Ok(Secret::new(z))
    }

    /// Loads a key and uses it, with its PIN proven and what goes over the bus encrypted.
    fn with<T>(&self, wrapped: &Wrapped, then: impl FnOnce(&mut Context, KeyHandle) -> Result<T, Error>) -> Result<T, Error> {
        let mut context = open(self.place.tcti.as_deref())?;
        let storage = storage_key(&mut context)?;
        let (private, public) = (Private::try_from(&wrapped.private[..])?, Public::unmarshall(&wrapped.public)?);
        let key = context.load(storage, private, public)?;
        context.tr_set_auth(key.into(), auth_of(self.pin.as_ref())?)?;
        guard(&mut context, storage)?;
        then(&mut context, key)
    }
}

impl Ecdsa for Tpm {
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
        self.sign(digest).map_err(|error| SignError(format!("{WHAT}: {error}")))
    }
}

impl DiffieHellman for Tpm {
    fn public_key(&self) -> &SealingPublicKey {
        &self.public
    }

    fn agree(&self, peer: &SealingPublicKey) -> Result<Secret<32>, HpkeError> {
        if peer.kem() != self.public.kem() || !peer.is_on_curve() {
            return Err(HpkeError::Key);
        }
        self.z(peer.as_bytes()).map_err(|error| HpkeError::Holder(format!("{WHAT}: {error}")))
    }
}

fn create(tcti: Option<&str>, public: Public, auth: Auth) -> Result<(Public, Wrapped), Error> {
    let mut context = open(tcti)?;
    let storage = storage_key(&mut context)?;
    guard(&mut context, storage)?;
    let made = context.create(storage, public, Some(auth), None, None, None)?;
    let wrapped = Wrapped { public: made.out_public.marshall()?, private: made.out_private.value().to_vec() };
    Ok((made.out_public, wrapped))
}

fn connect(tcti: Option<&str>) -> Result<Context, TokenError> {
    open(tcti).map_err(|error| TokenError::Missing { what: WHAT.to_owned(), reason: Some(error.to_string()) })
}

fn open(tcti: Option<&str>) -> Result<Context, Error> {
    Context::new(TctiNameConf::from_str(tcti.unwrap_or(SYSTEM))?)
}

/// The storage key of the owner's hierarchy: made from the TPM's own seed, so that it is the same each time.
fn storage_key(context: &mut Context) -> Result<KeyHandle, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters =
        PublicEccParametersBuilder::new_restricted_decryption_key(SymmetricDefinitionObject::AES_128_CFB, EccCurve::NistP256).build()?;
    let template = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()?;
    context.set_sessions((Some(AuthSession::Password), None, None));
    Ok(context.create_primary(Hierarchy::Owner, template, None, None, None, None)?.key_handle)
}

/// What one pair is: made in this TPM, under its storage key, never anywhere else; it signs, or it does the Diffie-Hellman.
fn key(signs: bool) -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_sign_encrypt(signs)
        .with_decrypt(!signs)
        .build()?;
    let hash = HashScheme::new(HashingAlgorithm::Sha256);
    let parameters = PublicEccParametersBuilder::new()
        .with_ecc_scheme(if signs { EccScheme::EcDsa(hash) } else { EccScheme::EcDh(hash) })
        .with_curve(EccCurve::NistP256)
        .with_is_signing_key(signs)
        .with_is_decryption_key(!signs)
        .with_restricted(false)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// A session salted under the storage key: PIN, new keys' PIN and Diffie-Hellman's secret do not pass the bus in the clear.
fn guard(context: &mut Context, storage: KeyHandle) -> Result<(), Error> {
    context.set_sessions((None, None, None));
    let session = context
        .start_auth_session(Some(storage), None, None, SessionType::Hmac, SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256)?
        .ok_or(Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm))?;
    let (attributes, mask) = SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true).build();
    context.tr_sess_set_attributes(session, attributes, mask)?;
    context.set_sessions((Some(session), None, None));
    Ok(())
}

fn auth_of(pin: Option<&Pin>) -> Result<Auth, Error> {
    let pin = pin.map_or("", Pin::expose);
    if pin.len() > LONGEST_PIN {
        return Err(Error::WrapperError(tss_esapi::WrapperErrorKind::WrongParamSize));
    }
    Auth::try_from(pin.as_bytes())
}

/// The digest was not made by the TPM, and an unrestricted key does not ask.
fn no_ticket() -> Result<HashcheckTicket, Error> {
    HashcheckTicket::try_from(TPMT_TK_HASHCHECK { tag: TPM2_ST_HASHCHECK, hierarchy: TPM2_RH_NULL, digest: Default::default() })
}

/// The uncompressed point of a public key.
fn point_of(public: &Public) -> Option<Vec<u8>> {
    let Public::Ecc { unique, .. } = public else { return None };
    let mut point = vec![0; 65];
    point[0] = 4;
    if unique.x().value().len() > 32 || unique.y().value().len() > 32 {
        return None;
    }
    padded(unique.x(), &mut point[1..33]);
    padded(unique.y(), &mut point[33..]);
    Some(point)
}

/// A number as the TPM gives it, which may leave out zeros in front.
fn padded(number: &EccParameter, into: &mut [u8]) {
    let number = &number.value()[number.value().len().saturating_sub(into.len())..];
    let start = into.len() - number.len();
    into[start..].copy_from_slice(number);
}

fn wrong(error: &Error) -> TokenError {
    let what = WHAT.to_owned();
    let kind = match error {
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    };
    match kind {
        Some(Tss2ResponseCodeKind::AuthFail | Tss2ResponseCodeKind::BadAuth) => TokenError::PinWrong { what, last: false },
        Some(Tss2ResponseCodeKind::Lockout) => TokenError::PinLocked { what },
        Some(Tss2ResponseCodeKind::Integrity) => TokenError::OtherKeys { what },
        // The stack's own errors, below any TPM, have no kind: nobody answered.
        None => TokenError::Missing { what, reason: Some(error.to_string()) },
        Some(_) => TokenError::Failed(format!("{WHAT}: {error}")),
    }
}
