//! Everything that is sealed: it opens where it should, and nowhere else, whatever is done to it.
//!
//! Each sealed thing is changed at every bit, cut at every length, lengthened, and offered to every wrong opener. The harness is run
//! once more over openers with a check left out, which it must notice.

use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::grant::{self, GrantBox, GrantScope, HardwareBinding, SealedBox};
use counterfoil_format::hpke::{DiffieHellman as _, HpkeError, Kem, SealingKey};
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::wrap::{self, Kek, RowId, WrapError};
use proptest::prelude::*;

/// A fixed stream, so that every run sees the same boxes.
struct Fixed(blake3::OutputReader);

impl Fixed {
    fn new(seed: &str) -> Self {
        Self(blake3::Hasher::new().update(seed.as_bytes()).finalize_xof())
    }
}

impl Random for Fixed {
    fn fill(&mut self, into: &mut [u8]) {
        self.0.fill(into);
    }
}

fn key(byte: u8) -> Secret<32> {
    Secret::new([byte; 32])
}

/// Changed in every bit, cut at every length, with a byte more at either end. Answers with how many were tried, and those that opened.
fn changed(good: &[u8], opens: impl Fn(&[u8]) -> bool) -> (usize, Vec<String>) {
    assert!(opens(good), "what was not changed opens");
    let mut tried = Vec::new();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        tried.push((format!("bit {bit} flipped"), bytes));
    }
    tried.extend((0..good.len()).map(|length| (format!("cut to {length}"), good[..length].to_vec())));
    tried.push(("a byte appended".to_owned(), [good, &[0]].concat()));
    tried.push(("a byte in front".to_owned(), [&[0], good].concat()));
    tried.push(("doubled".to_owned(), [good, good].concat()));
    let opened = tried.iter().filter(|(_, bytes)| opens(bytes)).map(|(name, _)| name.clone()).collect();
    (tried.len(), opened)
}

const NONE: Vec<String> = Vec::new();

// Wrapped secrets

fn kek(purpose: &str, version: u32, byte: u8) -> Kek {
    Kek { purpose: purpose.to_owned(), version, key: key(byte) }
}

const ROW: RowId<'_> = RowId { table: "content_key", key: &["sky-raider", "1"], column: "wrapped", version: 1 };

/// The wrong places in which `wrapped` opened.
fn wrong_places(wrapped: &[u8], unwrap: impl Fn(&Kek, &RowId<'_>, &[u8]) -> bool) -> Vec<String> {
    let rows = [
        RowId { table: "library_key", ..ROW },
        RowId { key: &["sky-raider", "2"], ..ROW },
        RowId { key: &["sky-raider1"], ..ROW },
        RowId { key: &["sky-raider", "1", ""], ..ROW },
        RowId { key: &["sky", "-raider", "1"], ..ROW },
        RowId { column: "old", ..ROW },
        RowId { version: 2, ..ROW },
    ];
    let keks = [kek("content_key", 7, 2), kek("library_key", 7, 1), kek("content_key", 8, 1), kek("", 7, 1)];
    let right = kek("content_key", 7, 1);
    let rows = rows.iter().filter(|row| unwrap(&right, row, wrapped)).map(|row| format!("{row:?}"));
    let keks = keks.iter().filter(|kek| unwrap(kek, &ROW, wrapped)).map(|kek| format!("{} {}", kek.purpose, kek.version));
    rows.chain(keks).collect()
}

#[test]
fn wrapped_secrets_open_in_their_row_only() {
    let right = kek("content_key", 7, 1);
    let wrapped = wrap::wrap(&right, &ROW, &[5; 32], &mut Fixed::new("wrap"));
    assert_eq!(wrapped.len(), 32 + wrap::OVERHEAD);
    assert_eq!(wrap::kek_version(&wrapped), Ok(7));
    assert_eq!(wrap::unwrap_secret::<32>(&right, &ROW, &wrapped).map(|secret| *secret.expose()), Ok([5; 32]));
    assert!(matches!(wrap::unwrap_secret::<16>(&right, &ROW, &wrapped), Err(WrapError::Shape)));
    assert_eq!(wrap::unwrap(&kek("content_key", 8, 1), &ROW, &wrapped), Err(WrapError::KeyVersion));

    let opens = |kek: &Kek, row: &RowId<'_>, bytes: &[u8]| wrap::unwrap(kek, row, bytes).is_ok();
    assert_eq!(wrong_places(&wrapped, opens), NONE);
    let (tried, opened) = changed(&wrapped, |bytes| opens(&right, &ROW, bytes));
    assert_eq!((tried, opened), (77 * 9 + 3, NONE));

    // Twice the same secret is not twice the same bytes.
    let mut random = Fixed::new("twice");
    assert_ne!(wrap::wrap(&right, &ROW, &[5; 32], &mut random), wrap::wrap(&right, &ROW, &[5; 32], &mut random));
}

#[test]
fn planted_bugs_in_unwrapping_are_caught() {
    let right = kek("content_key", 7, 1);
    let wrapped = wrap::wrap(&right, &ROW, &[5; 32], &mut Fixed::new("wrap"));
    // The row is not looked at.
    assert_eq!(wrong_places(&wrapped, |kek, _, bytes| wrap::unwrap(kek, &ROW, bytes).is_ok()).len(), 7);
    // The purpose of the key is not looked at.
    let forgetful = |kek: &Kek, row: &RowId<'_>, bytes: &[u8]| {
        let kek = Kek { purpose: "content_key".to_owned(), version: kek.version, key: kek.key.clone() };
        wrap::unwrap(&kek, row, bytes).is_ok()
    };
    assert_eq!(wrong_places(&wrapped, forgetful).len(), 2);
    // What is behind the end is not looked at, nor the last bits of the salt.
    let (_, opened) = changed(&wrapped, |bytes| bytes.get(..77).is_some_and(|bytes| wrap::unwrap(&right, &ROW, bytes).is_ok()));
    assert_eq!(opened, ["a byte appended", "doubled"]);
    let (_, opened) = changed(&wrapped, |bytes| {
        let mut bytes = bytes.to_vec();
        let Some(byte) = bytes.get_mut(28) else { return false };
        *byte = wrapped[28];
        wrap::unwrap(&right, &ROW, &bytes).is_ok()
    });
    assert_eq!(opened.len(), 8);
}

// Grants

const SCOPE: GrantScope<'_> = GrantScope { title: "sky-raider", grant: "grt-1", device: "dev-1" };

fn grant(kem: Kem) -> (SealingKey, GrantBox) {
    let random = &mut Fixed::new("grant");
    let card = SealingKey::generate(kem, random);
    let sealed = grant::seal_grant(card.public_key(), Some(&key(3)), &SCOPE, &key(1), Some(&key(2)), random).unwrap();
    (card, sealed)
}

fn keys_of(
    sealed: &GrantBox,
    card: &SealingKey,
    secret: Option<&Secret<32>>,
    scope: &GrantScope<'_>,
) -> Result<([u8; 32], Option<[u8; 32]>), HpkeError> {
    let open = sealed.open(card, secret, scope)?;
    Ok((*open.library_key()?.expose(), open.content_key()?.map(|key| *key.expose())))
}

#[test]
fn a_grant_opens_with_card_and_device_and_forgets_its_content_key() {
    for kem in [Kem::X25519, Kem::P256] {
        let (card, mut sealed) = grant(kem);
        assert_eq!(keys_of(&sealed, &card, Some(&key(3)), &SCOPE), Ok(([1; 32], Some([2; 32]))));
        let json = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<GrantBox>(&json).unwrap(), sealed);
        // C11: without the content key, the library key opens as before.
        sealed.forget_content_key();
        assert!(!sealed.has_content_key());
        let json = serde_json::to_string(&sealed).unwrap();
        assert!(!json.contains("content"));
        let sealed: GrantBox = serde_json::from_str(&json).unwrap();
        assert_eq!(keys_of(&sealed, &card, Some(&key(3)), &SCOPE), Ok(([1; 32], None)));
    }
}

#[test]
fn a_grant_opens_for_nobody_and_nothing_else() {
    let (card, sealed) = grant(Kem::X25519);
    let stranger = SealingKey::from_seed(&key(9));
    let secret = key(3);
    // C13: a borrowed card, a lent card on another device, a card without its device.
    for (key, secret) in [(&stranger, Some(&secret)), (&card, Some(&key(4))), (&card, None)] {
        assert_eq!(keys_of(&sealed, key, secret, &SCOPE), Err(HpkeError::Open));
    }
    let scopes = [
        GrantScope { title: "other", ..SCOPE },
        GrantScope { grant: "grt-2", ..SCOPE },
        GrantScope { device: "dev-2", ..SCOPE },
        GrantScope { title: "sky-raidergrt-1", grant: "", ..SCOPE },
    ];
    for scope in scopes {
        assert_eq!(keys_of(&sealed, &card, Some(&secret), &scope), Err(HpkeError::Open), "{scope:?}");
    }
    // A device's secret without a device to call it by.
    let nameless = GrantScope { device: "", ..SCOPE };
    let refused = grant::seal_grant(card.public_key(), Some(&secret), &nameless, &key(1), None, &mut Fixed::new(""));
    assert_eq!(refused, Err(HpkeError::Psk));
}

#[test]
fn a_grant_without_a_device_needs_the_card_alone() {
    let random = &mut Fixed::new("card alone");
    let card = SealingKey::generate(Kem::X25519, random);
    let scope = GrantScope { device: "", ..SCOPE };
    let sealed = grant::seal_grant(card.public_key(), None, &scope, &key(1), Some(&key(2)), random).unwrap();
    assert_eq!(keys_of(&sealed, &card, None, &scope), Ok(([1; 32], Some([2; 32]))));
    assert!(keys_of(&sealed, &SealingKey::from_seed(&key(9)), None, &scope).is_err());
}

#[test]
fn boxes_of_a_grant_cannot_be_exchanged() {
    let (card, sealed) = grant(Kem::X25519);
    let mut json = serde_json::to_value(&sealed).unwrap();
    let (library, content) = (json["library"].clone(), json["content"].clone());
    (json["library"], json["content"]) = (content, library);
    let swapped: GrantBox = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(keys_of(&swapped, &card, Some(&key(3)), &SCOPE), Err(HpkeError::Open));
    json["suite"] = "none".into();
    let nameless: GrantBox = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(keys_of(&nameless, &card, Some(&key(3)), &SCOPE), Err(HpkeError::Key));
    json["more"] = 1.into();
    assert!(serde_json::from_value::<GrantBox>(json).is_err());
}

#[test]
fn changed_grants_do_not_open() {
    let (card, sealed) = grant(Kem::X25519);
    let json = serde_json::to_vec(&sealed).unwrap();
    let (tried, opened) = changed(&json, |bytes| {
        serde_json::from_slice::<GrantBox>(bytes)
            .is_ok_and(|sealed| keys_of(&sealed, &card, Some(&key(3)), &SCOPE) == Ok(([1; 32], Some([2; 32]))))
    });
    assert!(tried > 2000 && opened.is_empty(), "{opened:?}");
}

#[test]
fn single_boxes_open_for_their_purpose() {
    let random = &mut Fixed::new("box");
    let card = SealingKey::generate(Kem::P256, random);
    let sealed = grant::seal_box(card.public_key(), &["user ID", "crd-1"], b"usr-1", random).unwrap();
    assert_eq!(**sealed.open(&card, &["user ID", "crd-1"]).unwrap(), *b"usr-1");
    for purpose in [&[][..], &["user ID"], &["user ID", "crd-2"], &["user IDcrd-1"], &["user ID", "crd-1", ""]] {
        assert_eq!(sealed.open(&card, purpose), Err(HpkeError::Open), "{purpose:?}");
    }
    assert_eq!(sealed.open(&SealingKey::generate(Kem::P256, random), &["user ID", "crd-1"]), Err(HpkeError::Open));
    assert_eq!(sealed.open(&SealingKey::from_seed(&key(1)), &["user ID", "crd-1"]), Err(HpkeError::Key));
    let json = serde_json::to_vec(&sealed).unwrap();
    let (_, opened) = changed(&json, |bytes| {
        serde_json::from_slice::<SealedBox>(bytes).is_ok_and(|sealed| sealed.open(&card, &["user ID", "crd-1"]).is_ok())
    });
    assert_eq!(opened, NONE);
}

// The binding to hardware

#[test]
fn a_binding_opens_under_its_library_key() {
    let binding = HardwareBinding { device_id: Some("dev-1".to_owned()), drive_id: Some("drv-1".to_owned()) };
    let sealed = grant::seal_binding(&key(1), &binding, &mut Fixed::new("binding"));
    assert_eq!(grant::open_binding(&key(1), &sealed), Ok(binding));
    assert_eq!(grant::open_binding(&key(2), &sealed), Err(HpkeError::Open));
    let (_, opened) =
        changed(sealed.as_bytes(), |bytes| std::str::from_utf8(bytes).is_ok_and(|text| grant::open_binding(&key(1), text).is_ok()));
    assert_eq!(opened, NONE);
    assert_eq!(grant::open_binding(&key(1), &"A".repeat(100_000)), Err(HpkeError::Open));
}

#[test]
fn a_binding_to_nothing_is_none() {
    let nothing = HardwareBinding { device_id: None, drive_id: None };
    let sealed = grant::seal_binding(&key(1), &nothing, &mut Fixed::new("nothing"));
    assert_eq!(grant::open_binding(&key(1), &sealed), Err(HpkeError::Open));
}

// Claim secrets

#[test]
fn claim_secrets_differ_by_key_medium_and_epoch() {
    let batch = ClaimSecretKey::new(key(1));
    let all: Vec<[u8; 32]> = [
        batch.derive("med-1", 1),
        batch.derive("med-1", 2),
        batch.derive("med-2", 1),
        batch.derive("med-", 1),
        ClaimSecretKey::new(key(2)).derive("med-1", 1),
    ]
    .iter()
    .map(|secret| *secret.expose())
    .collect();
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
    }
    assert!(batch.derive("med-1", 1) == batch.derive("med-1", 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_wrapped_is_unwrapped(secret in prop::collection::vec(any::<u8>(), 0..200), table: String, row: String, version: u32) {
        let key = kek("any", version, 1);
        let row = RowId { table: &table, key: &[&row], column: "c", version };
        let wrapped = wrap::wrap(&key, &row, &secret, &mut Fixed::new("any"));
        prop_assert_eq!(wrap::unwrap(&key, &row, &wrapped).map(|found| found.to_vec()), Ok(secret));
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, text: String) {
        prop_assert!(wrap::unwrap(&kek("any", 1, 1), &ROW, &bytes).is_err());
        prop_assert!(grant::open_binding(&key(1), &text).is_err());
        prop_assert!(serde_json::from_slice::<GrantBox>(&bytes).is_err());
    }
}
