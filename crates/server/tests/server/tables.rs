//! Lists of the API as tables: all of them, by one layer, with their pages one after the other.

use crate::support::catalogue::{self, TestServer, publish};
use crate::support::{TestDb, db_test};

use axum::body::Body;
use axum::http::Method;
use counterfoil_server::router;
use counterfoil_server::store::audit;
use counterfoil_server::{db::DbError, db::Tx};
use serde_json::{Value, json};

fn rows(text: &str) -> (Vec<String>, Vec<csv::StringRecord>) {
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let head = table.headers().unwrap().iter().map(str::to_owned).collect();
    (head, table.records().collect::<Result<_, _>>().unwrap())
}

/// What must be said of a list: whose, or what is looked for.
fn required(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let named = parameters.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
    let say = |parameter: &Value| match parameter["name"].as_str() {
        Some("family") => "family=/tokens&".to_owned(),
        Some("find") => "find=ada@example.org&".to_owned(),
        name => panic!("what is said of {name:?}?"),
    };
    named.map(say).collect()
}

db_test!(every_list_is_a_table_as_well, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let openapi = serde_json::to_value(router::openapi(&server.app)).unwrap();
    let lists: Vec<String> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, item)| !item["get"]["responses"]["200"]["content"]["text/csv"].is_null() && !path.starts_with("/v1/export"))
        .map(|(path, _)| path.clone())
        .collect();
    for path in ["/v1/orders", "/v1/audit", "/v1/titles", "/v1/batches", "/v1/publishers", "/v1/tokens", "/v1/titles/{title}/releases"] {
        assert!(lists.iter().any(|list| list == path), "{path} in {lists:?}");
    }
    for path in &lists {
        // Every list with a page, or a member that is one, which is how the layer knows it.
        let there = path.replace("{title}", "sky-raider");
        if there.contains('{') {
            continue;
        }
        let query = required(&openapi["paths"][path]["get"]);
        let answer = server.get(&server.operator, &format!("{there}?{query}format=csv")).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert!(answer.header("content-type").starts_with("text/csv") && answer.header("content-disposition").contains(".csv"), "{path}");
        let (head, found) = rows(&text);
        assert!(!head.is_empty() && head.iter().all(|name| !name.is_empty()), "{path}: {head:?}");
        let page = server.get(&server.operator, &format!("{there}?{query}")).await.expect(200);
        let member = page.as_object().unwrap().iter().find_map(|(_, member)| member.as_array()).unwrap();
        assert_eq!(found.len(), member.len(), "{path}");
    }
    let lone: Vec<&str> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, item)| {
            let is_page = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
                .as_str()
                .is_some_and(|name| name.contains("/Page_"));
            is_page && !lists.contains(path)
        })
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(lone, Vec::<&str>::new(), "pages that are no table");
});

db_test!(a_table_is_what_the_caller_may_see_and_no_formula, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    publish(&server, "red-owl", "moon-raider", "1.0").await;
    let evil = "=HYPERLINK(\"https://evil.example\",\"x\")";
    let new = json!({ "title": "evil", "name": evil, "kind": "game", "publisher": "blue-fox" });
    server.post(&server.operator, "/v1/titles", &new).await.expect(201);
    let accept = catalogue::request(Method::GET, "/v1/titles", &server.fox).header("accept", "text/csv");
    let answer = server.send(accept.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("vary"), "accept");
    let (head, found) = rows(&String::from_utf8(answer.body).unwrap());
    let place = |name: &str| head.iter().position(|column| column == name).unwrap();
    let names: Vec<&str> = found.iter().map(|row| &row[place("name")]).collect();
    assert_eq!(names, [format!("'{evil}").as_str(), "sky-raider"], "those of one publisher, and none that is run");
    assert_eq!(server.get("", "/v1/titles?format=csv").await.status, 401);
    assert_eq!(server.get(&server.fox, "/v1/orders?format=csv").await.status, 403);
    assert_eq!(server.get(&server.fox, "/v1/titles?format=xls").await.code(), "invalid_request");
    assert_eq!(server.get(&server.operator, "/v1/titles/none/releases?format=csv").await.code(), "not_found");
    let nested = server.get(&server.operator, "/v1/batches?format=csv").await;
    let (head, found) = rows(&String::from_utf8(nested.body).unwrap());
    assert!(found.is_empty() && head.contains(&"rights.copies".to_owned()) && head[0] == "batch", "{head:?}");
});

db_test!(a_table_holds_all_pages_and_one_list_after_the_other, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    for block in 0..21 {
        let filled = db.write("fill", "/x", async move |tx: &mut Tx| -> Result<(), DbError> {
            for number in block * 100..(block + 1) * 100 {
                audit::append(tx, "/x", number, "test", "some.thing", &json!({ "number": number })).await?;
            }
            Ok(())
        });
        filled.await.unwrap();
    }
    let table = async |query: &str| {
        let answer = server.get(&server.operator, &format!("/v1/audit?family=/x&format=csv{query}")).await;
        rows(&String::from_utf8(answer.body).unwrap())
    };
    let (head, found) = table("").await;
    assert_eq!(head, ["seq", "at", "actor", "event", "detail", "hash"]);
    let numbers: Vec<i64> = found.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=2100).collect::<Vec<_>>());
    assert_eq!(serde_json::from_str::<Value>(&found[7][4]).unwrap(), json!({ "number": 7 }));
    let (_, rest) = table("&after=2000&limit=3").await;
    assert_eq!(rest.len(), 100, "all from there on");
    assert_eq!(table("&after=2100").await.1.len(), 0);
});
