//! Who is let in at the private listener, and how whoever is revoked is cut off.

use counterfoil_core::wire::EnrolToken;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{PATIENCE, Private, TrustsAll, asked_for, pin, said};
use crate::support::terminal::{Terminal, request};
use crate::support::{TestDb, db_test};
use serde_json::json;

const ROUTES: [&str; 8] = [
    "/v1/gateway/reconcile",
    "/v1/gateway/refunds?since=0",
    "/v1/gateway/prices",
    "/v1/gateway/statement?period=2026-01",
    "/v1/gateway/exchanges",
    "/.well-known/counterfoil",
    "/v1/store/titles",
    "/contents/0000",
];

db_test!(c16_nobody_without_a_certificate_gets_further_than_enrolment, async |db: TestDb| {
    let private = Private::new(&db).await;
    let stranger = private.stranger();
    for path in ROUTES {
        let (status, problem) = said(stranger.get(private.url(path)).send().await.unwrap()).await.unwrap();
        assert_eq!((status, problem["code"].as_str()), (401, Some("unauthorized")), "{path}");
    }
    for path in ["/v1/gateway/renew", "/v1/gateway/exchanges", "/v1/terminal/inbox"] {
        let (status, _) = said(stranger.post(private.url(path)).json(&json!({})).send().await.unwrap()).await.unwrap();
        assert_eq!(status, 401, "{path}");
    }
    // What terminals do, and people, is not there at all.
    for path in ["/v1/terminal/exchange", "/v1/gateways", "/v1/tokens", "/account", "/metrics"] {
        assert_eq!(stranger.get(private.url(path)).send().await.unwrap().status(), 404, "{path}");
    }
    let gateway = private.enrolled("Arcade").await;
    for path in ROUTES.iter().take(7) {
        assert_eq!(gateway.get(&private, path).await.unwrap().0, 200, "{path}");
    }
});

db_test!(c16_a_certificate_of_another_authority_does_not_get_through_the_handshake, async |db: TestDb| {
    let private = Private::new(&db).await;
    let gateway = private.enrolled("Arcade").await;
    // One that says of itself what the right one says.
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, gateway.id.clone());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    let own = (vec![CertificateDer::from(own.der().to_vec())], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    let client = private.client(TrustsAll::config(Some(own)));
    assert!(client.get(private.url("/v1/gateway/prices")).send().await.is_err());
    assert_eq!(gateway.get(&private, "/v1/gateway/prices").await.unwrap().0, 200);
});

db_test!(c16_a_token_lets_one_key_in_and_the_same_key_again, async |db: TestDb| {
    let private = Private::new(&db).await;
    let id = private.made("Arcade").await;
    let token = private.token(&id).await;
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    assert_eq!(private.enrol(&token, &first).await.status(), 200);
    assert_eq!(private.enrol(&token, &first).await.status(), 200, "the answer was lost");
    let (status, problem) = said(private.enrol(&token, &second).await).await.unwrap();
    assert_eq!((status, problem["code"].as_str()), (401, Some("unauthorized")));

    // The next token takes the place of the one before; a wrong one, one that is over, and one of before its gateway was ended do nothing.
    let (old, new) = (private.token(&id).await, private.token(&id).await);
    assert_eq!(private.enrol(&old, &second).await.status(), 401);
    let mut guessed = EnrolToken::parse(&new).unwrap();
    guessed.secret[0] ^= 1;
    assert_eq!(private.enrol(&guessed.reveal(), &second).await.status(), 401);
    private.at(7);
    assert_eq!(private.enrol(&new, &second).await.status(), 401);
    private.at(6);
    assert_eq!(private.enrol(&new, &second).await.status(), 200);
    let last = private.token(&id).await;
    private.end(&id).await;
    assert_eq!(private.enrol(&last, &KeyPair::generate().unwrap()).await.status(), 401);
});

// What it had open can be brought to its end by nobody else.
db_test!(c16_a_gateway_that_was_ended_is_let_in_again_by_a_new_token_and_by_nothing_it_had, async |db: TestDb| {
    let private = Private::new(&db).await;
    let gateway = private.enrolled("Arcade").await;
    private.end(&gateway.id).await;
    assert_eq!(gateway.get(&private, "/v1/gateway/prices").await.unwrap().0, 403);
    let token = private.token(&gateway.id).await;
    assert_eq!(gateway.get(&private, "/v1/gateway/prices").await.unwrap().0, 403, "a token that nobody has used changes nothing");
    let key = KeyPair::generate().unwrap();
    assert_eq!(private.enrol(&token, &key).await.status(), 200);
    assert_eq!(private.enrol(&token, &key).await.status(), 200, "the answer was lost");
    assert_eq!(gateway.get(&private, "/v1/gateway/prices").await.unwrap().0, 401, "what was cut off stays so");
    let shown = private.server.get(&private.server.operator, &format!("/v1/gateways/{}", gateway.id)).await.expect(200);
    assert_eq!(shown["ended_at"], serde_json::Value::Null);
    private.end(&gateway.id).await;
    assert_eq!(private.enrol(&token, &key).await.status(), 401, "a token from before the end");
});

db_test!(c16_what_asks_for_a_certificate_proves_that_it_has_the_key, async |db: TestDb| {
    let private = Private::new(&db).await;
    let token = private.token(&private.made("Arcade").await).await;
    let good = asked_for(&KeyPair::generate().unwrap());
    // The line that the key stands in, of another one.
    let body = good.lines().nth(2).unwrap();
    let other = asked_for(&KeyPair::generate().unwrap()).lines().nth(2).unwrap().to_owned();
    for bad in [String::new(), "no PEM".to_owned(), good.replace(body, &other), "x".repeat(9000)] {
        let ask = json!({ "token": token, "request": bad });
        let answer = private.stranger().post(private.url("/v1/gateway/enrol")).json(&ask).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{bad}");
    }
    assert_eq!(private.enrol(&token, &KeyPair::generate().unwrap()).await.status(), 200, "the token is still good");
});

db_test!(c16_a_gateway_that_is_ended_is_cut_off_at_once_with_what_it_has_open, async |db: TestDb| {
    let private = Private::new(&db).await;
    let (gateway, other) = (private.enrolled("Arcade").await, private.enrolled("Bazaar").await);
    let terminal = Terminal::registered(&private.server).await;
    let mut ask = request(&private.server, terminal.inbox_operation(vec![]));
    let plain = terminal.sealed(&private.server, &ask, None);
    ask.seal_answer = true;
    let envelope = terminal.sealed(&private.server, &ask, None);
    let client = gateway.client(&private);
    let listen = |envelope: Vec<u8>| client.post(private.url("/v1/terminal/inbox")).body(envelope).send();
    assert_eq!(listen(plain).await.unwrap().status(), 400, "what the gateway could read is not said");
    let mut stream = listen(envelope).await.unwrap();
    assert_eq!(stream.status(), 200);
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("data: sealed."), "{first:?}");

    private.end(&gateway.id).await;
    let (status, problem) = said(client.get(private.url("/v1/gateway/prices")).send().await.unwrap()).await.unwrap();
    assert_eq!((status, problem["code"].as_str()), (403, Some("forbidden")), "the connection stands, and is good for nothing");
    let cut = tokio::time::timeout(PATIENCE, async { while let Ok(Some(_)) = stream.chunk().await {} });
    cut.await.expect("an open stream of a gateway that has ended breaks off");
    assert_eq!(other.get(&private, "/v1/gateway/prices").await.unwrap().0, 200, "nobody else is");
});

db_test!(c16_the_token_pins_what_the_listener_shows, async |db: TestDb| {
    let private = Private::new(&db).await;
    let token = private.token(&private.made("Arcade").await).await;
    let gateway = private.enrolled("Bazaar").await;
    let authority = rustls::pki_types::pem::PemObject::from_pem_slice(gateway.papers.authorities.as_bytes());
    let authority: CertificateDer<'static> = authority.unwrap();
    assert_eq!(counterfoil_server::gateways::issuer::fingerprint(&authority), pin(&token));
});
