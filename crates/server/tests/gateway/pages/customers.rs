//! What a customer does in a browser: an account, a voucher, receipts, a statement, settings.

use super::*;

// proves: C16 C17
db_test!(c16_c17_a_customer_makes_an_account_redeems_a_voucher_and_reads_what_was_charged, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let at = public(&rig.gateway);
    let mut browser = Browser::default();
    let shown = browser.get(&at, "/account/sign-up").await;
    // Sent twice, as by an impatient finger, it is one account; somebody else does not get in with the same form.
    for _ in 0..2 {
        let made = browser.submit_from(&at, &shown, "/account/sign-up", &[("name", "Grace"), ("password", PASSWORD)]).await;
        assert_eq!(made.header("location"), "/account?done=made", "{}", text(&made));
    }
    assert_eq!(rig.db.number("SELECT count(*) FROM account WHERE name = 'grace'").await, 1);
    let stolen =
        Browser::default().submit_from(&at, &shown, "/account/sign-up", &[("name", "grace"), ("password", "another one here")]).await;
    assert_eq!(stolen.status, 422);
    assert!(text(&stolen).contains("The name is taken."));

    let code = voucher(&rig.gateway, "50.00 EUR").await;
    let page = browser.get(&at, "/account").await;
    for _ in 0..2 {
        let redeemed = browser.submit_from(&at, &page, "/account/vouchers", &[("code", &code)]).await;
        assert_eq!(redeemed.header("location"), "/account?done=voucher", "{}", text(&redeemed));
    }
    assert!(text(&browser.get(&at, "/account").await).contains("50.00 EUR"));
    assert_eq!(rig.db.number("SELECT count(*) FROM posting WHERE kind = 'voucher'").await, 1);
    let wrong = browser.submit_from(&at, &page, "/account/vouchers", &[("code", "nonsense")]).await;
    assert_eq!(wrong.status, 422);
    assert!(text(&wrong).contains("role=\"alert\"") && text(&wrong).contains("value=\"nonsense\""));

    // What the terminal buys is charged to the account that it is signed in to.
    let token = rig.post("/v1/accounts/sign-in", "", &serde_json::json!({ "name": "grace", "password": PASSWORD })).await.expect(200);
    let claiming = crate::through::Claiming { token: Some(token["token"].as_str().unwrap().to_owned()), ..rig.claiming(0) };
    claiming.answered(Some("1999 EUR")).await;
    let receipt = format!("/account/exchanges/{}", claiming.id());
    assert!(text(&browser.get(&at, "/account/exchanges").await).contains(&receipt));
    let shown = text(&browser.get(&at, &receipt).await);
    for part in ["19.99 EUR", "sky-raider", "pst-", "grace", "charged"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let statement = text(&browser.get(&at, "/account/statement").await);
    for part in ["50.00", "-19.99", "30.01"] {
        assert!(statement.contains(part), "{part}: {statement}");
    }
    let before = browser.get(&at, "/account/statement?period=2020-01").await;
    assert!(text(&before).contains("0.00") && !text(&before).contains("19.99"));
    assert_eq!(browser.get(&at, "/account/statement?period=nonsense").await.status, 200);

    // Nobody else sees it, or learns that it is there.
    let mut other = ada(&at).await;
    assert_eq!(other.get(&at, &receipt).await.status, 404);
    let gone = browser.submit(&at, "/account", "/account/sign-out", &[]).await;
    assert_eq!(gone.header("location"), "/account/sign-in?done=out");
    assert!(browser.cookies.is_empty());
    assert!(browser.get(&at, &receipt).await.header("location").starts_with("/account/sign-in?next="));
    rig.gone().await;
});

// proves: C16
db_test!(c16_a_browser_is_let_in_by_a_cookie_that_is_no_token_and_ends_with_the_password, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let at = public(&rig.gateway);
    let mut browser = ada(&at).await;
    let (name, value) = browser.cookies[0].clone();
    assert_eq!(name, "counterfoil-gateway");
    assert_eq!(rig.get("/v1/account", &value).await.code(), "account_needed", "a cookie is no bearer token");
    let mut forged = Browser { cookies: vec![(name, rig.token.clone())] };
    assert_eq!(forged.get(&at, "/account").await.status, 303, "a terminal's token is no cookie");
    let mut second = ada(&at).await;
    let page = browser.get(&at, "/account/settings").await;
    assert_eq!(page.header("content-security-policy"), counterfoil_server::web::POLICY.to_str().unwrap());
    assert_eq!(page.header("cache-control"), "no-store");

    let change = |password: &'static str, new: &'static str| [("password", password), ("new", new)];
    let path = "/account/settings/password";
    let wrong = browser.submit_from(&at, &page, path, &change("a wrong one", "nine brass buttons")).await;
    assert_eq!(wrong.status, 422);
    let short = browser.submit_from(&at, &page, path, &change("correct horse", "short")).await;
    assert_eq!(short.status, 422);
    let done = browser.submit_from(&at, &page, path, &change("correct horse", "nine brass buttons")).await;
    assert_eq!(done.header("location"), "/account/settings?done=password", "{}", text(&done));
    assert_eq!(browser.get(&at, "/account").await.status, 200, "this browser stays in");
    assert_eq!(second.get(&at, "/account").await.status, 303, "every other is out");
    assert_eq!(rig.get("/v1/account", &rig.token).await.status, 401, "and so is every terminal");

    // Another browser's session is ended, and one's own.
    let signed = second.submit(&at, "/account/sign-in", "/account/sign-in", &[("name", "ada"), ("password", "nine brass buttons")]).await;
    assert_eq!(signed.status, 303);
    let page = browser.get(&at, "/account/settings").await;
    assert_eq!(text(&page).matches("action=\"/account/settings/sessions\"").count(), 2);
    let shown = text(&page);
    let forms = shown.split("<form").filter(|form| form.contains("action=\"/account/settings/sessions\""));
    let (own, others): (Vec<&str>, Vec<&str>) = forms.partition(|form| form.contains("this browser"));
    for form in others.into_iter().chain(own) {
        let id = form.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        browser.submit_from(&at, &page, "/account/settings/sessions", &[("id", id)]).await;
    }
    assert_eq!(second.get(&at, "/account").await.status, 303);
    assert_eq!(browser.get(&at, "/account").await.status, 303);
    assert_eq!(rig.db.number("SELECT count(*) FROM account_token WHERE kind = 'browser'").await, 0);
    rig.gone().await;
});

// Closed to the public, or behind TLS.
db_test!(accounts_are_made_only_where_that_is_open_and_cookies_are_strict_behind_tls, async |db: TestDb| {
    let rig = with(Rig::new(&db, 1, 0).await, |config| {
        config.accounts.open = false;
        config.server.public_urls = vec!["https://north.example".to_owned()];
    })
    .await;
    let at = public(&rig.gateway);
    let mut browser = Browser::default();
    assert_eq!(browser.get(&at, "/account/sign-up").await.status, 403);
    assert!(!text(&browser.get(&at, "/account/sign-in").await).contains("/account/sign-up"));
    let made = browser.post(&at, "/account/sign-up", &[("name", "eve"), ("password", PASSWORD)]).await;
    assert_eq!(made.status, 403);
    let signed = browser.post(&at, "/account/sign-in", &[("name", "ada"), ("password", "correct horse")]).await;
    let cookie = signed.header("set-cookie");
    for part in ["__Host-counterfoil-gateway=", "; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // Nobody is led elsewhere after signing in.
    let fields = [("name", "ada"), ("password", "correct horse"), ("next", "//evil.example/")];
    assert_eq!(browser.post(&at, "/account/sign-in", &fields).await.header("location"), "/account");
    rig.gone().await;
});
