//! The page for whoever has lost the card, and the auditor's eye on what comes of it.

use counterfoil_core::Code;
use serde_json::{Value, json};

use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, refused};
use super::{card_keys, is_sound};
use crate::accounts::browser::{Browser, text};

const PAGE: &str = "/account/lost-card";

db_test!(c15_a_card_is_asked_for_on_the_web_without_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let (code, user) = (owner.recovery_code(&server).await.unwrap().to_string(), owner.user.unwrap().to_string());
    let mut browser = Browser::default();
    assert_eq!(browser.get(&server, PAGE).await.status.as_u16(), 200);
    let ask = async |browser: &mut Browser, user: &str, code: &str, contact: &str| {
        browser.post(&server, PAGE, &[("user_id", user), ("code", code), ("contact", contact)]).await
    };
    // Typing errors are told before anything is looked up or counted.
    let mut typed = user.clone().into_bytes();
    typed[10] = if typed[10] == b'2' { b'3' } else { b'2' };
    let typed = String::from_utf8(typed).unwrap();
    for (user, code, said) in
        [(typed.as_str(), code.as_str(), "typing error in the user ID"), (&user, &code[1..], "typing error in the recovery code")]
    {
        let answer = ask(&mut browser, user, code, "").await;
        assert_eq!(answer.status.as_u16(), 422);
        assert!(text(&answer).contains(said), "{}", text(&answer));
    }
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.recovery_refused'").await, 0);
    // Wrong ones are told alike, and what was typed is shown as text.
    let wrong = counterfoil_core::RecoveryCode::from_bytes([3; 10]).to_string();
    let nobody = counterfoil_core::UserId::from_bytes([3; 16]).to_string();
    let by_code = ask(&mut browser, &user, &wrong, "<script>alert(1)</script>").await;
    let by_user = ask(&mut browser, &nobody, &code, "<script>alert(1)</script>").await;
    assert_eq!((by_code.status.as_u16(), by_user.status.as_u16()), (403, 403));
    assert_eq!(text(&by_code).replace(&user, ""), text(&by_user).replace(&nobody, ""));
    assert!(!text(&by_code).contains("<script>") && !text(&by_code).contains(&wrong));
    let long = ask(&mut browser, &user, &code, &"x".repeat(201)).await;
    assert_eq!(long.status.as_u16(), 422);
    // From another site nothing is taken.
    let foreign = browser.request(axum::http::Method::POST, PAGE).header("origin", "https://evil.example");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body(axum::body::Body::empty()).unwrap();
    assert_eq!(browser.send(&server, foreign).await.status.as_u16(), 403);

    let asked = ask(&mut browser, &user.to_lowercase(), &code.to_lowercase(), "Ada, 555").await;
    let twice = ask(&mut browser, &user, &code, "Ada, 555").await;
    assert_eq!((asked.status.as_u16(), text(&asked)), (200, text(&twice)), "one request, however often it is sent");
    let waiting = server.get(&server.operator, "/v1/reissues").await.expect(200);
    let id = waiting["items"][0]["reissue_id"].as_str().unwrap();
    assert!(text(&asked).contains(id) && !text(&asked).contains(&code));
    assert_eq!((&waiting["items"][0]["contact"], &waiting["items"][0]["card_id"]), (&json!("Ada, 555"), &Value::Null));
    let new = owner.with_new_card();
    let body = json!({ "reissue_id": id, "card": card_keys(&new), "reason": "passport seen" });
    server.post(&server.operator, &format!("/v1/entries/{user}/reissue"), &body).await.expect(200);
    new.collect(&server).await.unwrap();
    assert_eq!(refused(owner.collect(&server).await), Code::CardUnknown);
    is_sound(&db).await;
});
