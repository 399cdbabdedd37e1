//! Certificates as they come to their end, and the authority behind them as it changes.

use counterfoil_core::Timestamp;
use counterfoil_core::wire::Enrolled;
use counterfoil_server::gateways::issuer::Issuers;
use counterfoil_server::keys::{Purpose, rotate};
use rcgen::KeyPair;
use serde_json::json;

use super::{Gateway, Private, asked_for, pin, said};
use crate::support::catalogue::NOW;
use crate::support::{TestDb, db_test};

impl Gateway {
    async fn renewed(&self, at: &Private) -> Gateway {
        let key = KeyPair::generate().unwrap();
        let ask = json!({ "request": asked_for(&key) });
        let answer = self.client(at).post(at.url("/v1/gateway/renew")).json(&ask).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let papers: Enrolled = answer.json().await.unwrap();
        Gateway { id: self.id.clone(), key, papers }
    }

    async fn is_let_in(&self, at: &Private) -> bool {
        matches!(self.get(at, "/v1/gateway/prices").await, Ok((200, _)))
    }

    /// The certificate that the listener shows.
    async fn shown(&self, at: &Private) -> Vec<u8> {
        let answer = self.client(at).get(at.url("/v1/gateway/prices")).send().await.unwrap();
        answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
    }
}

db_test!(c16_certificates_follow_one_another_without_a_gap_and_end, async |db: TestDb| {
    let private = Private::new(&db).await;
    let first = private.enrolled("Arcade").await;
    assert_eq!(first.papers.not_after, Timestamp(NOW.0 + 30 * Timestamp::DAY));
    let shown = first.shown(&private).await;
    private.listener.renew(private.app()).await.unwrap();
    assert_eq!(first.shown(&private).await, shown, "it stays for two thirds of its time");

    private.at(20);
    private.listener.renew(private.app()).await.unwrap();
    assert_ne!(first.shown(&private).await, shown, "the listener renews its own");
    let second = first.renewed(&private).await;
    assert!(first.is_let_in(&private).await && second.is_let_in(&private).await, "both are good side by side");

    private.at(31);
    private.listener.renew(private.app()).await.unwrap();
    assert!(first.get(&private, "/v1/gateway/prices").await.is_err(), "what is over does not get through the handshake");
    assert!(second.is_let_in(&private).await);
    private.at(40);
    private.listener.renew(private.app()).await.unwrap();
    private.at(51);
    assert!(!second.is_let_in(&private).await);
    // Whoever was away for so long is let in by a new token, as at first.
    let token = private.token(&first.id).await;
    assert_eq!(private.enrol(&token, &KeyPair::generate().unwrap()).await.status(), 200);
});

db_test!(c16_a_connection_does_not_outlive_its_certificate, async |db: TestDb| {
    let private = Private::new(&db).await;
    let gateway = private.enrolled("Arcade").await;
    let client = gateway.client(&private);
    let ask = || client.get(private.url("/v1/gateway/prices")).send();
    assert_eq!(ask().await.unwrap().status(), 200);
    private.at(30);
    assert_eq!(ask().await.unwrap().status(), 401, "on the connection that was opened before");
});

db_test!(c16_one_that_renews_again_and_again_has_few_certificates, async |db: TestDb| {
    let private = Private::new(&db).await;
    let mut gateway = private.enrolled("Arcade").await;
    for day in 1..=9 {
        private.at(day);
        gateway = gateway.renewed(&private).await;
    }
    assert_eq!(db.number("SELECT count(*) FROM gateway_certificate").await, 8);
    assert!(gateway.is_let_in(&private).await, "the oldest went");
});

db_test!(c16_the_issuer_is_rotated_without_a_gap_and_its_key_wrapped_anew, async |db: TestDb| {
    let private = Private::new(&db).await;
    let old = private.enrolled("Arcade").await;
    let app = private.app();
    let (pinned, id) = (private.token(&old.id).await, old.id.clone());
    Issuers::rotate(&app.db, &app.keys, &app.name, app.clock.now(), &app.rng).await.unwrap();
    private.listener.renew(app).await.unwrap();
    assert!(old.is_let_in(&private).await, "whoever knows the old one alone");
    assert_eq!(pin(&private.token(&id).await), pin(&pinned), "the old one signs until everybody has heard of the new one");

    private.at(20);
    let next = old.renewed(&private).await;
    assert_eq!(next.papers.authorities.matches("BEGIN CERTIFICATE").count(), 2);
    private.at(30);
    private.listener.renew(app).await.unwrap();
    assert!(next.is_let_in(&private).await, "by a certificate of the old one, to a listener of the new one");
    assert_ne!(pin(&private.token(&id).await), pin(&pinned));
    let last = next.renewed(&private).await;
    assert_eq!(last.papers.authorities.matches("BEGIN CERTIFICATE").count(), 1);

    // Wrapped anew with everything else under the same key.
    let root = counterfoil_server::keys::RootKey::generate(1, &mut counterfoil_server::clock::Rng::seeded(7)).reveal();
    let source = counterfoil_server::keys::RootSource::Given(root);
    let before = db.number("SELECT count(*) FROM gateway_issuer").await;
    let (_, rewrapped) = rotate::kek(&app.db, &source, &app.keys, Purpose::Authority, app.clock.now(), &app.rng).await.unwrap();
    assert!(before == 2 && rewrapped >= 4, "{before} {rewrapped}");
    let (status, _) = said(private.enrol(&private.token(&id).await, &KeyPair::generate().unwrap()).await).await.unwrap();
    assert_eq!(status, 200);
});
