//! Cards whose keys are in a token or TPM, as the server sees them (C2–C7): P-256 where others have Ed25519 and X25519.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use counterfoil_core::wire::{Claim, ClaimResult, HolderKeys, Operation, Register, RegisterDevice, RegisterResult};
use counterfoil_core::{CardId, Code, DeviceId, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::{GrantBox, GrantScope, SealedBox};
use counterfoil_format::holder::{HolderKeys as Keys, HolderPublic};
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::SystemRandom;
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey, SignError};
use serde_json::json;

use crate::support::catalogue::TestServer;
use crate::support::terminal::{self, Medium, device, envelope, exchange, media, refused, request};
use crate::support::{TestDb, db_test};

/// What a token is to the server: whoever signs and opens with these keys.
struct Token {
    pair: EcdsaKeyPair,
    sealing: SealingKey,
}

impl Ecdsa for Token {
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
        let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
        Ok(self.pair.sign_digest(&digest).unwrap().as_ref().try_into().unwrap())
    }
}

impl Token {
    fn new() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            sealing: SealingKey::generate(Kem::P256, &mut SystemRandom),
        }
    }

    fn keys(&self) -> HolderKeys {
        HolderKeys { sign: to_base64url(self.pair.public_key().as_ref()), seal: self.sealing.public_key().to_string() }
    }

    fn id(&self) -> CardId {
        id_of(&self.keys())
    }
}

fn id_of(keys: &HolderKeys) -> CardId {
    let signing: HolderVerifyingKey = keys.sign.parse().unwrap();
    CardId::from_bytes(HolderPublic { signing, sealing: keys.seal.parse().unwrap() }.id())
}

fn registration(card: HolderKeys, (id, keys): &(DeviceId, Keys)) -> Register {
    let secret = to_base64url(keys.device_secret().unwrap().expose());
    let device = RegisterDevice { id: *id, keys: terminal::public(keys), secret, name: None };
    Register { user_id: None, card: Some(card), device: Some(device), drive: None }
}

async fn register(server: &TestServer, token: &Token, device: &(DeviceId, Keys)) -> UserId {
    let asked = request(server, Operation::Register(registration(token.keys(), device)));
    let (card, name) = (token.id().to_string(), device.0.to_string());
    let proofs = [(card.as_str(), Signer::Token(token)), (name.as_str(), Signer::Key(&device.1.signing_key()))];
    let result: RegisterResult = serde_json::from_value(exchange(server, &envelope(server, &asked, &proofs)).await.unwrap()).unwrap();
    let sealed: SealedBox = serde_json::from_value(result.user).unwrap();
    let user = sealed.open(&token.sealing, &["user ID", &card]).unwrap();
    std::str::from_utf8(&user).unwrap().parse().unwrap()
}

fn claim(user: UserId, card: CardId, device: DeviceId, medium: &Medium) -> Operation {
    let (user_id, medium_id) = (user, medium.id.clone());
    Operation::Claim(Claim {
        user_id,
        medium_id,
        epoch: 1,
        card_id: Some(card),
        device_id: Some(device),
        drive_id: None,
        pay: None,
        currency: None,
    })
}

db_test!(c2_a_card_in_a_token_registers_claims_and_alone_opens_the_grant, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({ "copies": 1 })).await.remove(0);
    let (token, device) = (Token::new(), device());
    let user = register(&server, &token, &device).await;
    let (card, name) = (token.id().to_string(), device.0.to_string());
    let signing = device.1.signing_key();
    let asked = request(&server, claim(user, token.id(), device.0, &medium));
    let with = |signer| {
        [(card.as_str(), signer), (name.as_str(), Signer::Key(&signing)), (medium.id.as_str(), Signer::ClaimSecret(&medium.secret))]
    };

    // Signed by another token, or by a key of the other kind, under the card's name.
    let (other, file) = (Token::new(), terminal::card().signing_key());
    for signer in [Signer::Token(&other), Signer::Key(&file)] {
        let again = request(&server, claim(user, token.id(), device.0, &medium));
        assert_eq!(refused(exchange(&server, &envelope(&server, &again, &with(signer))).await), Code::ProofInvalid);
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 0);

    let sealed = envelope(&server, &asked, &with(Signer::Token(&token)));
    let result: ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    let grant = &result.grants[0];
    let keys: GrantBox = serde_json::from_value(grant.keys.clone()).unwrap();
    let id = grant.grant_id.to_string();
    let scope = GrantScope { title: "sky-raider", grant: &id, device: &name };
    let opened = keys.open(&token.sealing, device.1.device_secret(), &scope).unwrap();
    assert!(opened.library_key().is_ok() && opened.content_key().unwrap().is_some());
    assert!(keys.open(&other.sealing, device.1.device_secret(), &scope).and_then(|open| open.library_key()).is_err());
    // The signature differs each time, and the request is the same: one grant.
    let repeated = envelope(&server, &asked, &with(Signer::Token(&token)));
    assert_ne!(repeated, sealed);
    exchange(&server, &repeated).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 1);
});

db_test!(c2_keys_that_no_card_has_are_refused_before_anything_is_written, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (token, device, file) = (Token::new(), device(), terminal::card());
    let of_file = terminal::public(&file);
    let nowhere = to_base64url(&[&[4][..], &[1; 64]].concat());
    let signing = device.1.signing_key();
    let cases = [
        // One key of each kind.
        HolderKeys { seal: of_file.seal.clone(), ..token.keys() },
        HolderKeys { sign: of_file.sign.clone(), ..token.keys() },
        // A point that is not on the curve: nothing can be sealed to it.
        HolderKeys { seal: nowhere.clone(), ..token.keys() },
        HolderKeys { sign: nowhere, ..token.keys() },
    ];
    for keys in cases {
        let (card, name) = (id_of(&keys).to_string(), device.0.to_string());
        let by_file = file.signing_key();
        let signer = if keys.sign == of_file.sign { Signer::Key(&by_file) } else { Signer::Token(&token) };
        let proofs = [(card.as_str(), signer), (name.as_str(), Signer::Key(&signing))];
        let asked = request(&server, Operation::Register(registration(keys.clone(), &device)));
        assert_eq!(refused(exchange(&server, &envelope(&server, &asked, &proofs)).await), Code::ProofInvalid, "{keys:?}");
    }
    // A device has its keys in a file.
    let mut register = registration(of_file, &device);
    register.device.as_mut().unwrap().keys = token.keys();
    let (card, name) = (CardId::from_bytes(file.public().id()).to_string(), device.0.to_string());
    let by_card = file.signing_key();
    let proofs = [(card.as_str(), Signer::Key(&by_card)), (name.as_str(), Signer::Token(&token))];
    let asked = request(&server, Operation::Register(register));
    assert_eq!(refused(exchange(&server, &envelope(&server, &asked, &proofs)).await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM holder").await, 0);
});
