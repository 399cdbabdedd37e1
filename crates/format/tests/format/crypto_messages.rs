//! The bytes of the specification: keys and messages that another implementation made from its text, read here.

use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::envelope::Envelope;
use counterfoil_format::grant::{self, GrantBox, GrantScope, HardwareBinding, SealedBox};
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::hpke::{Kem, SealingKey};
use counterfoil_format::jws::Verifier;
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::wrap::{self, Kek, RowId};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/crypto/messages.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = text(value);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn secret(value: &Value) -> Secret<32> {
    Secret::from_slice(&bytes(value)).unwrap()
}

#[test]
fn key_file() {
    let v = &vectors()["key_file"];
    let keys = HolderKeys::parse(v["file"].to_string().as_bytes()).unwrap();
    assert_eq!(keys.public().id()[..], bytes(&v["id"]));
    assert_eq!(serde_json::from_slice::<Value>(&keys.to_json()).unwrap(), v["file"]);
}

#[test]
fn claim_secrets() {
    let cases = vectors()["claim_secrets"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 3);
    for v in &cases {
        let found = ClaimSecretKey::new(secret(&v["key"])).derive(text(&v["medium"]), number(&v["epoch"]));
        assert!(found == secret(&v["secret"]), "{v}");
    }
}

#[test]
fn wrapped_secret() {
    let v = &vectors()["wrapped"];
    let kek = Kek { purpose: text(&v["purpose"]).to_owned(), version: number(&v["kek_version"]), key: secret(&v["kek"]) };
    let key: Vec<&str> = v["key"].as_array().unwrap().iter().map(text).collect();
    let row = RowId { table: text(&v["table"]), key: &key, column: text(&v["column"]), version: number(&v["row_version"]) };
    assert_eq!(*wrap::unwrap(&kek, &row, &bytes(&v["wrapped"])).unwrap(), bytes(&v["secret"]));
}

#[test]
fn boxes() {
    let cases = vectors()["boxes"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 2);
    for v in &cases {
        let kem = if v["kem"] == "x" { Kem::X25519 } else { Kem::P256 };
        let key = SealingKey::from_private(kem, &secret(&v["private"])).unwrap();
        let purpose: Vec<&str> = v["purpose"].as_array().unwrap().iter().map(text).collect();
        let sealed: SealedBox = serde_json::from_value(v["box"].clone()).unwrap();
        assert_eq!(*sealed.open(&key, &purpose).unwrap(), bytes(&v["plaintext"]));
        assert_eq!(serde_json::to_value(&sealed).unwrap(), v["box"]);
    }
}

#[test]
fn grants() {
    let cases = vectors()["grants"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 2);
    for v in &cases {
        let card = SealingKey::from_seed(&secret(&v["private"]));
        let device_secret = v["device_secret"].is_string().then(|| secret(&v["device_secret"]));
        let scope = GrantScope { title: text(&v["title"]), grant: text(&v["grant"]), device: text(&v["device"]) };
        let sealed: GrantBox = serde_json::from_value(v["box"].clone()).unwrap();
        let open = sealed.open(&card, device_secret.as_ref(), &scope).unwrap();
        assert!(open.library_key().unwrap() == secret(&v["library_key"]));
        assert!(open.content_key().unwrap() == Some(secret(&v["content_key"])));
        assert_eq!(serde_json::to_value(&sealed).unwrap(), v["box"]);
    }
}

#[test]
fn binding() {
    let v = &vectors()["binding"];
    let binding = HardwareBinding { device_id: Some(text(&v["device_id"]).to_owned()), drive_id: Some(text(&v["drive_id"]).to_owned()) };
    assert_eq!(grant::open_binding(&secret(&v["library_key"]), text(&v["binding"])), Ok(binding));
}

#[test]
fn envelope() {
    let v = &vectors()["envelope"];
    let envelope = Envelope::parse(v["envelope"].to_string().as_bytes()).unwrap();
    let (request, _) = envelope.open(&SealingKey::from_seed(&secret(&v["authority"]))).unwrap();
    assert_eq!(request.payload, text(&v["payload"]).as_bytes());
    request.verify("dev-1", Verifier::Key(&text(&v["signing_key"]).parse().unwrap())).unwrap();
    request.verify("MED-0001", Verifier::ClaimSecret(&secret(&v["claim_secret"]))).unwrap();
}

#[test]
fn answers() {
    let cases = vectors()["answers"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 2);
    for v in &cases {
        let kem = if v["kem"] == "x" { Kem::X25519 } else { Kem::P256 };
        let envelope = Envelope::parse(v["envelope"].to_string().as_bytes()).unwrap();
        let (_, reply) = envelope.open(&SealingKey::from_private(kem, &secret(&v["private"])).unwrap()).unwrap();
        assert!(*reply.secret() == secret(&v["secret"]));
        assert_eq!(reply.open(text(&v["sealed"])).as_deref(), Ok(text(&v["answer"])));
        // The nonce of the vector gives the bytes of the vector.
        let nonce = from_base64url(&text(&v["sealed"])["sealed.".len()..]).unwrap()[..32].to_vec();
        assert_eq!(reply.seal(text(&v["answer"]), &mut Given(nonce)), text(&v["sealed"]));
    }
}

/// Randomness that a vector tells.
struct Given(Vec<u8>);

impl Random for Given {
    fn fill(&mut self, into: &mut [u8]) {
        into.copy_from_slice(&self.0);
    }
}
