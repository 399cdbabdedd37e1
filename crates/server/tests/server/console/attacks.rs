//! What somebody tries who does not work here.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use counterfoil_server::auth::Role;
use futures_util::future::join_all;

use super::browser::{Browser, HOST, PASSWORD, code, later, text};
use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::worker::{Worker, sign_in};

db_test!(the_cookie_is_for_this_host_only_and_no_script_or_other_site_sees_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let worker = Worker::new(&server, Role::Operator, None).await;
    later(&server, 60_000);
    let mut browser = Browser::default();
    let asked = sign_in(&server, &mut browser, &worker.email, PASSWORD).await;
    let done = browser.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &worker.secret))]).await;
    let cookie = done.header("set-cookie").to_owned();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert!(value.starts_with("__Host-counterfoil-console=staff."), "{cookie}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure");
});

db_test!(no_session_is_planted_on_staff, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let planted = format!("staff.{}.{}.{}", worker.id, "0123456789abcdef", "A".repeat(43));
    let mut victim = Browser { cookies: vec![("__Host-counterfoil-console".to_owned(), planted.clone())] };
    assert_ne!(victim.get(&server, "/console").await.status, 200);
    later(&server, 60_000);
    let asked = sign_in(&server, &mut victim, &worker.email, PASSWORD).await;
    victim.submit_from(&server, &asked, "/console/sign-in/code", &[("code", &code(&server, &worker.secret))]).await;
    assert_eq!(victim.get(&server, "/console").await.status, 200);
    assert_ne!(victim.cookies[0].1, planted);
    assert_ne!(victim.cookies[0].1, worker.browser.cookies[0].1, "each browser has a session of its own");
    let whole = worker.browser.cookies[0].1.clone();
    let parts: Vec<String> = whole.split('.').map(str::to_owned).collect();
    let swapped = format!("{}{}", if parts[3].starts_with('A') { 'B' } else { 'A' }, &parts[3][1..]);
    for cookie in [
        whole[..whole.len() - 1].to_owned(),
        format!("{whole}.x"),
        whole.replace(&parts[2], "0123456789abcdef"),
        whole.replace(&parts[3], &swapped),
    ] {
        let mut wrong = Browser { cookies: vec![("__Host-counterfoil-console".to_owned(), cookie.clone())] };
        assert_ne!(wrong.get(&server, "/console").await.status, 200, "{cookie}");
    }
    assert!(worker.is_in(&server).await);
});

db_test!(no_other_site_sends_a_form_to_the_console, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    later(&server, 60_000);
    let mut second = worker.again(&server).await;
    let token = |page: &str| page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (own, others) = (token(&worker.page(&server, "/console").await), token(&text(&second.get(&server, "/console").await)));
    assert_ne!(own, others);
    let browser = worker.browser.clone();
    let send = async |headers: &[(&str, &str)], form: &str| {
        let mut request = browser.request(Method::POST, "/console/sign-out");
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
    ] {
        assert_eq!(send(&headers, &own).await, StatusCode::FORBIDDEN, "{headers:?}");
    }
    for form in ["", "x", others.as_str(), &own[1..]] {
        assert_eq!(send(&[("origin", &origin)], form).await, StatusCode::FORBIDDEN, "{form}");
    }
    // Neither is anybody signed in to the attacker's account.
    let request = Browser::default().request(Method::POST, "/console/sign-in").header("origin", "https://evil.example");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let sent = server.send(request.body(Body::from(format!("email={}&password={PASSWORD}", worker.email))).unwrap()).await;
    assert_eq!((sent.status.as_u16(), sent.headers.contains_key("set-cookie")), (403, false));
    assert!(worker.is_in(&server).await && second.get(&server, "/console").await.status == 200);
    assert_eq!(send(&[("origin", &origin), ("sec-fetch-site", "same-origin")], &own).await, StatusCode::SEE_OTHER);
});

db_test!(passwords_of_staff_are_tried_ten_times_and_nobody_learns_who_works_here, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    later(&server, 60_000);
    let unknown = sign_in(&server, &mut Browser::default(), "eve@example.org", PASSWORD).await;
    let wrong = sign_in(&server, &mut Browser::default(), &worker.email, "wrong password").await;
    let same = |answer: &str| answer.replace("eve@example.org", &worker.email);
    assert_eq!((unknown.status, same(&text(&unknown))), (wrong.status, text(&wrong)));
    join_all((0..24).map(async |_| sign_in(&server, &mut Browser::default(), &worker.email, "wrong password").await)).await;
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'account.sign_in_refused'").await, 10);
    let locked = sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await;
    assert_eq!((locked.status, text(&locked)), (wrong.status, text(&wrong)), "the right password is not looked at, and nobody is told so");
    assert!(worker.is_in(&server).await, "whoever is in stays in");
    later(&server, 15 * 60_000);
    let asked = sign_in(&server, &mut Browser::default(), &worker.email, PASSWORD).await;
    assert_eq!(asked.status, 200);
    // The codes are counted all the same.
    let wrong = if code(&server, &worker.secret) == "000000" { "000001" } else { "000000" };
    join_all((0..12).map(async |_| Browser::default().submit_from(&server, &asked, "/console/sign-in/code", &[("code", wrong)]).await))
        .await;
    let right = code(&server, &worker.secret);
    let locked = Browser::default().submit_from(&server, &asked, "/console/sign-in/code", &[("code", &right)]).await;
    assert_eq!(locked.status, 403);
});

db_test!(nobody_is_led_elsewhere_by_signing_in, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let worker = Worker::new(&server, Role::Operator, None).await;
    for evil in ["https://evil.example/console", "//evil.example/console", "/console\\@evil.example", "/account", "javascript:alert(1)"] {
        later(&server, 60_000);
        let mut browser = Browser::default();
        let asked = browser.post(&server, "/console/sign-in", &[("email", &worker.email), ("password", PASSWORD), ("next", evil)]).await;
        let fields = [("code", &*code(&server, &worker.secret)), ("next", evil)];
        let done = browser.submit_from(&server, &asked, "/console/sign-in/code", &fields).await;
        assert_eq!((done.status.as_u16(), done.header("location")), (303, "/console"), "{evil}");
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", evil).finish();
        let shown = browser.get(&server, &format!("/console/sign-in?{query}")).await;
        assert_eq!(shown.header("location"), "/console", "{evil}");
    }
});

db_test!(an_address_that_there_is_not_says_what_pages_say_and_tls_is_kept_to, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let tls = server
        .another(&db, |config| {
            config.tls.cert_file = Some("cert.pem".into());
            config.tls.key_file = Some("key.pem".into());
        })
        .await;
    for (path, accept) in [("/console/nothing", "*/*"), ("/console/nothing", "text/html"), ("/console/titles/%FF", "*/*")] {
        let ask = || Request::get(path).header("accept", accept).header("host", HOST).body(Body::empty()).unwrap();
        let answer = server.send(ask()).await;
        assert!(answer.status.is_client_error() || answer.status.is_redirection(), "{path}: {}", answer.status);
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'; "), "{path} {accept}");
        assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
        assert!(!answer.headers.contains_key("strict-transport-security"), "over plain HTTP it is no use");
        assert_eq!(tls.send(ask()).await.header("strict-transport-security"), "max-age=31536000");
    }
    let api = tls.send(Request::get("/v1/whoami").body(Body::empty()).unwrap()).await;
    assert_eq!(api.header("strict-transport-security"), "max-age=31536000");
    assert!(!api.headers.contains_key("content-security-policy"));
    tls.app.db.close().await;
});
