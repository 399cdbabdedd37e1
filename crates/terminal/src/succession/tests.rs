//! A chain as an authority makes it, and as somebody between would like it to be.

use counterfoil_core::Timestamp;
use counterfoil_core::wire::SealingKeyDocument;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::jwt::ListedKey;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;

use super::*;

const NAME: &str = "test-authority";

fn signing(number: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([number; 32]))
}

/// Keys of these numbers in use, and those that have had their time, as the authority shows them.
fn keys(epoch: u64, sign: u8, seal: u8, retired: &[u8]) -> AuthorityKeys {
    let listed = |number: u8, retired: Option<i64>| ListedKey::new(&format!("sig-{number}"), &signing(number).verifying_key(), retired);
    let list = KeyList { keys: std::iter::once(listed(sign, None)).chain(retired.iter().map(|old| listed(*old, Some(7)))).collect() };
    let sealed = SealingKey::from_seed(&Secret::new([seal; 32])).public_key().to_string();
    AuthorityKeys {
        jwks: serde_json::to_value(list).unwrap(),
        sealing: vec![SealingKeyDocument { kid: format!("seal-{seal}"), key: sealed, retired_at: None }],
        epoch,
        chain: vec![],
    }
}

fn state(authority: &str, keys: AuthorityKeys, issued_at: Timestamp, kid: &str, key: &SigningKey) -> String {
    sign_compact(KEYS_TYP, kid, &KeysStatement { authority: authority.to_owned(), issued_at, keys }, key)
}

fn link(epoch: u64, sign: u8, seal: u8, by: u8) -> String {
    state(NAME, keys(epoch, sign, seal, &[]), Timestamp(5), &format!("sig-{by}"), &signing(by))
}

/// Signing key 1 and sealing key 1 at first, then 2 and 1, 2 and 2, 3 and 2.
fn chain() -> Vec<String> {
    vec![link(1, 2, 1, 1), link(2, 2, 2, 2), link(3, 3, 2, 2)]
}

fn with(keys: AuthorityKeys, chain: Vec<String>) -> AuthorityKeys {
    AuthorityKeys { chain, ..keys }
}

#[test]
fn c16_whoever_knows_any_keys_from_before_follows_to_the_newest() {
    let newest = with(keys(3, 3, 2, &[2, 1]), chain());
    for known in [keys(0, 1, 1, &[]), keys(1, 2, 1, &[1]), keys(2, 2, 2, &[1]), keys(3, 3, 2, &[2, 1])] {
        assert_eq!(follow(NAME, &known, &newest), Ok(()), "from epoch {}", known.epoch);
    }
    // Of a chain only what is missing has to be there; retired keys need not be shown.
    assert_eq!(follow(NAME, &keys(2, 2, 2, &[]), &with(keys(3, 3, 2, &[]), chain()[2..].to_vec())), Ok(()));
    assert_eq!(follow(NAME, &keys(3, 3, 2, &[]), &keys(3, 3, 2, &[])), Ok(()));
}

/// proves: C16
#[test]
fn keys_that_were_noted_without_an_epoch_find_theirs_in_the_chain() {
    // As a terminal from before has noted them at epoch 2.
    let known = AuthorityKeys { epoch: 0, ..keys(0, 2, 2, &[1]) };
    assert_eq!(follow(NAME, &known, &with(keys(3, 3, 2, &[2, 1]), chain())), Ok(()));
    assert_eq!(follow(NAME, &known, &with(keys(2, 2, 2, &[1]), chain()[..2].to_vec())), Ok(()));
    // A number out of the air would shut out every later one.
    let far = with(keys(999, 2, 2, &[1]), vec![link(999, 2, 2, 9)]);
    assert_eq!(follow(NAME, &known, &far), Err(NotFollowed::Unproven));
}

#[test]
fn c16_without_epochs_on_either_side_nothing_may_be_added() {
    assert_eq!(follow(NAME, &keys(0, 2, 1, &[1]), &keys(0, 2, 1, &[])), Ok(()));
    assert_eq!(follow(NAME, &keys(0, 1, 1, &[]), &keys(0, 1, 2, &[])), Err(NotFollowed::Unproven));
    assert_eq!(follow(NAME, &keys(0, 1, 1, &[]), &keys(0, 2, 1, &[1])), Err(NotFollowed::Unproven));
}

#[test]
fn c16_what_is_older_is_told_from_what_is_not_proven() {
    let older = with(keys(1, 2, 1, &[1]), chain()[..1].to_vec());
    assert_eq!(follow(NAME, &keys(3, 3, 2, &[]), &older), Err(NotFollowed::Older { shown: 1, known: 3 }));
    let from_before = keys(0, 1, 1, &[]);
    assert_eq!(follow(NAME, &keys(1, 2, 1, &[1]), &from_before), Err(NotFollowed::Older { shown: 0, known: 1 }));
}

/// proves: C16, C19
#[test]
fn a_gateway_that_lies_is_not_followed() {
    let known = keys(1, 2, 1, &[1]);
    let full = keys(3, 3, 2, &[2, 1]);
    let cut = |from: usize, to: usize| chain()[from..to].to_vec();
    let foreign = state("another", keys(2, 2, 2, &[]), Timestamp(5), "sig-2", &signing(2));
    let hostile = [
        ("no chain at all", full.clone()),
        ("its end is missing", with(full.clone(), cut(0, 2))),
        ("its middle is missing", with(full.clone(), vec![link(1, 2, 1, 1), link(3, 3, 2, 2)])),
        ("twice the same", with(full.clone(), vec![link(2, 2, 2, 2), link(2, 2, 2, 2), link(3, 3, 2, 2)])),
        ("out of order", with(full.clone(), vec![link(3, 3, 2, 2), link(2, 2, 2, 2)])),
        ("signed by nobody known", with(keys(2, 9, 2, &[]), vec![link(2, 9, 2, 9)])),
        ("signed by a key that has had its time", with(keys(2, 9, 2, &[]), vec![link(2, 9, 2, 1)])),
        ("under a good name", with(keys(2, 9, 2, &[]), vec![state(NAME, keys(2, 9, 2, &[]), Timestamp(5), "sig-2", &signing(9))])),
        ("a sealing key beside those stated", {
            let mut added = with(full.clone(), chain());
            added.sealing.insert(0, keys(0, 1, 8, &[]).sealing.remove(0));
            added
        }),
        ("a sealing key under the name of one stated", {
            let mut swapped = with(full.clone(), chain());
            swapped.sealing[0].key = keys(0, 1, 8, &[]).sealing.remove(0).key;
            swapped
        }),
        ("a retired key that never was", with(keys(3, 3, 2, &[2, 9]), chain())),
        ("a key in use that has ended", with(keys(3, 2, 2, &[3, 1]), chain())),
        ("the number of another epoch", with(AuthorityKeys { epoch: 2, ..full.clone() }, chain())),
        ("a number beyond the chain", with(AuthorityKeys { epoch: 4, ..full.clone() }, chain())),
        ("another authority's statement", with(keys(2, 2, 2, &[1]), vec![foreign])),
        ("a statement of another kind", {
            let other = sign_compact("counterfoil-license+jwt", "sig-2", &keys(2, 2, 2, &[]), &signing(2));
            with(keys(2, 2, 2, &[1]), vec![other])
        }),
        ("a chain without end", with(full, vec![link(2, 2, 2, 2); MAX_EPOCHS + 1])),
    ];
    for (what, shown) in hostile {
        assert_eq!(follow(NAME, &known, &shown), Err(NotFollowed::Unproven), "{what}");
    }
}

/// proves: C16
#[test]
fn every_character_of_a_statement_counts() {
    let good = link(2, 2, 2, 2);
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        let known = keys(1, 2, 1, &[]);
        assert!(follow(NAME, &known, &with(keys(2, 2, 2, &[]), vec![good.clone()])).is_ok());
        assert_eq!(follow(NAME, &known, &with(keys(2, 2, 2, &[]), vec![bad])), Err(NotFollowed::Unproven), "character {at}");
    }
}
