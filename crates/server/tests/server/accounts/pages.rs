//! Buying, giving back, devices, moving, and the shop, in a browser.

use counterfoil_core::DeviceId;
use serde_json::json;

use super::browser::{Browser, ada, later, text};
use super::catalogue::{TestServer, make_token};
use super::sales::{list, sell};
use super::support::{TestDb, db_test};
use super::terminal::Terminal;
use counterfoil_server::auth::Role;

/// A second device of the user, announced in the browser and registered.
async fn second_device(server: &TestServer, browser: &mut Browser, first: &Terminal) -> Terminal {
    let mut other = Terminal::new();
    other.card = None;
    other.drive = None;
    let id = other.device_id().unwrap().to_string();
    let announced = browser.submit(server, "/devices", "/devices", &[("device_id", &id), ("name", "The laptop")]).await;
    assert_eq!(announced.header("location"), "/devices?done=announced", "{}", text(&announced));
    assert!(text(&browser.get(server, "/devices").await).contains("not registered yet"));
    other.register(server, first.user).await.unwrap();
    other
}

/// A user without a card: each device holds keys of its own.
async fn cardless(server: &TestServer) -> (Terminal, Browser) {
    let mut terminal = Terminal::new();
    terminal.card = None;
    terminal.drive = None;
    terminal.register(server, None).await.unwrap();
    let (browser, _) = Browser::sign_up(server, terminal.user.unwrap(), "grace@example.org").await;
    (terminal, browser)
}

db_test!(d2_d3_software_is_bought_for_a_device_and_given_back_in_the_browser, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "refund_days": 14 })).await;
    let (terminal, mut browser, _) = ada(&server).await;
    let device = terminal.device_id().unwrap().to_string();
    let shown = browser.get(&server, "/store/sky-raider/buy").await;
    assert_eq!(shown.status, 200, "{}", text(&shown));
    assert!(text(&shown).contains("19.99 EUR") && text(&shown).contains(&device));
    // Sent twice, as by an impatient finger, it is one order.
    let fields = [("device", device.as_str()), ("offer", "19.99 EUR")];
    let first = browser.submit_from(&server, &shown, "/store/sky-raider/buy", &fields).await;
    let second = browser.submit_from(&server, &shown, "/store/sky-raider/buy", &fields).await;
    assert_eq!((first.status.as_u16(), first.header("location")), (303, second.header("location")), "{}", text(&first));
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 1);
    let place = first.header("location").split('?').next().unwrap().to_owned();
    assert!(text(&browser.get(&server, first.header("location")).await).contains("It is yours"));
    assert!(text(&browser.get(&server, "/devices").await).contains("sky-raider"));
    // Another price than was shown is no order.
    list(&db, "sky-raider", &["29.99 EUR"], json!({})).await;
    let stale = browser.submit(&server, "/store/sky-raider/buy", "/store/sky-raider/buy", &fields).await;
    assert_eq!(stale.status, 409);
    // After a no, what was chosen stays chosen: nobody pays in another currency at the second try.
    list(&db, "sky-raider", &["29.99 EUR", "35.00 USD"], json!({})).await;
    let dollars = [("device", device.as_str()), ("offer", "35.00 USD")];
    let again = browser.submit(&server, "/store/sky-raider/buy", "/store/sky-raider/buy", &dollars).await;
    assert_eq!(again.status, 409);
    assert!(text(&again).contains("value=\"35.00 USD\" required checked"), "{}", text(&again));
    assert!(!text(&again).contains("value=\"29.99 EUR\" required checked"));
    // Nobody else sees it, or learns that it is there.
    let other = Terminal::registered(&server).await;
    let (mut stranger, _) = Browser::sign_up(&server, other.user.unwrap(), "eve@example.org").await;
    assert_eq!(stranger.get(&server, &place).await.status, 404);
    let form = text(&stranger.get(&server, "/account").await);
    let form = form.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(stranger.post(&server, &format!("{place}/refund"), &[("form", &form)]).await.status, 404);
    let theirs = [("device", device.as_str()), ("offer", "29.99 EUR"), ("form", &form), ("request", "0123456789abcdef0123456789abcdef")];
    assert_eq!(stranger.post(&server, "/store/sky-raider/buy", &theirs).await.status, 409, "not for a device of somebody else");
    let back = browser.submit(&server, &place, &format!("{place}/refund"), &[]).await;
    assert!(back.header("location").ends_with("?done=refunded"), "{}", text(&back));
    assert!(text(&browser.get(&server, "/account").await).contains("given back"));
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state <> 'ended'").await, 0);
});

db_test!(d8_a_license_is_moved_in_the_browser_after_it_was_said_what_will_happen, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["5.00 EUR"], json!({ "transfers": 2, "transfer_days": 30 })).await;
    let (terminal, mut browser) = cardless(&server).await;
    let laptop = second_device(&server, &mut browser, &terminal).await;
    let (from, to) = (terminal.device_id().unwrap().to_string(), laptop.device_id().unwrap().to_string());
    let bought =
        browser.submit(&server, "/store/sky-raider/buy", "/store/sky-raider/buy", &[("device", &from), ("offer", "5.00 EUR")]).await;
    assert_eq!(bought.status, 303, "{}", text(&bought));
    let choose = text(&browser.get(&server, &format!("/transfer?source={from}")).await);
    assert!(choose.contains("sky-raider") && choose.contains(&to) && choose.contains("Everything"), "{choose}");
    let preview = browser.get(&server, &format!("/transfer/preview?source={from}&title=sky-raider&destination={to}")).await;
    assert_eq!(preview.status, 200, "{}", text(&preview));
    assert!(text(&preview).contains("This will happen") && text(&preview).contains("never fetched it"), "{}", text(&preview));
    assert_eq!(db.number("SELECT moves FROM license").await, 0, "a preview moves nothing");
    later(&server, 1);
    for _ in 0..2 {
        let moved = browser.submit_from(&server, &preview, "/transfer", &[]).await;
        assert_eq!(moved.status, 200, "{}", text(&moved));
        assert!(text(&moved).contains("It is done"));
    }
    assert_eq!(db.number("SELECT moves FROM license").await, 1, "sent twice, moved once");
    // A device of somebody else is nobody's here.
    let other = Terminal::registered(&server).await;
    let theirs = other.device_id().unwrap();
    assert_eq!(browser.get(&server, &format!("/transfer?source={theirs}")).await.status, 404);
    let refused = browser.get(&server, &format!("/transfer/preview?source={to}&title=sky-raider&destination={theirs}")).await;
    assert_eq!(refused.status, 409);
    // Everything: the source is taken out.
    let all = browser.get(&server, &format!("/transfer/preview?source={to}&title=*&destination={from}")).await;
    assert!(text(&all).contains("will no longer be one of your devices"), "{}", text(&all));
    let moved = browser.submit_from(&server, &all, "/transfer", &[]).await;
    assert!(text(&moved).contains("is no longer one of your devices"), "{}", text(&moved));
    assert!(!text(&browser.get(&server, "/devices").await).contains(&to));
});

db_test!(d1_a_shop_registers_a_buyer_with_a_form, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let token = make_token(&server.app, Role::Shop, Some("corner-shop")).await;
    let mut shop = Browser::default();
    for wrong in ["", "cft_x", server.fox.as_str()] {
        assert_eq!(shop.post(&server, "/shop/sign-in", &[("token", wrong)]).await.status, 403);
    }
    let signed = shop.post(&server, "/shop/sign-in", &[("token", &token)]).await;
    assert_eq!(signed.header("location"), "/shop");
    assert!(signed.header("set-cookie").contains("SameSite=Strict") && !signed.header("set-cookie").contains(&token[17..]));
    let device = DeviceId::from_bytes([5; 16]).to_string();
    let shown = shop.get(&server, "/shop").await;
    let fields =
        [("name", "Ada <b>Lovelace"), ("email", "ada@example.org"), ("device_id", &device), ("maker", "Acme"), ("device_name", "desk")];
    let mut users = vec![];
    for _ in 0..2 {
        let made = shop.submit_from(&server, &shown, "/shop/register", &fields).await;
        assert_eq!(made.status, 200, "{}", text(&made));
        users.push(text(&made).split("<strong class=\"code\">").nth(1).unwrap().split('<').next().unwrap().to_owned());
    }
    assert_eq!(users[0], users[1], "a form that is sent twice registers once");
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 1);
    // With the user ID, the buyer makes an account before any device has registered.
    let (mut buyer, _) = Browser::sign_up(&server, users[0].parse().unwrap(), "ada@example.org").await;
    let page = text(&buyer.get(&server, "/account").await);
    assert!(page.contains("Ada") && !page.contains("<b>"), "names are text");
    assert!(text(&buyer.get(&server, "/devices").await).contains("desk"));
    let wrong = shop.submit(&server, "/shop", "/shop/register", &[("name", "X"), ("device_id", "dev-1")]).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(shop.post(&server, "/shop/register", &[("name", "X"), ("device_id", &device)]).await.status, 403, "no form of this shop");
    // A token that is taken back ends the shop's session as well.
    db.run("UPDATE token SET revoked_at = 1 WHERE role = 'shop'").await;
    assert!(text(&shop.get(&server, "/shop").await).contains("Token"));
});
