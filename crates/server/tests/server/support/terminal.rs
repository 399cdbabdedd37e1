//! A terminal without a disk: holders of keys in memory that sign, seal and open what goes to and comes from a [`TestServer`].

use axum::http::Method;
use counterfoil_core::wire::{
    Answer, Claim, ClaimResult, Confirm, GrantDocument, IdentityArea, IdentityClaims, Operation, Outcome, Register, RegisterDevice,
    RegisterDrive, RegisterResult, Request,
};
use counterfoil_core::{CardId, Code, DeviceId, DriveId, MediumId, Refusal, RequestId, Timestamp, UserId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::envelope::{ANSWER_TYP, Envelope, ReplyKey, seal};
use counterfoil_format::grant::{GrantBox, GrantScope, SealedBox};
use counterfoil_format::holder::{self, HolderKeys};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::jws::{Signer, verify_compact};
use counterfoil_format::secret::{Secret, SystemRandom};
use serde_json::{Value, json};

use super::catalogue::{Answer as HttpAnswer, TestServer, json_request};

/// A medium, as whoever holds it in the hand has it.
#[derive(Clone)]
pub struct Medium {
    pub id: MediumId,
    pub secret: Secret<32>,
}

/// Publishes a title and presses media with it, through the API.
pub async fn media(server: &TestServer, title: &str, count: i64, rights: Value) -> Vec<Medium> {
    super::catalogue::publish(server, "blue-fox", title, "1.0").await;
    press(server, title, count, rights).await
}

/// Media of one more batch of a title that is published.
pub async fn press(server: &TestServer, title: &str, count: i64, rights: Value) -> Vec<Medium> {
    let body = json!({ "titles": [{ "title": title }], "count": count, "rights": rights });
    let batch = server.post(&server.fox, "/v1/batches", &body).await.expect(201);
    let path = format!("/v1/batches/{}/identities?from=1&count={count}", batch["batch"].as_str().unwrap());
    let lines = server.get(&server.fox, &path).await;
    assert_eq!(lines.status, 200);
    pressed(server, &lines.body)
}

/// Media by their identities, a line each.
pub fn pressed(server: &TestServer, identities: &[u8]) -> Vec<Medium> {
    let lines = std::str::from_utf8(identities).unwrap();
    lines.lines().map(|line| medium(server, &serde_json::from_str(line).unwrap())).collect()
}

fn medium(server: &TestServer, area: &IdentityArea) -> Medium {
    let claims: IdentityClaims =
        verify_compact(&area.identity, "counterfoil-identity+jwt", |kid| server.app.keys.verifying_key(kid)).unwrap();
    Medium { id: claims.medium_id, secret: Secret::from_slice(&from_base64url(&area.claim_secret).unwrap()).unwrap() }
}

/// One device with a card in it and a drive beside it.
pub struct Terminal {
    pub card: Option<HolderKeys>,
    pub device: Option<(DeviceId, HolderKeys)>,
    pub drive: Option<(DriveId, Option<HolderKeys>)>,
    pub user: Option<UserId>,
}

impl Terminal {
    /// With card, device and drive, all of them new.
    pub fn new() -> Self {
        Self { card: Some(card()), device: Some(device()), drive: Some((DriveId::from_bytes(random()), None)), user: None }
    }

    pub fn card_id(&self) -> Option<CardId> {
        self.card.as_ref().map(|keys| CardId::from_bytes(keys.public().id()))
    }

    pub fn device_id(&self) -> Option<DeviceId> {
        self.device.as_ref().map(|(id, _)| *id)
    }

    pub fn drive_id(&self) -> Option<DriveId> {
        self.drive.as_ref().map(|(id, _)| *id)
    }

    /// Who holds the keys of this entry, and under which name it signs.
    pub fn holder(&self) -> (String, &HolderKeys) {
        match (&self.card, &self.device, &self.drive) {
            (Some(keys), ..) => (self.card_id().unwrap().to_string(), keys),
            (_, Some((id, keys)), _) => (id.to_string(), keys),
            (_, _, Some((id, Some(keys)))) => (id.to_string(), keys),
            _ => panic!("nobody holds keys"),
        }
    }

    pub fn register_operation(&self, user_id: Option<UserId>) -> Operation {
        Operation::Register(Register {
            user_id,
            card: self.card.as_ref().map(public),
            device: self.device.as_ref().map(|(id, keys)| RegisterDevice {
                id: *id,
                keys: public(keys),
                secret: to_base64url(keys.device_secret().unwrap().expose()),
                name: Some("a desk".to_owned()),
            }),
            drive: self.drive.as_ref().map(|(id, keys)| RegisterDrive { id: *id, keys: keys.as_ref().map(public) }),
        })
    }

    pub fn claim_operation(&self, medium: &Medium) -> Claim {
        Claim {
            user_id: self.user.unwrap_or(UserId::from_bytes([9; 16])),
            medium_id: medium.id.clone(),
            epoch: 1,
            card_id: self.card_id(),
            device_id: self.device_id(),
            drive_id: self.drive_id(),
            pay: None,
            currency: None,
        }
    }

    /// A request signed by everything that this terminal has, and by the medium where there is one.
    pub fn sealed(&self, server: &TestServer, request: &Request, medium: Option<&Medium>) -> Vec<u8> {
        self.sealed_with_reply(server, request, medium).0.to_json()
    }

    /// The same, and what opens a sealed answer to it.
    pub fn sealed_with_reply(&self, server: &TestServer, request: &Request, medium: Option<&Medium>) -> (Envelope, ReplyKey) {
        let keys: Vec<(String, counterfoil_format::sign::SigningKey)> = [
            self.card.as_ref().map(|keys| (self.card_id().unwrap().to_string(), keys.signing_key())),
            self.device.as_ref().map(|(id, keys)| (id.to_string(), keys.signing_key())),
            self.drive.as_ref().and_then(|(id, keys)| Some((id.to_string(), keys.as_ref()?.signing_key()))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut proofs: Vec<(&str, Signer<'_>)> = keys.iter().map(|(kid, key)| (kid.as_str(), Signer::Key(key))).collect();
        proofs.extend(medium.map(|medium| (medium.id.as_str(), Signer::ClaimSecret(&medium.secret))));
        sealed(server, request, &proofs)
    }

    pub async fn ask(&self, server: &TestServer, operation: Operation, medium: Option<&Medium>) -> Result<Value, Refusal> {
        exchange(server, &self.sealed(server, &request(server, operation), medium)).await
    }

    /// Registers, and keeps the user ID that was sealed to the holder.
    pub async fn register(&mut self, server: &TestServer, user_id: Option<UserId>) -> Result<RegisterResult, Refusal> {
        let result: RegisterResult = serde_json::from_value(self.ask(server, self.register_operation(user_id), None).await?).unwrap();
        let (kid, keys) = self.holder();
        let sealed: SealedBox = serde_json::from_value(result.user.clone()).unwrap();
        let opened = sealed.open(&keys.sealing_key(), &["user ID", &kid]).unwrap();
        self.user = Some(std::str::from_utf8(&opened).unwrap().parse().unwrap());
        Ok(result)
    }

    pub async fn claim(&self, server: &TestServer, medium: &Medium) -> Result<Vec<GrantDocument>, Refusal> {
        let operation = Operation::Claim(self.claim_operation(medium));
        let result: ClaimResult = serde_json::from_value(self.ask(server, operation, Some(medium)).await?).unwrap();
        Ok(result.grants)
    }

    pub fn confirm_operation(&self, medium: &Medium, grants: &[GrantDocument]) -> Operation {
        let grant_ids = grants.iter().map(|grant| grant.grant_id).collect();
        Operation::Confirm(Confirm {
            user_id: self.user.unwrap(),
            medium_id: Some(medium.id.clone()),
            grant_ids,
            device_id: self.device_id(),
        })
    }

    pub async fn confirm(&self, server: &TestServer, medium: &Medium, grants: &[GrantDocument]) -> Result<Value, Refusal> {
        self.ask(server, self.confirm_operation(medium, grants), None).await
    }

    /// Library key and content key of a grant.
    pub fn open(&self, grant: &GrantDocument) -> (Secret<32>, Secret<32>) {
        let sealed: GrantBox = serde_json::from_value(grant.keys.clone()).unwrap();
        let (id, device) = (grant.grant_id.to_string(), self.device_id().map(|id| id.to_string()).unwrap_or_default());
        let scope = GrantScope { title: grant.title.as_str(), grant: &id, device: &device };
        let secret = self.device.as_ref().filter(|_| grant.with_device).map(|(_, keys)| keys.device_secret().unwrap());
        let (_, keys) = self.holder();
        let sealing = keys.sealing_key();
        let open = sealed.open(&sealing, secret, &scope).unwrap();
        (open.library_key().unwrap(), open.content_key().unwrap().unwrap())
    }

    /// A registered terminal.
    pub async fn registered(server: &TestServer) -> Self {
        let mut terminal = Self::new();
        terminal.register(server, None).await.unwrap();
        terminal
    }
}

pub fn card() -> HolderKeys {
    HolderKeys::generate(holder::HolderKind::Card, &mut SystemRandom)
}

pub fn device() -> (DeviceId, HolderKeys) {
    (DeviceId::from_bytes(random()), HolderKeys::generate(holder::HolderKind::Device, &mut SystemRandom))
}

pub fn random() -> [u8; 16] {
    let secret: Secret<16> = Secret::random(&mut SystemRandom);
    *secret.expose()
}

pub fn public(keys: &HolderKeys) -> counterfoil_core::wire::HolderKeys {
    let public = keys.public();
    counterfoil_core::wire::HolderKeys { sign: public.signing.to_string(), seal: public.sealing.to_string() }
}

pub fn request(server: &TestServer, operation: Operation) -> Request {
    let (request_id, issued_at) = (RequestId(uuid::Uuid::from_bytes(random())), server.app.clock.now());
    Request { request_id, issued_at, refreshable: false, seal_answer: false, by_gateway: false, operation }
}

pub fn envelope(server: &TestServer, request: &Request, proofs: &[(&str, Signer<'_>)]) -> Vec<u8> {
    sealed(server, request, proofs).0.to_json()
}

/// The envelope, and what opens a sealed answer to it.
pub fn sealed(server: &TestServer, request: &Request, proofs: &[(&str, Signer<'_>)]) -> (Envelope, ReplyKey) {
    let keys = server.app.keys.document(server.app.clock.now());
    let sealing = &keys.sealing[0];
    let key: SealingPublicKey = sealing.key.parse().unwrap();
    seal(&serde_json::to_vec(request).unwrap(), proofs, &sealing.kid, &key, &mut SystemRandom).unwrap()
}

/// Sends an envelope as it is.
pub async fn send(server: &TestServer, envelope: &[u8]) -> HttpAnswer {
    let body: Value = serde_json::from_slice(envelope).unwrap_or(Value::Null);
    server.send(json_request(Method::POST, "/v1/terminal/exchange", "", &body)).await
}

/// Sends an envelope and verifies the answer by the published keys.
pub async fn exchange(server: &TestServer, envelope: &[u8]) -> Result<Value, Refusal> {
    answer(server, send(server, envelope).await).outcome_result()
}

pub fn answer(server: &TestServer, http: HttpAnswer) -> Answer {
    let body = http.expect(200);
    let keys = server.app.keys.key_list();
    verify_compact(body["answer"].as_str().unwrap(), ANSWER_TYP, |kid| keys.find(kid)?.verifying_key()).unwrap()
}

pub trait OutcomeResult {
    fn outcome_result(self) -> Result<Value, Refusal>;
}

impl OutcomeResult for Answer {
    fn outcome_result(self) -> Result<Value, Refusal> {
        match self.outcome {
            Outcome::Result(value) => Ok(value),
            Outcome::Refusal(refusal) => Err(refusal),
        }
    }
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Code {
    result.expect_err("this must be refused").code
}

pub const DAY: i64 = Timestamp::DAY;
