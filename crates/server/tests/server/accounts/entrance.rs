//! Signing up, in and out; passwords, codes and sessions, as people use them.

use counterfoil_core::Timestamp;
use counterfoil_core::UserId;

use counterfoil_server::clock::Rng;
use counterfoil_server::keys::{Purpose, RootKey, RootSource, rotate};

use super::browser::{Browser, EMAIL, PASSWORD, ada, code, codes, later, text, turn_codes_on};
use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::terminal::Terminal;

db_test!(d2_an_account_is_made_with_the_user_id_and_for_each_user_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let terminal = Terminal::registered(&server).await;
    let user = terminal.user.unwrap().to_string();
    let mut stranger = Browser::default();
    let nobody = UserId::from_bytes([9; 16]).to_string();
    for (user, email, password, said) in [
        (nobody.as_str(), EMAIL, PASSWORD, "There is no user of this ID"),
        ("usr-1", EMAIL, PASSWORD, "There is no user of this ID"),
        (&user, "ada", PASSWORD, "no e-mail address"),
        (&user, EMAIL, "short", "10 to 256"),
        (&user, EMAIL, "password123", "one of the first"),
    ] {
        let refused = stranger.post(&server, "/account/sign-up", &[("email", email), ("password", password), ("user_id", user)]).await;
        assert_eq!(refused.status, 422);
        assert!(text(&refused).contains(said), "{said}");
        assert!(!text(&refused).contains(password), "a password is never sent back");
    }
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await + db.number("SELECT count(*) FROM account").await, 0);
    let (mut browser, codes) = Browser::sign_up(&server, terminal.user.unwrap(), " ADA@Example.ORG").await;
    assert_eq!(codes.len(), 10);
    assert!(browser.is_in(&server).await);
    // The user has an account now, and the address is taken.
    let again =
        stranger.post(&server, "/account/sign-up", &[("email", "eve@example.org"), ("password", PASSWORD), ("user_id", &user)]).await;
    assert_eq!(again.status, 422);
    let other = Terminal::registered(&server).await.user.unwrap().to_string();
    let taken = stranger.post(&server, "/account/sign-up", &[("email", EMAIL), ("password", PASSWORD), ("user_id", &other)]).await;
    assert!(text(&taken).contains("cannot be used here"));
    assert_eq!(db.number("SELECT count(*) FROM account").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await, 1);
});

db_test!(two_sign_ups_for_one_user_at_once_make_one_account, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let user = Terminal::registered(&server).await.user.unwrap().to_string();
    let tried = (0..6).map(|number| {
        let (server, user) = (&server, user.as_str());
        async move {
            let (mut browser, email) = (Browser::default(), format!("ada{number}@example.org"));
            browser.post(server, "/account/sign-up", &[("email", &email), ("password", PASSWORD), ("user_id", user)]).await.status.as_u16()
        }
    });
    let answers = futures_util::future::join_all(tried).await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert_eq!(db.number("SELECT count(*) FROM account").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await, 1, "the others gave their names up");
});

db_test!(somebody_signs_in_and_out_here_there_and_everywhere, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut one, _) = ada(&server).await;
    let mut two = Browser::default();
    let into = two.get(&server, "/transfer?source=x").await;
    assert_eq!((into.status.as_u16(), into.header("location")), (303, "/account/sign-in?next=%2Ftransfer%3Fsource%3Dx"));
    let signed =
        two.post(&server, "/account/sign-in", &[("email", "Ada@example.org "), ("password", PASSWORD), ("next", "/devices")]).await;
    assert_eq!((signed.status.as_u16(), signed.header("location")), (303, "/devices"));
    let cookie = signed.header("set-cookie");
    for part in ["__Host-counterfoil=usr-", "HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    let security = text(&one.get(&server, "/account/security").await);
    assert_eq!(security.matches("action=\"/account/sessions/end\"").count(), 2);
    // Signing out ends the session itself, not only its cookie.
    let kept = two.clone();
    let out = two.submit(&server, "/account", "/account/sign-out", &[]).await;
    assert_eq!(out.header("location"), "/account/sign-in?done=out");
    assert!(!two.is_in(&server).await && !kept.clone().is_in(&server).await && one.is_in(&server).await);
    two.sign_in(&server, EMAIL, PASSWORD).await;
    assert!(two.is_in(&server).await);
    later(&server, 1);
    one.submit(&server, "/account/security", "/account/sign-out-everywhere", &[]).await;
    assert!(!one.is_in(&server).await && !two.is_in(&server).await);
    two.sign_in(&server, EMAIL, PASSWORD).await;
    assert!(two.is_in(&server).await);
    later(&server, 30 * Timestamp::DAY);
    assert!(!two.is_in(&server).await, "a session ends by itself");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'account.signed_in'").await, 3);
});

db_test!(another_password_ends_every_other_session_and_the_old_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut one, _) = ada(&server).await;
    let mut two = Browser::default();
    two.sign_in(&server, EMAIL, PASSWORD).await;
    later(&server, 1);
    let fields = [("password", "wrong password"), ("new", "another horse battery")];
    let refused = one.submit(&server, "/account/security", "/account/password", &fields).await;
    assert_eq!(refused.status, 403);
    let fields = [("password", PASSWORD), ("new", "another horse battery")];
    let changed = one.submit(&server, "/account/security", "/account/password", &fields).await;
    assert_eq!(changed.header("location"), "/account/security?done=password", "{}", text(&changed));
    assert!(one.is_in(&server).await && !two.is_in(&server).await);
    assert_eq!(two.sign_in(&server, EMAIL, PASSWORD).await.status, 403);
    assert_eq!(two.sign_in(&server, EMAIL, "another horse battery").await.status, 303);
});

db_test!(one_time_codes_are_a_second_step_and_a_recovery_code_stands_for_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, recovery) = ada(&server).await;
    let secret = turn_codes_on(&server, &mut browser).await;
    assert!(text(&browser.get(&server, "/account/security").await).contains("Turn codes off"));
    // The secret outlives the key that it was wrapped under.
    let root = RootSource::Given(RootKey::generate(1, &mut Rng::seeded(7)).reveal());
    let rotated = rotate::kek(&db.db, &root, &server.app.keys, Purpose::Device, server.app.clock.now(), &Rng::System).await.unwrap();
    assert_eq!(rotated, (2, 2), "the device's secret and this one");
    let mut other = Browser::default();
    // The code that turned them on is spent.
    for (wait, good) in [(0, false), (30_000, true)] {
        later(&server, wait);
        let asked = other.sign_in(&server, EMAIL, PASSWORD).await;
        assert_eq!(asked.status, 200);
        assert!(!other.is_in(&server).await, "the password alone is not enough");
        let done = other.submit_from(&server, &asked, "/account/sign-in/code", &[("code", &code(&server, &secret))]).await;
        assert_eq!(done.status.as_u16(), if good { 303 } else { 403 });
        assert_eq!(other.is_in(&server).await, good);
    }
    for wrong in ["000000", "12345", "", "ABCD-EFGH-JKMN-PQRS"] {
        let mut third = Browser::default();
        let asked = third.sign_in(&server, EMAIL, PASSWORD).await;
        let done = third.submit_from(&server, &asked, "/account/sign-in/code", &[("code", wrong)]).await;
        assert_eq!(done.status, 403, "{wrong}");
    }
    later(&server, 16 * 60_000);
    for good in [true, false] {
        let mut third = Browser::default();
        let asked = third.sign_in(&server, EMAIL, PASSWORD).await;
        let done = third.submit_from(&server, &asked, "/account/sign-in/code", &[("code", &recovery[3].to_lowercase())]).await;
        assert_eq!(done.status.as_u16(), if good { 303 } else { 403 }, "a recovery code is good once");
    }
    let off = browser.submit(&server, "/account/security", "/account/codes/off", &[("password", PASSWORD)]).await;
    assert_eq!(off.header("location"), "/account/security?done=codes-off");
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 303);
});

db_test!(a_forgotten_password_is_set_anew_by_a_recovery_code_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, recovery) = ada(&server).await;
    later(&server, 1);
    let mut other = Browser::default();
    let page = text(&other.get(&server, "/account/forgotten").await);
    assert!(!page.contains("Send me a link"), "no mail is configured");
    let fields = |code: &str, password: &str| [("email", EMAIL.to_owned()), ("code", code.to_owned()), ("password", password.to_owned())];
    for (code, password, status) in [
        ("0000-0000-0000-0000", "another horse battery", 403),
        (recovery[0].as_str(), "short", 403),
        (recovery[0].as_str(), "another horse battery", 303),
        (recovery[0].as_str(), "a third horse battery", 403),
    ] {
        let all = fields(code, password);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(other.post(&server, "/account/recover", &all).await.status.as_u16(), status, "{code} {password}");
    }
    assert!(!browser.is_in(&server).await, "every session has ended");
    assert_eq!(other.sign_in(&server, EMAIL, PASSWORD).await.status, 403);
    assert_eq!(other.sign_in(&server, EMAIL, "another horse battery").await.status, 303);
    // New codes put an end to the old ones.
    let drawn = other.submit(&server, "/account/security", "/account/recovery-codes", &[("password", "another horse battery")]).await;
    let new = codes(&drawn);
    assert_eq!(new.len(), 10);
    for (code, status) in [(&recovery[1], 403), (&new[1], 303)] {
        let all = [("email", EMAIL), ("code", code.as_str()), ("password", "a fourth horse battery")];
        assert_eq!(Browser::default().post(&server, "/account/recover", &all).await.status.as_u16(), status);
    }
});

db_test!(an_address_is_changed_and_the_old_one_no_longer_signs_in, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, _) = ada(&server).await;
    let fields = [("password", PASSWORD), ("email", "ada@lovelace.example")];
    let changed = browser.submit(&server, "/account/security", "/account/email", &fields).await;
    assert_eq!(changed.header("location"), "/account/security?done=email");
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 403);
    assert_eq!(Browser::default().sign_in(&server, "ada@lovelace.example", PASSWORD).await.status, 303);
    // The old one is free for somebody else.
    Browser::sign_up(&server, Terminal::registered(&server).await.user.unwrap(), EMAIL).await;
    // And what is somebody else's stays theirs.
    let taken = browser.submit(&server, "/account/security", "/account/email", &[("password", PASSWORD), ("email", EMAIL)]).await;
    assert!(text(&taken).contains("cannot be used here"));
});
