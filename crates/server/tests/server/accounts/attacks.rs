//! What somebody tries who is not the person.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use futures_util::future::join_all;

use super::browser::{Browser, EMAIL, HOST, PASSWORD, ada, code, later, text, turn_codes_on};
use super::captured::Captured;
use super::catalogue::TestServer;
use super::support::{Engine, TestDb, db_test};
use super::terminal::Terminal;

db_test!(no_session_is_taken_over_from_a_cookie_that_somebody_else_set, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (terminal, mine, _) = ada(&server).await;
    // A cookie that the attacker knows, in the form of a session of the victim, and one of the attacker's own.
    let planted = format!("{}.{}.{}", terminal.user.unwrap(), "0123456789abcdef", "A".repeat(43));
    let mut victim = Browser { cookies: vec![("__Host-counterfoil".to_owned(), planted.clone())] };
    assert!(!victim.is_in(&server).await);
    victim.sign_in(&server, EMAIL, PASSWORD).await;
    assert!(victim.is_in(&server).await);
    assert_ne!(victim.cookies[0].1, planted);
    assert!(!Browser { cookies: vec![("__Host-counterfoil".to_owned(), planted)] }.is_in(&server).await);
    assert_ne!(victim.cookies[0].1, mine.cookies[0].1, "each browser has a session of its own");
    // Nothing but the whole cookie gets in.
    let whole = victim.cookies[0].1.clone();
    let parts: Vec<String> = whole.split('.').map(str::to_owned).collect();
    let other = Terminal::registered(&server).await.user.unwrap().to_string();
    let swapped = format!("{}{}", if parts[2].starts_with('A') { 'B' } else { 'A' }, &parts[2][1..]);
    let changed = [
        whole[..whole.len() - 1].to_owned(),
        format!("{whole}.x"),
        whole.replace(&parts[0], &other),
        whole.replace(&parts[1], "0123456789abcdef"),
        whole.replace(&parts[2], &swapped),
    ];
    for cookie in changed {
        assert!(!Browser { cookies: vec![("__Host-counterfoil".to_owned(), cookie.clone())] }.is_in(&server).await, "{cookie}");
    }
});

db_test!(no_other_site_can_send_a_form, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, _) = ada(&server).await;
    let mut other = Browser::default();
    other.sign_in(&server, EMAIL, PASSWORD).await;
    let token = |page: &str| page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (own, others) = (token(&text(&browser.get(&server, "/account").await)), token(&text(&other.get(&server, "/account").await)));
    assert_ne!(own, others);
    let send = async |headers: &[(&str, &str)], form: &str| {
        let mut request = browser.request(Method::POST, "/account/sign-out-everywhere");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(format!("form={form}"))).unwrap();
        server.send(request).await.status
    };
    let origin = format!("https://{HOST}");
    for headers in [
        vec![],
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", origin.as_str()), ("sec-fetch-site", "cross-site")],
        vec![("origin", origin.as_str()), ("sec-fetch-site", "same-site")],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        vec![("origin", "https://test.example.evil.example")],
    ] {
        assert_eq!(send(&headers, &own).await, StatusCode::FORBIDDEN, "{headers:?}");
    }
    for form in ["", "x", others.as_str(), &own[1..]] {
        assert_eq!(send(&[("origin", &origin)], form).await, StatusCode::FORBIDDEN, "{form}");
    }
    assert!(browser.clone().is_in(&server).await && other.is_in(&server).await);
    // Nobody is signed in to somebody else's account by a form of another site.
    let request = Browser::default().request(Method::POST, "/account/sign-in").header("origin", "https://evil.example");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let sent = server.send(request.body(Body::from(format!("email={EMAIL}&password={PASSWORD}"))).unwrap()).await;
    assert_eq!((sent.status.as_u16(), sent.headers.contains_key("set-cookie")), (403, false));
    assert_eq!(send(&[("origin", &origin), ("sec-fetch-site", "same-origin")], &own).await, StatusCode::SEE_OTHER);
});

db_test!(a_form_with_a_nul_is_refused_before_any_database_sees_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, _) = ada(&server).await;
    let sent = browser.submit(&server, "/account/security", "/account/sessions/end", &[("id", "a\0b")]).await;
    assert_eq!(sent.status, 400, "{}", text(&sent));
    assert!(browser.is_in(&server).await);
});

db_test!(passwords_are_tried_ten_times_however_many_come_at_once_and_nobody_learns_who_has_an_account, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut signed_in, _) = ada(&server).await;
    let unknown = Browser::default().sign_in(&server, "eve@example.org", PASSWORD).await;
    let wrong = Browser::default().sign_in(&server, EMAIL, "wrong password").await;
    let same = |answer: &str| answer.replace("eve@example.org", EMAIL);
    assert_eq!(
        (unknown.status, same(&text(&unknown))),
        (wrong.status, text(&wrong)),
        "an unknown address is answered like a wrong password"
    );
    // Nine are left, of which these are two dozen.
    join_all((0..24).map(async |_| Browser::default().sign_in(&server, EMAIL, "wrong password").await)).await;
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'account.sign_in_refused'").await, 10);
    let locked = Browser::default().sign_in(&server, EMAIL, PASSWORD).await;
    assert_eq!((locked.status, text(&locked)), (wrong.status, text(&wrong)), "the right password is not looked at, and nobody is told so");
    assert!(signed_in.is_in(&server).await, "whoever is in stays in");
    later(&server, 15 * 60_000);
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 303);
    // A success forgets the failures before it.
    for _ in 0..3 {
        join_all((0..5).map(async |_| Browser::default().sign_in(&server, EMAIL, "wrong password").await)).await;
        assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 303);
    }
});

db_test!(a_one_time_code_lets_one_in_and_is_guessed_ten_times_at_most, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (_, mut browser, _) = ada(&server).await;
    let secret = turn_codes_on(&server, &mut browser).await;
    later(&server, 60_000);
    let right = code(&server, &secret);
    let mut asked = vec![];
    for _ in 0..4 {
        let mut other = Browser::default();
        asked.push((other.clone(), other.sign_in(&server, EMAIL, PASSWORD).await));
    }
    let answers = join_all(asked.into_iter().map(|(mut other, shown)| {
        let (server, right) = (&server, right.as_str());
        async move { other.submit_from(server, &shown, "/account/sign-in/code", &[("code", right)]).await.status.as_u16() }
    }))
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
    later(&server, 16 * 60_000);
    // The password was right once; the codes after it are counted all the same.
    let shown = Browser::default().sign_in(&server, EMAIL, PASSWORD).await;
    let wrong: String = if code(&server, &secret) == "000000" { "000001".into() } else { "000000".into() };
    join_all((0..12).map(|_| {
        let (server, shown, wrong) = (&server, &shown, wrong.as_str());
        async move { Browser::default().submit_from(server, shown, "/account/sign-in/code", &[("code", wrong)]).await }
    }))
    .await;
    let right = code(&server, &secret);
    let locked = Browser::default().submit_from(&server, &shown, "/account/sign-in/code", &[("code", &right)]).await;
    assert_eq!(locked.status, 403, "after ten attempts the right code is not looked at");
    // What the browser keeps between the steps is good for a while, and for this password.
    later(&server, 16 * 60_000);
    let right = code(&server, &secret);
    let late = Browser::default().submit_from(&server, &shown, "/account/sign-in/code", &[("code", &right)]).await;
    assert!(text(&late).contains("too long"), "{}", text(&late));
});

async fn everything_in(db: &TestDb) -> Vec<u8> {
    let mut all = vec![];
    if db.engine() == Engine::Sqlite {
        for suffix in ["", "-wal"] {
            all.extend(std::fs::read(format!("{}{suffix}", db.path().display())).unwrap_or_default());
        }
        return all;
    }
    let client = db.beside().await;
    for table in client.query("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'", &[]).await.unwrap() {
        let table: String = table.get(0);
        for row in client.query(&format!("SELECT t::text FROM {table} t"), &[]).await.unwrap() {
            all.extend(row.get::<_, String>(0).into_bytes());
        }
    }
    all
}

fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![secret.to_vec(), hex.into_bytes(), STANDARD_NO_PAD.encode(secret).into_bytes(), URL_SAFE_NO_PAD.encode(secret).into_bytes()]
}

db_test!(no_password_code_or_session_lies_in_the_database_or_the_logs, async |db: TestDb| {
    let logs = Captured::default();
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: nextest runs each test in one of its own.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let server = TestServer::with(&db, |config| {
        config.mail.smtp_url = Some("smtp://127.0.0.1:9".to_owned().into());
        config.mail.from = Some("no-reply@test.example".to_owned());
    })
    .await;
    let (_, mut browser, recovery) = ada(&server).await;
    let secret = turn_codes_on(&server, &mut browser).await;
    later(&server, 60_000);
    let mut other = Browser::default();
    let asked = other.sign_in(&server, EMAIL, PASSWORD).await;
    other.submit_from(&server, &asked, "/account/sign-in/code", &[("code", &recovery[0])]).await;
    assert!(other.is_in(&server).await);
    other.sign_in(&server, EMAIL, "a mistyped password").await;
    Browser::default().post(&server, "/account/forgotten", &[("email", EMAIL)]).await;
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE kind = 'mail'").await, 2, "a mail waits, with a link");
    let (database, logs) = (everything_in(&db).await, logs.0.lock().unwrap().clone());
    let holds = |place: &[u8], what: &[u8]| place.windows(what.len()).any(|window| window == what);
    assert!(holds(&database, EMAIL.as_bytes()) && holds(&logs, b"answered"), "the search sees what is there");
    let session = other.cookies[0].1.rsplit('.').next().unwrap().to_owned();
    let session_bytes = counterfoil_format::encoding::from_base64url(&session).unwrap();
    let mut secrets: Vec<Vec<u8>> = [PASSWORD, "a mistyped password", &session].map(|text| text.as_bytes().to_vec()).into();
    secrets.extend(recovery.iter().flat_map(|code| [code.as_bytes().to_vec(), code.replace('-', "").into_bytes()]));
    secrets.extend([&secret, &session_bytes].into_iter().flat_map(|bytes| spellings(bytes)));
    for what in secrets {
        assert!(!holds(&database, &what), "{} in the database", String::from_utf8_lossy(&what));
        assert!(!holds(&logs, &what), "{} in the logs", String::from_utf8_lossy(&what));
    }
});
