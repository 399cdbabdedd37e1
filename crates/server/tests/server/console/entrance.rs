//! The one-time link, the second step, and who is let in after that.

use counterfoil_server::auth::Role;
use counterfoil_server::db::{DbError, Tx};

use super::browser::{Browser, EMAIL, PASSWORD, ada, code, codes, later, text, turn_codes_on};
use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::worker::{Worker, enter, link, second_step, sign_in};

const HOUR: i64 = 60 * 60_000;

db_test!(a_link_lets_one_in_once_for_a_day_and_leads_to_a_second_step_before_anything_is_shown, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (id, link_path) = link(&server, Role::Operator, None, "Grace <b>Hopper").await;
    let shown = Browser::default().get(&server, &link_path).await;
    assert!(shown.status == 200 && text(&shown).contains("Grace &#60;b&#62;Hopper"), "{}", text(&shown));
    assert_eq!(db.number("SELECT count(*) FROM account").await, 0, "to open it does nothing");
    for (email, password, said) in [
        ("no address", PASSWORD, "no e-mail address"),
        ("grace@example.org", "short", "10 to 256"),
        ("grace@example.org", "password123", "first that others"),
    ] {
        let mut browser = Browser::default();
        let wrong = browser.submit(&server, &link_path, "/console/set-up", &[("email", email), ("password", password)]).await;
        assert!(wrong.status == 422 && text(&wrong).contains(said), "{}", text(&wrong));
    }
    let (mut browser, done) = enter(&server, &link_path, "Grace@Example.org").await;
    assert_eq!(done.header("location"), "/console/second-step", "{}", text(&done));
    for path in ["/console", "/console/titles", "/console/security", "/console/search?q=x"] {
        assert_eq!(browser.get(&server, path).await.header("location"), "/console/second-step", "{path}: nothing before the second step");
    }
    // Signing in with the password alone leads no further.
    let mut other = Browser::default();
    assert_eq!(sign_in(&server, &mut other, "grace@example.org", PASSWORD).await.header("location"), "/console/second-step");
    assert_eq!(other.get(&server, "/console").await.header("location"), "/console/second-step");
    let before = browser.cookies[0].1.clone();
    second_step(&server, &mut browser).await;
    assert_ne!(browser.cookies[0].1, before, "a session that counts for more is another session");
    let page = browser.get(&server, "/console").await;
    assert!(page.status == 200 && text(&page).contains("Grace &#60;b&#62;Hopper"), "{}", text(&page));
    // Whoever got in by the password before is out, and so is the session from before.
    assert!(other.get(&server, "/console").await.header("location").starts_with("/console/sign-in"));
    let old = Browser { cookies: vec![(browser.cookies[0].0.clone(), before)] }.get(&server, "/console").await;
    assert!(old.header("location").starts_with("/console/sign-in"));
    // The link is spent; another one is good for a day.
    assert_eq!(Browser::default().get(&server, &link_path).await.status, 403);
    let again = server.post(&server.operator, &format!("/v1/staff/{id}/link"), &serde_json::json!({})).await.expect(201);
    let again = again["link"].as_str().unwrap().strip_prefix("https://test.example").unwrap().to_owned();
    assert_eq!(Browser::default().get(&server, &again).await.status, 200);
    later(&server, 24 * HOUR);
    assert_eq!(Browser::default().get(&server, &again).await.status, 403);
});

db_test!(a_new_link_replaces_everything_that_one_signed_in_with, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Support, None).await;
    let made = server.post(&server.operator, &format!("/v1/staff/{}/link", worker.id), &serde_json::json!({})).await.expect(201);
    let path = made["link"].as_str().unwrap().strip_prefix("https://test.example").unwrap().to_owned();
    assert!(worker.is_in(&server).await, "a link that nobody has followed changes nothing");
    let (mut browser, done) = enter(&server, &path, "other@example.org").await;
    assert_eq!(done.status, 303, "{}", text(&done));
    assert!(!worker.is_in(&server).await);
    assert_eq!(browser.get(&server, "/console").await.header("location"), "/console/second-step", "the lost codes are off");
    assert_eq!(sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await.status, 403, "the old address is nobody's");
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await, 1);
});

db_test!(signing_in_takes_password_and_code_and_ends_after_a_day_or_two_idle_hours, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    later(&server, 60_000);
    let mut second = worker.again(&server).await;
    assert_eq!(second.get(&server, "/console").await.status, 200);
    let cookie = sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await;
    assert!(!cookie.headers.contains_key("set-cookie"), "no session before the code");
    // A code is good once.
    let mut third = Browser::default();
    let asked = sign_in(&server, &mut third, &worker.email, PASSWORD).await;
    let spent = third.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &worker.secret))]).await;
    assert_eq!(spent.status, 403);
    // The list of browsers ends one of them.
    let page = worker.page(&server, "/console/security").await;
    assert_eq!(page.matches("action=\"/console/sessions/end\"").count(), 2);
    let id = second.cookies[0].1.split('.').nth(2).unwrap().to_owned();
    let ended = worker.browser.submit(&server, "/console/security", "/console/sessions/end", &[("id", &id)]).await;
    assert_eq!(ended.header("location"), "/console/security?done=session");
    assert_ne!(second.get(&server, "/console").await.status, 200);
    for _ in 0..11 {
        later(&server, HOUR);
        assert!(worker.is_in(&server).await, "who works stays in");
    }
    later(&server, HOUR);
    assert!(!worker.is_in(&server).await, "a working day is over");
    worker.browser = worker.again(&server).await;
    later(&server, 2 * HOUR + 6 * 60_000);
    assert!(!worker.is_in(&server).await, "nobody has used it");
});

db_test!(what_is_asked_before_is_where_one_comes_back_to_and_signing_out_ends_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let cookies = worker.browser.cookies.clone();
    let out = worker.browser.submit(&server, "/console", "/console/sign-out", &[]).await;
    assert_eq!(out.header("location"), "/console/sign-in?done=out");
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let gone = Browser { cookies }.get(&server, "/console/titles?after=x").await;
    assert_eq!(gone.header("location"), "/console/sign-in?next=%2Fconsole%2Ftitles%3Fafter%3Dx");
    later(&server, 60_000);
    let mut browser = Browser::default();
    let place = gone.header("location").to_owned();
    let asked = browser.submit(&server, &place, "/console/sign-in", &[("email", &worker.email), ("password", PASSWORD)]).await;
    let done = browser.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &worker.secret))]).await;
    assert_eq!(done.header("location"), "/console/titles?after=x");
});

db_test!(whoever_has_ended_is_out_at_once_and_stays_out, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Repair, None).await;
    server.post(&server.operator, &format!("/v1/staff/{}/end", worker.id), &serde_json::json!({ "reason": "left" })).await.expect(204);
    assert!(!worker.is_in(&server).await);
    later(&server, 60_000);
    let mut browser = Browser::default();
    let asked = sign_in(&server, &mut browser, &worker.email, PASSWORD).await;
    let tried = browser.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &worker.secret))]).await;
    assert_eq!((tried.status.as_u16(), tried.headers.contains_key("set-cookie")), (403, false));
    let link = server.post(&server.operator, &format!("/v1/staff/{}/link", worker.id), &serde_json::json!({})).await;
    assert_eq!(link.status, 404);
    let listed = server.get(&server.operator, "/v1/staff").await.expect(200);
    assert_eq!(listed["items"][0]["email"], worker.email);
    assert!(listed["items"][0]["ended_at"].is_string());
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'staff.ended'").await, 1);
});

db_test!(a_user_is_no_staff_and_staff_are_no_user_even_with_one_address, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut user, _) = ada(&server).await;
    let secret = turn_codes_on(&server, &mut user).await;
    let (_, link_path) = link(&server, Role::Operator, None, "Ada").await;
    let (mut staff, _) = enter(&server, &link_path, EMAIL).await;
    second_step(&server, &mut staff).await;
    later(&server, 60_000);
    let both = |browser: &Browser| browser.cookies[0].1.clone();
    // Each cookie under the other's name, with and without what tells them apart.
    for value in [both(&staff), both(&staff).trim_start_matches("staff.").to_owned()] {
        let mut planted = Browser { cookies: vec![("__Host-counterfoil".to_owned(), value)] };
        assert!(!planted.is_in(&server).await);
    }
    for value in [both(&user), format!("staff.{}", both(&user))] {
        let mut planted = Browser { cookies: vec![("__Host-counterfoil-console".to_owned(), value)] };
        assert!(planted.get(&server, "/console").await.header("location").starts_with("/console/sign-in"));
    }
    // Half a sign-in at one entrance is nothing at the other.
    let asked = Browser::default().sign_in(&server, EMAIL, PASSWORD).await;
    let kept = text(&asked).split("name=\"kept\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("kept", kept.as_str()), ("code", &*code(&server, &secret))];
    let crossed = Browser::default().post(&server, "/console/sign-in/code", &fields).await;
    assert!(crossed.status == 403 && text(&crossed).contains("too long"), "{}", text(&crossed));
    // The user's mail about a forgotten password is not for staff, and no user's account is made with an ID of staff.
    let id = both(&staff).split('.').nth(1).unwrap().to_owned();
    let fields = [("email", "eve@example.org"), ("password", PASSWORD), ("user_id", id.as_str())];
    assert_eq!(Browser::default().post(&server, "/account/sign-up", &fields).await.status, 422);
});

db_test!(the_second_step_cannot_be_left_behind, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let off = worker.browser.submit(&server, "/console/security", "/console/codes/off", &[("password", PASSWORD)]).await;
    assert!(off.status == 403 && text(&off).contains("only second step"), "{}", text(&off));
    assert!(worker.is_in(&server).await);
    let changed = [("password", PASSWORD), ("new", "another horse battery")];
    let done = worker.browser.submit(&server, "/console/security", "/console/password", &changed).await;
    assert_eq!(done.header("location"), "/console/security?done=password", "{}", text(&done));
    assert!(worker.page(&server, "/console/security?done=password").await.contains("The password is changed"));
    assert_eq!(sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await.status, 403);
});

/// Signs in up to the second step, and gives this in its place.
async fn second(server: &TestServer, email: &str, code: &str) -> (Browser, u16) {
    later(server, 60_000);
    let mut browser = Browser::default();
    let asked = sign_in(server, &mut browser, email, PASSWORD).await;
    assert_eq!(asked.status, 200, "{}", text(&asked));
    let done = browser.submit_from(server, &asked, "/console/sign-in/code", &[("code", code)]).await;
    (browser, done.status.as_u16())
}

db_test!(a_recovery_code_gets_staff_in_once_when_the_phone_is_lost_and_another_app_takes_its_place, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Repair, None).await;
    assert!(worker.page(&server, "/console/security").await.contains("You have none."));
    // Nobody draws them without the password.
    let wrong =
        worker.browser.submit(&server, "/console/security", "/console/recovery-codes", &[("password", "wrong horse battery")]).await;
    assert_eq!((wrong.status.as_u16(), codes(&wrong).len()), (403, 0));
    let drawn = worker.browser.submit(&server, "/console/security", "/console/recovery-codes", &[("password", PASSWORD)]).await;
    let first = codes(&drawn);
    assert_eq!((drawn.status.as_u16(), first.len()), (200, 10), "{}", text(&drawn));
    let drawn = worker.browser.submit(&server, "/console/security", "/console/recovery-codes", &[("password", PASSWORD)]).await;
    let kept = codes(&drawn);
    assert!(worker.page(&server, "/console/security").await.contains("10 of 10 are left"));
    // Those from before are no longer good; one of these is, once, and never at the other entrance.
    assert_eq!(second(&server, &worker.email, &first[0]).await.1, 403);
    let (mut browser, status) = second(&server, &worker.email, &kept[0].to_lowercase().replace('-', " ")).await;
    assert_eq!(status, 303);
    assert_eq!(second(&server, &worker.email, &kept[0]).await.1, 403);
    let crossed =
        Browser::default().post(&server, "/account/recover", &[("email", &worker.email), ("code", &kept[1]), ("password", PASSWORD)]).await;
    assert!(crossed.status != 303 && crossed.status != 200, "{}", text(&crossed));
    // Another app takes the place of the one that is lost.
    let (lost, secret) = (worker.secret.clone(), second_step(&server, &mut browser).await);
    assert_ne!(lost, secret);
    later(&server, 60_000);
    assert_eq!(second(&server, &worker.email, &code(&server, &lost)).await.1, 403);
    later(&server, 60_000);
    let mut again = Browser::default();
    let asked = sign_in(&server, &mut again, &worker.email, PASSWORD).await;
    let done = again.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &secret))]).await;
    assert_eq!(done.status, 303, "{}", text(&done));
    // What an operator's link sets up anew has none of them.
    let made = server.post(&server.operator, &format!("/v1/staff/{}/link", worker.id), &serde_json::json!({})).await.expect(201);
    let link = made["link"].as_str().unwrap().strip_prefix("https://test.example").unwrap().to_owned();
    enter(&server, &link, &worker.email).await;
    assert_eq!(db.number("SELECT count(*) FROM recovery_code").await, 0);
});

db_test!(a_recovery_code_gets_staff_in_who_have_lost_their_only_passkey, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Support, None).await;
    let drawn = worker.browser.submit(&server, "/console/security", "/console/recovery-codes", &[("password", PASSWORD)]).await;
    let kept = codes(&drawn);
    let user = worker.id.clone();
    let insert = async move |tx: &mut Tx| -> Result<u64, DbError> {
        let sql = "INSERT INTO passkey (user_id, credential_id, document, name, created_at) VALUES ($1, 'key', $2, 'x', 1)";
        tx.query(sql).bind(&user).bind(b"{}".to_vec()).execute().await
    };
    assert_eq!(db.write("test", "test", insert).await.unwrap(), 1);
    let off = worker.browser.submit(&server, "/console/security", "/console/codes/off", &[("password", PASSWORD)]).await;
    assert_eq!(off.status, 303, "{}", text(&off));
    assert_eq!(second(&server, &worker.email, "123456").await.1, 403, "there is no app whose codes it could be");
    let (mut browser, status) = second(&server, &worker.email, &kept[3]).await;
    assert_eq!((status, browser.get(&server, "/console").await.status.as_u16()), (303, 200));
    // Without any that is left, only the passkey gets in.
    db.run("DELETE FROM recovery_code").await;
    later(&server, 60_000);
    let asked = sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await;
    assert_eq!(asked.status, 403, "{}", text(&asked));
});

db_test!(of_two_second_steps_that_are_removed_at_once_one_stays, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let beside = server.another(&db, |_| ()).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let user = worker.id.clone();
    for round in 0..6 {
        // What a passkey says is of no matter to its removal.
        let (id, key) = (user.clone(), format!("key-{round}"));
        let insert = async move |tx: &mut Tx| -> Result<u64, DbError> {
            let sql = "INSERT INTO passkey (user_id, credential_id, document, name, created_at) VALUES ($1, $2, $3, 'x', 1)";
            tx.query(sql).bind(&id).bind(&key).bind(b"{}".to_vec()).execute().await
        };
        assert_eq!(db.write("test", "test", insert).await.unwrap(), 1);
        let page = worker.page(&server, "/console/security").await;
        let form = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let (mut one, mut other) =
            (Browser { cookies: worker.browser.cookies.clone() }, Browser { cookies: worker.browser.cookies.clone() });
        let key = format!("key-{round}");
        let (off, gone) = ([("form", form.as_str()), ("password", PASSWORD)], [("form", form.as_str()), ("id", key.as_str())]);
        let (off, gone) =
            tokio::join!(one.post(&server, "/console/codes/off", &off), other.post(&beside, "/console/passkeys/remove", &gone),);
        let mut statuses = [off.status.as_u16(), gone.status.as_u16()];
        statuses.sort();
        assert_eq!(statuses, [303, 403], "{} {}", text(&off), text(&gone));
        assert!(text(if off.status == 403 { &off } else { &gone }).contains("only second step"));
        let left = "SELECT (SELECT count(*) FROM passkey) + (SELECT count(*) FROM account WHERE totp IS NOT NULL)";
        assert_eq!(db.number(left).await, 1);
        if off.status == 303 {
            // With the passkey still there, codes come back, and the next round begins as this one did.
            worker.secret = second_step(&server, &mut worker.browser).await;
            let id = user.clone();
            let delete = async move |tx: &mut Tx| -> Result<u64, DbError> {
                tx.query("DELETE FROM passkey WHERE user_id = $1").bind(&id).execute().await
            };
            assert_eq!(db.write("test", "test", delete).await.unwrap(), 1);
        }
    }
    beside.app.db.close().await;
});
