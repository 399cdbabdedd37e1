//! What the fuzz targets of keys and messages run, and what the corpus is replayed through: any bytes are answered, and what is accepted
//! means the same when it is written again.

use counterfoil_format::encoding::{from_base64url, parse_strict, to_base64url};
use counterfoil_format::envelope::{Envelope, REQUEST_TYP, ReplyKey, is_sealed};
use counterfoil_format::grant::{GrantBox, GrantScope, SealedBox, open_binding};
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::jws::{self, General, Verifier};
use counterfoil_format::jwt::{self, Demands, KeyList, ListedKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_format::wrap::{self, Kek, RowId};

/// A target: its name, and what it runs on any bytes, answering whether they were accepted.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target.
pub const TARGETS: [Target; 6] =
    [("envelope", envelope), ("answer", answer), ("signed", signed), ("wrapped", wrapped), ("key_file", key_file), ("grant", grant)];

/// The key that the corpus was sealed to or signed with.
fn key() -> Secret<32> {
    Secret::new([7; 32])
}

/// Envelopes from terminals.
pub fn envelope(data: &[u8]) -> bool {
    let Ok(envelope) = Envelope::parse(data) else { return false };
    assert_eq!(Envelope::parse(&envelope.to_json()).as_ref(), Ok(&envelope));
    envelope.open(&SealingKey::from_seed(&key())).is_ok()
}

/// The key that sealed answers of the corpus open with.
pub fn reply_key() -> ReplyKey {
    let json = format!(r#"{{"kid":"a","enc":"{}","ct":""}}"#, SealingKey::from_seed(&key()).public_key());
    Envelope::parse(json.as_bytes()).expect("an envelope").reply_key(key())
}

/// Sealed answers, as a terminal gets them from whoever is between.
pub fn answer(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let opened = reply_key().open(text);
    assert!(opened.is_err() || is_sealed(text));
    opened.is_ok()
}

/// Signed documents: compact, general, with claims; lists of keys.
pub fn signed(data: &[u8]) -> bool {
    let public = SigningKey::from_seed(&key()).verifying_key();
    let keys = KeyList { keys: vec![ListedKey::new("k", &public, None)] };
    let general = General::parse(data, REQUEST_TYP, "a");
    if let Ok(general) = &general {
        let signers: Vec<&str> = general.signers().map(|(kid, _)| kid).collect();
        for kid in &signers {
            let _ = general.verify(kid, Verifier::Key(&public.into()));
            let _ = general.verify(kid, Verifier::ClaimSecret(&key()));
        }
    }
    let list = KeyList::parse(data);
    if let Ok(list) = &list {
        let _ = list.keys.iter().filter_map(ListedKey::verifying_key).count();
    }
    let Ok(token) = std::str::from_utf8(data) else { return general.is_ok() || list.is_ok() };
    if let Some(bytes) = from_base64url(token) {
        assert_eq!(to_base64url(&bytes), token);
    }
    let demands = Demands { typ: "t", now: 1_790_000_000, audience: None, holder: None, must_expire: false };
    let bytes = jws::verify_compact_bytes(token, "t", |_| Some(public));
    let document = jwt::verify::<serde_json::Value>(token, &keys, &demands);
    assert!(bytes.is_ok() || document.is_err());
    general.is_ok() || list.is_ok() || document.is_ok()
}

/// Secrets from the database.
pub fn wrapped(data: &[u8]) -> bool {
    let version = wrap::kek_version(data);
    let kek = Kek { purpose: "p".to_owned(), version: version.unwrap_or(1), key: key() };
    let row = RowId { table: "t", key: &["k"], column: "c", version: 0 };
    let opened = wrap::unwrap(&kek, &row, data);
    assert!(version.is_ok() || opened.is_err());
    opened.is_ok()
}

/// Key files.
pub fn key_file(data: &[u8]) -> bool {
    let Ok(keys) = HolderKeys::parse(data) else { return false };
    let again = HolderKeys::parse(&keys.to_json());
    assert!(again.is_ok_and(|again| again.kind == keys.kind && again.public() == keys.public()));
    true
}

/// Grants, single boxes and bindings, as a terminal finds them in an answer or in its own files.
pub fn grant(data: &[u8]) -> bool {
    let card = SealingKey::from_seed(&key());
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(binding) = open_binding(&key(), text)
    {
        assert!(binding.device_id.is_some() || binding.drive_id.is_some());
        return true;
    }
    if let Ok(sealed) = parse_strict::<SealedBox>(data) {
        return sealed.open(&card, &["p"]).is_ok();
    }
    let Ok(sealed) = parse_strict::<GrantBox>(data) else { return false };
    let scope = GrantScope { title: "t", grant: "g", device: "d" };
    let keys = sealed.open(&card, Some(&key()), &scope).and_then(|open| Ok((open.library_key()?, open.content_key()?)));
    keys.is_ok()
}
