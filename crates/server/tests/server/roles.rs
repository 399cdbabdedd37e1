//! Which role serves what: every route in a process of each role, and operations of terminals that came to the wrong one.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Method;
use catalogue::{TestServer, json_request, request};
use counterfoil_core::wire::{AuthorityDocument, Operation};
use counterfoil_server::roles::{Roles, ServerRole};
use counterfoil_server::router;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, media};

/// A process of these roles beside a server, which knows where the others are.
fn process(server: &TestServer, roles: &[ServerRole]) -> TestServer {
    server.beside(|config| {
        config.server.roles = roles.iter().copied().collect();
        config.server.public_urls = vec!["https://authority.example".to_owned()];
        config.server.license_urls = vec!["https://license.example".to_owned()];
        config.server.contents_urls = vec!["https://contents.example".to_owned()];
    })
}

db_test!(every_route_is_served_by_the_roles_of_the_table, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let processes = ServerRole::ALL.map(|role| (role, process(&server, &[role])));
    let mut table = "# which process serves a route, if it has this role and no other\n".to_owned();
    let _ = write!(table, "{:<54}", "route");
    for role in ServerRole::ALL {
        let _ = write!(table, " {:>9}", role.as_str());
    }
    table.push('\n');
    let openapi = serde_json::to_value(router::openapi(&server.app)).unwrap();
    for (path, methods) in router::pages(&server.app) {
        for method in methods {
            let _ = write!(table, "{:<54}", format!("{method} {path}"));
            for (role, process) in &processes {
                let here = served(process, method, path).await;
                let listed = router::pages(&process.app).iter().any(|(listed, _)| *listed == path);
                assert_eq!(here, listed, "{method} {path} at {}", role.as_str());
                let _ = write!(table, " {:>9}", if here { "yes" } else { "-" });
            }
            table.push('\n');
        }
    }
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for method in ["get", "head", "put", "post", "delete"].into_iter().filter(|method| item.get(*method).is_some()) {
            let _ = write!(table, "{:<54}", format!("{} {path}", method.to_uppercase()));
            for (role, process) in &processes {
                let here = served(process, method, path).await;
                let described = serde_json::to_value(router::openapi(&process.app)).unwrap()["paths"][path].get(method).is_some();
                assert_eq!(here, described, "{method} {path} at {}", role.as_str());
                let _ = write!(table, " {:>9}", if here { "yes" } else { "-" });
            }
            table.push('\n');
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/server_roles.txt");
    if std::env::var_os("UPDATE_ROLES").is_some() {
        std::fs::write(golden, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(golden).unwrap_or_default(), "look at the difference, then run with UPDATE_ROLES=1");
});

/// Asks, with a token; a path of another role is a 404 of its own.
async fn served(process: &TestServer, method: &str, path: &str) -> bool {
    let target: String = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let answer = process.send(request(method.clone(), &target, &process.operator).body(Body::empty()).unwrap()).await;
    if method == Method::HEAD {
        // It has no body; what stands at the path answers GET alike.
        let get = process.send(request(Method::GET, &target, &process.operator).body(Body::empty()).unwrap()).await;
        return get.code() != "not_served";
    }
    if answer.code() == "not_served" {
        let problem = answer.expect(404);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("process")), "{problem}");
        return false;
    }
    true
}

db_test!(an_operation_that_came_to_the_wrong_process_is_sent_on_and_nothing_is_done, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let anna = Terminal::registered(&server).await;
    let (authority, license) = (process(&server, &[ServerRole::Authority]), process(&server, &[ServerRole::License]));
    let send = async |to: &TestServer, operation: Operation| {
        let envelope = anna.sealed(&server, &terminal::request(&server, operation), Some(&medium));
        let body: Value = serde_json::from_slice(&envelope).unwrap();
        to.send(json_request(Method::POST, "/v1/terminal/exchange", "", &body)).await
    };
    let records = "SELECT count(*) FROM audit";
    let before = db.number(records).await;
    let problem = send(&license, Operation::Claim(anna.claim_operation(&medium))).await.expect(421);
    assert_eq!((&problem["code"], &problem["urls"]), (&json!("misdirected"), &json!(["https://authority.example"])));
    assert!(!problem["hint"].as_str().unwrap().is_empty() && problem["detail"].as_str().unwrap().contains("`claim`"), "{problem}");
    assert_eq!((db.number(records).await, db.number("SELECT count(*) FROM grants").await), (before, 0));

    let claimed = send(&authority, Operation::Claim(anna.claim_operation(&medium))).await;
    let claimed = terminal::OutcomeResult::outcome_result(terminal::answer(&server, claimed)).unwrap();
    let grants: counterfoil_core::wire::ClaimResult = serde_json::from_value(claimed).unwrap();
    let confirm = anna.confirm_operation(&medium, &grants.grants);
    let problem = send(&authority, confirm.clone()).await.expect(421);
    assert_eq!((&problem["code"], &problem["urls"]), (&json!("misdirected"), &json!(["https://license.example"])));
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await, 0);
    send(&license, confirm).await.expect(200);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await, 1);
});

db_test!(the_document_says_where_the_others_are, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let alone: AuthorityDocument = serde_json::from_value(server.get("", "/.well-known/counterfoil").await.expect(200)).unwrap();
    assert!(alone.license_urls.is_empty() && alone.contents_urls.is_empty());
    let divided = process(&server, &[ServerRole::Authority]).get("", "/.well-known/counterfoil").await.expect(200);
    let divided: AuthorityDocument = serde_json::from_value(divided).unwrap();
    assert_eq!(divided.license_urls, ["https://license.example"]);
    assert_eq!(divided.contents_urls, ["https://contents.example"]);
});

#[test]
fn a_wrong_role_is_a_usage_error_and_help_names_the_right_ones() {
    let counterfoild = || std::process::Command::new(env!("CARGO_BIN_EXE_counterfoild"));
    let wrong = counterfoild().args(["serve", "--roles", "authority,kitchen"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    let help = counterfoild().args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for role in ServerRole::ALL {
        assert!(said.contains(role.as_str()) && help.contains(role.as_str()), "{said}{help}");
    }
    assert!(counterfoild().args(["serve", "--roles", ""]).output().unwrap().status.code() == Some(2));
}

#[test]
fn only_a_contents_server_needs_no_database() {
    for role in ServerRole::ALL {
        let roles: Roles = [role].into_iter().collect();
        assert_eq!(roles.need_database(), role != ServerRole::Content);
    }
    assert!(Roles::default().need_database());
    assert!([ServerRole::Content, ServerRole::License].into_iter().collect::<Roles>().need_database());
}
