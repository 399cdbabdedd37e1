//! Who sees which page: every page of the console for every role, of one's own tenant and another's (testing.md 14).

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Method;
use counterfoil_server::auth::Role;
use counterfoil_server::router;

use super::browser::{Browser, text};
use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::things::Things;
use super::worker::{Worker, enter, link};

/// Somebody, and the word for them in the table.
async fn everybody(server: &TestServer) -> Vec<(&'static str, Browser, String)> {
    let (_, link) = link(server, Role::Operator, None, "Entering").await;
    let (entering, done) = enter(server, &link, "entering@example.org").await;
    assert_eq!(done.status, 303, "{}", text(&done));
    let mut all = vec![("nobody", Browser::default()), ("entering", entering)];
    for (name, role, tenant) in [
        ("operator", Role::Operator, None),
        ("fox", Role::Publisher, Some("blue-fox")),
        ("owl", Role::Publisher, Some("red-owl")),
        ("repair", Role::Repair, None),
        ("support", Role::Support, None),
        ("shop", Role::Shop, None),
    ] {
        all.push((name, Worker::new(server, role, tenant).await.browser));
    }
    let mut with_forms = vec![];
    for (name, mut browser) in all {
        let page = text(&browser.get(server, if name == "entering" { "/console/second-step" } else { "/console" }).await);
        let form = page.split("name=\"form\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned();
        assert_eq!(form.is_empty(), name == "nobody", "{name}");
        with_forms.push((name, browser, form));
    }
    with_forms
}

db_test!(every_page_is_for_the_roles_of_the_table_and_not_there_for_others, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let things = Things::new(&server, &db).await;
    let people = everybody(&server).await;
    let mut table = "# what each page of the console answers to each role, about things of the publisher blue-fox; in: asked to sign in; step: to set up\n\
                     # a second step first. Forms are sent empty, with the token of the session\n"
        .to_owned();
    let _ = write!(table, "{:<64}", "page");
    for (name, ..) in &people {
        let _ = write!(table, " {name:>8}");
    }
    table.push('\n');
    for (path, methods) in router::pages(&server.app).into_iter().filter(|(path, _)| path.starts_with("/console")) {
        // They end the session that the others are asked with.
        if matches!(path, "/console/sign-out" | "/console/sessions/end") {
            continue;
        }
        for method in methods {
            let _ = write!(table, "{:<64}", format!("{method} {path}"));
            for (name, browser, form) in &people {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let mut request = browser.request(method.clone(), &things.address(path)).header("origin", "https://test.example");
                request = request.header("content-type", "application/x-www-form-urlencoded");
                let answer = server.send(request.body(Body::from(format!("form={form}"))).unwrap()).await;
                let told = match (answer.status.as_u16(), answer.header("location")) {
                    (303, place) if place.starts_with("/console/sign-in?") => "in".to_owned(),
                    (303, "/console/second-step") => "step".to_owned(),
                    (status, _) => status.to_string(),
                };
                assert!(answer.status.as_u16() < 500, "{method} {path} for {name}: {}", text(&answer));
                let _ = write!(table, " {told:>8}");
            }
            table.push('\n');
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/console_roles.txt");
    if std::env::var_os("UPDATE_ROLES").is_some() {
        std::fs::write(golden, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(golden).unwrap_or_default(), "look at the difference, then run with UPDATE_ROLES=1");
});
