//! What a gateway gets to see (C16): account, card, title and price; never user ID, medium ID or keys. And what is passed through.

use counterfoil_format::encoding::to_base64url;

use super::*;
use crate::support::{Engine, TestDb, db_test, on};

/// Whether any of these byte strings stands in the text, in any form that it could be written in.
fn leaks<'a>(where_: &[u8], secrets: &'a [(&'static str, Vec<u8>)]) -> Vec<&'a str> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    let found = |needle: &[u8]| where_.windows(needle.len()).any(|window| window == needle);
    let any = |bytes: &Vec<u8>| found(bytes) || found(&hex(bytes)) || found(to_base64url(bytes).as_bytes());
    secrets.iter().filter(|(_, bytes)| any(bytes)).map(|(name, _)| *name).collect()
}

// proves: C16
#[test]
fn c16_a_gateway_sees_account_card_and_price_and_nothing_of_whose_it_is() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let rig = Rig::new(&db, 1, 5000).await;
            let claiming = rig.claiming(0);
            let mut seen = Vec::new();
            let (envelope, _) = rig.terminal.sealed_with_reply(&rig.private.server, &claiming.request, Some(&rig.media[0]));
            seen.extend(envelope.to_json());
            seen.extend(claiming.send_as(envelope.to_json(), None).await.body);
            let (answer, reply) = claiming.send(Some("1999 EUR")).await;
            seen.extend(&answer.body);
            let granted = outcome(&rig, &answer.json(), &reply);
            let Outcome::Result(result) = &granted else { panic!("{granted:?}") };
            let result: counterfoil_core::wire::ClaimResult = serde_json::from_value(result.clone()).unwrap();
            let (library, content) = rig.terminal.open(&result.grants[0]);
            // The whole database, journal included, as the operator of the gateway has it on disk.
            for file in ["test.db", "test.db-wal"] {
                seen.extend(std::fs::read(rig.db.path().with_file_name(file)).unwrap_or_default());
            }
            let user = rig.terminal.user.unwrap();
            let secrets: Vec<(&'static str, Vec<u8>)> = vec![
                ("user ID", user.to_string().into_bytes()),
                ("user ID, raw", user.as_bytes().to_vec()),
                ("medium ID", rig.media[0].id.as_str().as_bytes().to_vec()),
                ("claim secret", rig.media[0].secret.expose().to_vec()),
                ("library key", library.expose().to_vec()),
                ("content key", content.expose().to_vec()),
                ("grant", result.grants[0].grant_id.to_string().into_bytes()),
                ("device", rig.terminal.device_id().unwrap().to_string().into_bytes()),
            ];
            assert!(seen.len() > 10_000, "{} bytes are too few to prove anything", seen.len());
            assert_eq!(leaks(&seen, &secrets), Vec::<&str>::new());
            // It does see what it is told, and a leak would be found.
            let card = [("card", rig.terminal.card_id().unwrap().to_string().into_bytes())];
            assert_eq!(leaks(&seen, &card), ["card"]);
            for (name, bytes) in &secrets {
                let mut planted = seen.clone();
                planted.extend(to_base64url(bytes).into_bytes());
                assert!(leaks(&planted, &secrets).contains(name), "{name}");
            }
            rig.gone().await;
        },
    );
}

// proves: C16
db_test!(c16_what_terminals_need_is_passed_through_with_the_gateways_own_address, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let document = rig.get("/.well-known/counterfoil", "").await;
    assert_eq!(document.header("cache-control"), "public, max-age=60");
    let document = document.expect(200);
    assert_eq!((&document["urls"], &document["license_urls"]), (&json!(rig.gateway.urls), &json!([])));
    assert_eq!(document["name"], "test.example");
    assert!(!document.to_string().contains("https://test.example"));
    assert_eq!(rig.get("/.well-known/jwks.json", "").await.status, 200);
    assert_eq!(rig.get("/v1/store/titles", "").await.status, 200);
    assert_eq!(rig.get("/v1/users", "").await.status, 404, "what is not for terminals is not passed through");
    assert_eq!(rig.get("/v1/gateway/prices", "").await.status, 404);
    let object = std::fs::read_dir(rig.private.server.contents()).unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (entry.path().is_file() && name.len() > 40).then_some(name)
    });
    if let Some(object) = object {
        let request = HttpRequest::get(format!("/contents/{object}")).header("range", "bytes=0-0").body(Body::empty()).unwrap();
        let part = rig.send(request).await;
        assert_eq!((part.status.as_u16(), part.body.len()), (206, 1));
    }
    rig.gone().await;
});

// proves: C16
db_test!(c16_a_gateway_that_has_ended_is_let_in_no_more_and_a_certificate_renews_itself, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    assert!(!rig.gateway.authority.look_after().await.unwrap(), "it is not due yet");
    let before = std::fs::read(&rig.config.authority.identity_file).unwrap();
    rig.later(21 * counterfoil_core::Timestamp::DAY);
    assert!(rig.gateway.authority.look_after().await.unwrap());
    let after = std::fs::read(&rig.config.authority.identity_file).unwrap();
    assert_ne!(before, after);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&rig.config.authority.identity_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1), "by the new certificate");
    // Past its end, nobody is let in, and nothing is charged.
    rig.later(31 * counterfoil_core::Timestamp::DAY);
    assert_eq!(rig.claiming(0).send(Some("1999 EUR")).await.0.code(), "authority_unavailable");
    // Enrolled again, it goes on without a restart.
    let token = EnrolToken::parse(&rig.private.token(&rig.gateway_id).await).unwrap();
    // The listener's own certificate has ended as well, and is renewed by itself within seconds of the clock's jump; here at once.
    rig.private.listener.renew(&rig.private.server.app).await.unwrap();
    client::enrol(&rig.config.authority, &token, &rig.private.server.app.clock).await.unwrap();
    assert!(!rig.gateway.authority.look_after().await.unwrap());
    assert_eq!(rig.claiming(0).send(None).await.0.status, 200);
    rig.private.end(&rig.gateway_id).await;
    assert_eq!(rig.claiming(0).send(None).await.0.code(), "authority_unavailable");
    rig.gone().await;
});
