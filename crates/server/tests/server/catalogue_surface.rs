//! The whole surface of the server: who may do what to whose things, the description of it, the pages, figures and limits.

mod target;
mod things;

use crate::support;
use crate::support::catalogue;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Method;
use catalogue::{TestServer, make_token, publish, request};
use counterfoil_server::auth::Role;
use counterfoil_server::router;
use serde_json::json;
use support::{TestDb, db_test};
use target::target;
use things::{Things, arcade};

/// Of pages.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

fn checked_in(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares with a file that is checked in; `UPDATE_…=1` writes it anew, to be looked at before it is committed.
#[track_caller]
fn compare(path: &str, found: &str, variable: &str) {
    let path = checked_in(path);
    if std::env::var_os(variable).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<_> = found.lines().zip(expected.lines().chain(std::iter::repeat(""))).filter(|(a, b)| a != b).take(10).collect();
    assert!(
        found == expected,
        "{} is not what the server does; look at the difference, then run with {variable}=1: {differing:#?}",
        path.display()
    );
}

db_test!(every_role_on_every_route_as_the_table_says, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let own = Things::of_the_fox(&server, &db).await;
    let nobodys = Things::of_nobody();
    let mut callers = vec![("nobody", String::new())];
    for role in [Role::Shop, Role::Repair, Role::Provider, Role::Gateway, Role::User] {
        // Its own provider: the one among the things is ended on the way.
        let tenant = if role == Role::Provider { arcade(&server).await } else { "blue-fox".to_owned() };
        callers.push((role.as_str(), make_token(&server.app, role, Some(&tenant)).await));
    }
    callers.extend([("stranger", server.owl.clone()), ("owner", server.fox.clone()), ("operator", server.operator.clone())]);

    let mut table =
        "# status by caller; `own` are things of the publisher `blue-fox`: `owner` has its token, `stranger` that of another publisher\n"
            .to_owned();
    let _ = write!(table, "{:<54}", "route");
    for (name, _) in &callers {
        let _ = write!(table, " {name:>8}");
    }
    table.push('\n');
    let openapi = serde_json::to_value(router::openapi(&server.app)).unwrap();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for method in ["get", "head", "put", "post", "patch", "delete"].into_iter().filter(|method| item.get(*method).is_some()) {
            let route = format!("{} {path}", method.to_uppercase());
            for (whose, things) in [("missing", &nobodys), ("own", &own)] {
                let _ = write!(table, "{:<54}", format!("{route} {whose}"));
                for (_, token) in &callers {
                    let (target, body) = target(&route, things, whose == "own");
                    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                    let kind = if target.contains("/pictures/") { "image/png" } else { "application/json" };
                    let request = request(method, &target, token).header("content-type", kind).body(Body::from(body)).unwrap();
                    let _ = write!(table, " {:>8}", server.send(request).await.status.as_u16());
                }
                table.push('\n');
            }
        }
    }
    // The console's pages have a table of their own, by who is signed in: tests/golden/console_roles.txt.
    for (path, methods) in router::pages(&server.app).into_iter().filter(|(path, _)| !path.starts_with("/console")) {
        for method in METHODS {
            let route = format!("{method} {path}");
            if !methods.contains(&method) {
                let (target, _) = target(&format!("{} {path}", methods[0]), &own, true);
                let request = request(Method::from_bytes(method.as_bytes()).unwrap(), &target, "").body(Body::empty()).unwrap();
                assert_eq!(server.send(request).await.status, 405, "{route} is served, and not in the table");
                continue;
            }
            for (whose, things) in [("missing", &nobodys), ("own", &own)] {
                let _ = write!(table, "{:<54}", format!("{route} {whose}"));
                for (_, token) in &callers {
                    let (target, body) = target(&route, things, whose == "own");
                    let request = request(Method::from_bytes(method.as_bytes()).unwrap(), &target, token)
                        .header("content-type", "application/x-www-form-urlencoded");
                    let _ = write!(table, " {:>8}", server.send(request.body(Body::from(body)).unwrap()).await.status.as_u16());
                }
                table.push('\n');
            }
        }
    }
    compare("tests/golden/roles.txt", &table, "UPDATE_ROLES");
});

db_test!(the_description_is_the_one_that_is_checked_in, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let served = server.get("", "/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    let text = String::from_utf8(served.body.clone()).unwrap() + "\n";
    compare("../../docs/openapi.json", &text, "UPDATE_OPENAPI");
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    // Every reference within it leads somewhere, and every operation has a name of its own.
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            assert!(names.insert(name.to_owned()), "{name} twice");
            let secured = operation.get("security").is_some();
            let public =
                !path.starts_with("/v1/") || ["/v1/terminal/", "/v1/store/", "/v1/uploads/"].iter().any(|open| path.starts_with(open));
            assert_eq!(secured, !public, "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
            }
            assert!(operation["responses"].get("default").is_some(), "{method} {path}");
        }
    }
});

/// Addresses in a text that a browser would fetch from.
fn hosts(text: &str) -> Vec<&str> {
    let begins = text.match_indices("src=\"").chain(text.match_indices("href=\"")).chain(text.match_indices("url("));
    let addresses = begins.map(|(at, begin)| text[at + begin.len()..].split(['"', ')', '\'']).next().unwrap());
    addresses.filter(|address| address.contains("//") && !address.starts_with("data:")).collect()
}

db_test!(the_reference_comes_whole_from_this_server, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let redirect = server.get("", "/reference").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (303, "/reference/"));
    let page = server.get("", "/reference/").await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(page.status.is_success() && text.contains("swagger-ui"), "{text}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert_eq!(hosts(&text), Vec::<&str>::new());
    let mut assets = 0;
    for part in text.split("src=\"").skip(1).chain(text.split("href=\"").skip(1)) {
        let asset = part.split('"').next().unwrap().trim_start_matches("./");
        let answer = server.get("", &format!("/reference/{asset}")).await;
        assert!(answer.status.is_success(), "{asset}: {}", answer.status);
        if asset.ends_with(".css") {
            assert_eq!(hosts(&String::from_utf8_lossy(&answer.body)), Vec::<&str>::new(), "{asset}");
        }
        assets += 1;
    }
    assert!(assets >= 4, "{assets} assets");
    let start = server.get("", "/reference/swagger-initializer.js").await;
    let start = String::from_utf8(start.body).unwrap();
    assert!(start.contains("/openapi.json") && !start.contains("http"), "{start}");
});

db_test!(the_page_at_the_root_says_what_this_server_is, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let page = server.get("", "/").await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(text.contains("test.example") && text.contains("<dt>Titles</dt><dd>1</dd>"), "{text}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert_eq!(hosts(&text), Vec::<&str>::new());
    for part in text.split("href=\"").skip(1) {
        let link = part.split('"').next().unwrap();
        assert!(!server.get("", link).await.status.is_server_error(), "{link}");
    }
});

fn from(address: &str, path: &str) -> axum::http::Request<Body> {
    let mut request = request(Method::GET, path, "").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
    request
}

db_test!(figures_are_for_this_machine_and_for_operators, async |db: TestDb| {
    counterfoil_server::metrics::install();
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    server.get(&server.fox, "/v1/titles/sky-raider").await.expect(200);
    assert_eq!(server.send(from("192.0.2.1:9", "/metrics")).await.status, 401);
    let mut proxied = from("127.0.0.1:9", "/metrics");
    proxied.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    assert_eq!(server.send(proxied).await.status, 401);
    assert_eq!(server.get(&server.fox, "/metrics").await.status, 403);
    assert_eq!(server.get(&server.operator, "/metrics").await.status, 200);
    for local in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        let text = String::from_utf8(server.send(from(local, "/metrics")).await.body).unwrap();
        for line in [
            "counterfoil_http_requests_total{route=\"/v1/titles/{title}\",method=\"GET\",status=\"200\"} 1",
            "counterfoil_http_request_seconds_bucket{route=\"/v1/titles/{title}\",method=\"GET\",le=\"+Inf\"} 1",
            "counterfoil_build_info{version=\"",
            "counterfoil_db_commit_seconds_bucket",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("sky-raider"), "IDs are no labels");
    }
});

db_test!(too_many_requests_of_one_address_wait, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.requests_per_second = 1;
        config.limits.burst = 3;
    })
    .await;
    // More than the burst and what a slow machine's clock may add to it.
    let mut refused = None;
    for _ in 0..200 {
        let answer = server.send(from("192.0.2.1:9", "/healthz")).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("one of 200");
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after"), refused.header("content-type")),
        ("rate_limited", "1", "application/problem+json")
    );
    assert_eq!(server.send(from("192.0.2.2:9", "/healthz")).await.status, 200, "another address");
});

db_test!(odd_addresses_and_texts_are_refused_and_nothing_fails, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    for path in [
        "/v1/titles?after=%00",
        "/v1/audit?family=%00",
        "/v1/titles/%00",
        "/v1/titles/%ff",
        "/v1/titles?limit=x",
        "/v1/titles?limit=-1",
        "/v1/titles/sky-raider/releases?after=x",
        "/v1/audit",
        "/v1/audit?family=x&after=99999999999999999999",
        "/v1/media/%F0%9F%92%BE",
        "/v1/batches/bat-%20",
    ] {
        let answer = server.get(&server.operator, path).await;
        assert!(answer.status.is_client_error() && !answer.code().is_empty(), "{path}: {}", answer.status);
    }
    let token = json!({ "role": "shop", "tenant": "a\u{0}b", "name": "x" });
    assert_eq!(server.post(&server.operator, "/v1/tokens", &token).await.status, 422);
    let attributes = json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "name": "", "rights": { "attributes": { "a": "\u{0}" } } });
    assert_eq!(server.post(&server.operator, "/v1/batches", &attributes).await.status, 201);
    for (path, body) in [
        ("/v1/titles", "{"),
        ("/v1/titles", "[]"),
        ("/v1/batches", r#"{"titles":[],"count":99999999999999999999}"#),
        ("/v1/publishers", r#"{"id":"a","name":"\u0000"}"#),
        ("/v1/cards", r#"{"cards":[1]}"#),
    ] {
        let request = request(Method::POST, path, &server.operator).header("content-type", "application/json").body(body.into()).unwrap();
        let answer = server.send(request).await;
        assert!(answer.status.is_client_error() && !answer.code().is_empty(), "{path} {body}: {}", answer.status);
    }
});
