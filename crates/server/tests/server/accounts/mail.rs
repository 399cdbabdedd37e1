//! Mail: through the outbox to a real server, and what its links do.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::Method;
use counterfoil_format::encoding::to_base64url;
use counterfoil_server::mail;

use super::browser::{Browser, EMAIL, HOST, PASSWORD, ada, later, text};
use super::catalogue::TestServer;
use super::support::smtp::MailServer;
use super::support::{TestDb, db_test};

async fn server(db: &TestDb, port: u16) -> TestServer {
    TestServer::with(db, |config| {
        config.mail.smtp_url = Some(format!("smtp://127.0.0.1:{port}").into());
        config.mail.from = Some("Test Store <no-reply@test.example>".to_owned());
    })
    .await
}

async fn deliver(server: &TestServer) -> usize {
    let relay = server.app.config.mail.relay().unwrap().unwrap();
    mail::deliver(&server.app, &relay).await.unwrap()
}

/// The path of the link in a mail.
fn link(mail: &str) -> String {
    let url = mail.split_whitespace().find(|word| word.contains("/account/link?ticket=")).unwrap_or_else(|| panic!("{mail}"));
    url.strip_prefix("https://test.example").unwrap().to_owned()
}

db_test!(addresses_are_confirmed_and_passwords_set_anew_by_mailed_links_each_once, async |db: TestDb| {
    let post = MailServer::start();
    let server = server(&db, post.port).await;
    let (_, mut browser, _) = ada(&server).await;
    assert!(text(&browser.get(&server, "/account").await).contains("not confirmed"));
    assert_eq!(deliver(&server).await, 1);
    assert_eq!(deliver(&server).await, 0, "it was taken, and is not sent again");
    let confirm = link(&post.mails()[0]);
    // A program that reads mail opens the link; that does nothing.
    Browser::default().get(&server, &confirm).await;
    assert!(text(&browser.get(&server, "/account").await).contains("not confirmed"));
    let mut anywhere = Browser::default();
    assert_eq!(anywhere.submit(&server, &confirm, "/account/link", &[]).await.header("location"), "/account?done=confirmed");
    assert!(!text(&browser.get(&server, "/account").await).contains("not confirmed"));
    assert!(text(&anywhere.get(&server, &confirm).await).contains("not good any more"), "a link is good once");

    for email in ["eve@example.org", EMAIL, "nonsense"] {
        let asked = anywhere.post(&server, "/account/forgotten", &[("email", email)]).await;
        assert!(text(&asked).contains("If there is an account"), "nobody learns who has one");
    }
    assert_eq!(deliver(&server).await, 1);
    let reset = link(&post.mails()[1]);
    later(&server, 1);
    let shown = anywhere.get(&server, &reset).await;
    assert_eq!(anywhere.submit_from(&server, &shown, "/account/link", &[("password", "short")]).await.status, 422);
    let done = anywhere.submit_from(&server, &shown, "/account/link", &[("password", "another horse battery")]).await;
    assert_eq!(done.header("location"), "/account/sign-in?done=reset");
    assert!(!browser.is_in(&server).await, "every session has ended");
    let again = anywhere.submit_from(&server, &shown, "/account/link", &[("password", "a third horse battery")]).await;
    assert_eq!(again.status, 403, "a link is good once");
    assert_eq!(anywhere.sign_in(&server, EMAIL, "another horse battery").await.status, 303);
    deliver(&server).await;
    assert!(post.mails()[2].contains("Your password was changed"));

    // An hour later, and after a newer one, a link is good no more.
    let mut links = vec![];
    for _ in 0..2 {
        anywhere.post(&server, "/account/forgotten", &[("email", EMAIL)]).await;
        deliver(&server).await;
        links.push(link(post.mails().last().unwrap()));
    }
    assert_ne!(links[0], links[1]);
    assert_eq!(anywhere.get(&server, &links[0]).await.status, 403);
    assert_eq!(anywhere.get(&server, &links[1]).await.status, 200);
    later(&server, 60 * 60_000);
    assert_eq!(anywhere.get(&server, &links[1]).await.status, 403);
});

db_test!(another_address_counts_when_its_mail_is_answered, async |db: TestDb| {
    let post = MailServer::start();
    let server = server(&db, post.port).await;
    let (_, mut browser, _) = ada(&server).await;
    deliver(&server).await;
    let fields = [("password", PASSWORD), ("email", "ada@lovelace.example")];
    let asked = browser.submit(&server, "/account/security", "/account/email", &fields).await;
    assert_eq!(asked.header("location"), "/account/security?done=email-sent");
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 303);
    deliver(&server).await;
    let mail = post.mails().remove(1);
    assert!(mail.contains("To: ada@lovelace.example"), "{mail}");
    // Somebody who reads the old mailbox asks for a new password before that.
    Browser::default().post(&server, "/account/forgotten", &[("email", EMAIL)]).await;
    deliver(&server).await;
    let reset = link(&post.mails()[2]);
    assert_eq!(Browser::default().get(&server, &reset).await.status, 200);
    let done = browser.submit(&server, &link(&mail), "/account/link", &[]).await;
    assert_eq!(done.header("location"), "/account/security?done=email");
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 403);
    assert_eq!(Browser::default().sign_in(&server, "ada@lovelace.example", PASSWORD).await.status, 303);
    assert_eq!(Browser::default().get(&server, &reset).await.status, 403, "the old mailbox opens the account no more");
    deliver(&server).await;
    assert!(post.mails()[3].contains(&format!("To: {EMAIL}")), "the old address is told");
});

/// What an authenticator answers that attests nothing: the point that P-256 begins at for a public key, which need not sign here.
fn made(challenge: &str) -> serde_json::Value {
    let hex = |text: &str| -> Vec<u8> { (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect() };
    let (x, y) = (
        hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    );
    // Flags: somebody was there, proved who it is, and this is a new key. Then counter, model and credential ID (WebAuthn Level 3 §6.1).
    let mut data = digest(&SHA256, b"test.example").as_ref().to_vec();
    data.push(0x45);
    data.extend([0; 4 + 16]);
    data.extend([&[0, 16][..], &[7; 16], &hex("a5010203262001215820"), &x, &hex("225820"), &y].concat());
    let length = u8::try_from(data.len()).unwrap();
    let attestation = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"[..], &[length], &data].concat();
    let client =
        serde_json::json!({ "type": "webauthn.create", "challenge": challenge, "origin": "https://test.example", "crossOrigin": false });
    serde_json::json!({
        "id": to_base64url(&[7; 16]), "rawId": to_base64url(&[7; 16]), "type": "public-key", "extensions": {},
        "response": { "clientDataJSON": to_base64url(client.to_string().as_bytes()), "attestationObject": to_base64url(&attestation) },
    })
}

db_test!(a_passkey_that_was_made_is_told_by_mail, async |db: TestDb| {
    let post = MailServer::start();
    let server = server(&db, post.port).await;
    let (_, mut browser, _) = ada(&server).await;
    deliver(&server).await;
    let page = text(&browser.get(&server, "/account/security").await);
    let form = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut send = async |path: &str, document: serde_json::Value| {
        let request = browser.request(Method::POST, path).header("origin", format!("https://{HOST}"));
        let request = request.header("content-type", "application/json").body(Body::from(document.to_string())).unwrap();
        let answer = browser.send(&server, request).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        serde_json::from_str::<serde_json::Value>(&text(&answer)).unwrap()
    };
    let begun = send("/account/passkeys/begin", serde_json::json!({ "form": form, "name": "Phone", "password": PASSWORD })).await;
    let credential = made(begun["options"]["publicKey"]["challenge"].as_str().unwrap());
    send("/account/passkeys", serde_json::json!({ "form": form, "kept": begun["kept"], "credential": credential })).await;
    assert_eq!(db.number("SELECT count(*) FROM passkey").await, 1);
    assert_eq!(deliver(&server).await, 1);
    assert!(post.mails()[1].contains("A passkey was made"));
});

db_test!(a_mail_waits_while_no_server_takes_it_and_keeps_nothing_else_up, async |db: TestDb| {
    // Nobody listens there.
    let server = server(&db, 9).await;
    ada(&server).await;
    assert_eq!(deliver(&server).await, 1);
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE kind = 'mail' AND attempts = 1 AND last_error IS NOT NULL").await, 1);
    assert_eq!(deliver(&server).await, 0, "it is not due");
    assert_eq!(counterfoil_server::jobs::deliver(&server.app).await.unwrap(), 0, "what goes to other families does not wait for it");
    later(&server, 2_000);
    assert_eq!(deliver(&server).await, 1);
    // When its link is no longer good, it is not sent any more.
    later(&server, 4 * counterfoil_core::Timestamp::DAY);
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE kind = 'mail'").await, 0);
});
