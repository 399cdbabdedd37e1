//! Pages of a publisher: a listing is edited, and a medium looked up, in a browser.

use axum::body::Body;
use axum::http::{Method, Request};
use counterfoil_server::auth::Role;
use serde_json::json;

use super::{LISTING, found, text};
use crate::support::catalogue::{self, Answer, TestServer, publish, request};
use crate::support::terminal::{Terminal, media};
use crate::support::{TestDb, db_test};

/// Sends a form from one of our own pages, with the cookies of `browser`; keeps what is set.
async fn send_form(server: &TestServer, browser: &mut String, path: &str, fields: &[(&str, &str)]) -> Answer {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("origin", "https://test.example")
        .header("host", "test.example")
        .header("cookie", browser.as_str())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.join("&")))
        .unwrap();
    let answer = server.send(request).await;
    if let Some(cookie) = answer.headers.get("set-cookie") {
        *browser = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    }
    answer
}

async fn visit(server: &TestServer, browser: &str, path: &str) -> Answer {
    server.send(Request::builder().uri(path).header("cookie", browser).body(Body::empty()).unwrap()).await
}

/// The value of a field that a form carries unseen.
fn hidden(page: &str, name: &str) -> String {
    let field = page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("no {name} in {page}"));
    field.split('"').next().unwrap().to_owned()
}

db_test!(
    /// proves: D2
    d2_a_publisher_edits_a_listing_in_the_browser,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        publish(&server, "blue-fox", "sky-raider", "1.0").await;
        publish(&server, "red-owl", "night-owl", "1.0").await;
        let mut browser = String::new();
        let shop = catalogue::make_token(&server.app, Role::Shop, None).await;
        for wrong in [shop.as_str(), "cft_nonsense", &format!("{}x", server.fox), ""] {
            let refused = send_form(&server, &mut browser, "/publish/sign-in", &[("token", wrong)]).await;
            assert_eq!((refused.status.as_u16(), browser.as_str()), (403, ""), "{wrong}");
        }
        assert!(text(&visit(&server, "", "/publish/titles/sky-raider").await).contains("action=\"/publish/sign-in\""));
        let signed_in = send_form(&server, &mut browser, "/publish/sign-in", &[("token", &server.fox)]).await;
        assert_eq!((signed_in.status.as_u16(), signed_in.header("location")), (303, "/publish"));
        let cookie = signed_in.header("set-cookie");
        assert!(cookie.starts_with("__Host-") && cookie.contains("; HttpOnly; SameSite=Strict") && cookie.contains("; Secure"), "{cookie}");
        assert!(!cookie.contains(&server.fox[17..]), "the token is not in the cookie");

        let titles = text(&visit(&server, &browser, "/publish").await);
        assert!(titles.contains("/publish/titles/sky-raider") && !titles.contains("night-owl"), "{titles}");
        assert_eq!(visit(&server, &browser, "/publish/titles/night-owl").await.status, 404, "another's title");
        let page = text(&visit(&server, &browser, "/publish/titles/sky-raider").await);
        let (form, seen) = (hidden(&page, "form"), hidden(&page, "seen"));
        let path = "/publish/titles/sky-raider";
        let typed = [("form", form.as_str()), ("seen", &seen), ("summary", "<b>far</b>"), ("on_sale", "yes"), ("prices", "19.99 EUR\n500 JPY\n"), ("devices", "2")];
        let mut forged = typed;
        forged[0].1 = "AAAA";
        assert_eq!(send_form(&server, &mut browser, path, &forged).await.status, 403);
        let mut wrong = typed;
        wrong[4].1 = "19,99 EUR";
        let refused = send_form(&server, &mut browser, path, &wrong).await;
        let told = text(&refused);
        assert!(refused.status == 422 && told.contains("role=\"alert\"") && told.contains("19,99 EUR") && told.contains("&#60;b&#62;far"), "{told}");
        assert_eq!(found(&server, "").await, Vec::<String>::new());

        let saved = send_form(&server, &mut browser, path, &typed).await;
        assert!(saved.status == 200 && text(&saved).contains("Saved."), "{}", text(&saved));
        let listing = server.get(&server.fox, LISTING).await.expect(200);
        assert_eq!((&listing["summary"], &listing["policy"]["devices"], &listing["policy"]["transfers"]), (&json!("<b>far</b>"), &json!(2), &json!(3)));
        assert_eq!(found(&server, "").await, ["sky-raider"]);

        // What was opened before somebody else's change does not undo it.
        let stale = send_form(&server, &mut browser, path, &typed).await;
        assert!(stale.status == 422 && text(&stale).contains("Somebody else has changed this listing"), "{}", text(&stale));
        let mut foreign = typed;
        foreign[0].1 = &form;
        assert_eq!(send_form(&server, &mut browser, "/publish/titles/night-owl", &foreign).await.status, 404);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'title.listed'").await, 1);

        let id = server.fox.split('_').nth(1).unwrap().to_owned();
        let revoke = request(Method::DELETE, &format!("/v1/tokens/{id}"), &server.operator).body(Body::empty()).unwrap();
        assert_eq!(server.send(revoke).await.status, 204);
        assert!(text(&visit(&server, &browser, path).await).contains("action=\"/publish/sign-in\""), "a token that has ended signs nobody in");
    }
);

db_test!(
    /// proves: B7
    b7_a_publisher_sees_what_happened_to_a_medium_in_the_browser,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let medium = media(&server, "sky-raider", 2, json!({})).await.remove(0);
        Terminal::registered(&server).await.claim(&server, &medium).await.unwrap();
        let path = format!("/publish/media/{}", medium.id);
        let mut browser = String::new();
        assert!(text(&visit(&server, "", &path).await).contains("action=\"/publish/sign-in\""));
        assert!(text(&visit(&server, "", "/publish/media?medium_id=x").await).contains("action=\"/publish/sign-in\""));
        send_form(&server, &mut browser, "/publish/sign-in", &[("token", &server.fox)]).await;
        assert!(text(&visit(&server, &browser, "/publish").await).contains("action=\"/publish/media\""));
        let found = visit(&server, &browser, &format!("/publish/media?medium_id=%20{}", medium.id.to_string().to_lowercase())).await;
        assert_eq!((found.status.as_u16(), found.header("location")), (303, path.as_str()));
        let page = text(&visit(&server, &browser, &path).await);
        assert!(page.contains("Copy 1 claimed") && page.contains("First seen") && !page.contains("usr-"), "{page}");
        let unknown = visit(&server, &browser, "/publish/media/%3Cb%3E").await;
        assert!(unknown.status == 404 && text(&unknown).contains("&#60;b&#62;"), "{}", text(&unknown));
        let mut other = String::new();
        send_form(&server, &mut other, "/publish/sign-in", &[("token", &server.owl)]).await;
        assert_eq!(visit(&server, &other, &path).await.status, 404, "another's medium");
        assert!(!text(&visit(&server, &browser, &path).await).contains("role=\"alert\""));
        db.run("UPDATE audit SET event = 'medium.superseded_presented' WHERE event = 'claim.granted'").await;
        assert!(text(&visit(&server, &browser, &path).await).contains("was presented 1 time,"));
    }
);
