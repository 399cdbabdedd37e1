//! What is sold: listings, prices, pictures, channels, the public store and its pages (D2).

mod publishers_pages;

use crate::support;
use crate::support::catalogue;

use axum::body::Body;
use axum::http::{Method, Request};
use catalogue::{Answer, TestServer, listing, png, publish, release, request};
use counterfoil_core::{Channel, TitleId};
use counterfoil_format::content::ObjectName;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::router;
use counterfoil_server::store::release as store;
use serde_json::{Value, json};
use support::{TestDb, db_test};

const LISTING: &str = "/v1/titles/sky-raider/listing";

/// Looks at a page as a browser does.
async fn browse(server: &TestServer, path: &str) -> Answer {
    let request = Request::builder().uri(path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    server.send(request.body(Body::empty()).unwrap()).await
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// Titles that the store shows for a search.
async fn found(server: &TestServer, query: &str) -> Vec<String> {
    let page = server.get("", &format!("/v1/store/titles?{query}")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect()
}

async fn list(server: &TestServer, token: &str, title: &str, change: Value) -> Answer {
    let mut listing = listing();
    for (name, value) in change.as_object().unwrap() {
        listing[name] = value.clone();
    }
    server.put_json(token, &format!("/v1/titles/{title}/listing"), &listing).await
}

db_test!(
    /// proves: D2
    d2_a_publisher_lists_a_title_and_everybody_sees_it,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        publish(&server, "blue-fox", "sky-raider", "1.0").await;
        let empty = server.get(&server.fox, LISTING).await.expect(200);
        assert_eq!((&empty["on_sale"], &empty["prices"], &empty["policy"]["devices"]), (&json!(false), &json!([]), &json!(1)));
        assert_eq!(empty.get("updated_at"), None);
        assert_eq!(found(&server, "").await, Vec::<String>::new(), "not listed");
        assert_eq!(server.get("", "/v1/store/titles/sky-raider").await.status, 404);

        let terms = json!({ "devices": 3, "transfers": 0, "refund_days": 0 });
        let written = list(&server, &server.fox, "sky-raider", json!({ "policy": terms })).await.expect(200);
        assert_eq!((&written["policy"]["devices"], &written["policy"]["lease_days"]), (&json!(3), &json!(30)), "defaults are filled in");
        assert_eq!(server.get(&server.fox, LISTING).await.expect(200), written);
        assert_eq!(list(&server, &server.fox, "sky-raider", json!({ "policy": terms })).await.expect(200), written);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'title.listed'").await, 1, "the same again changes nothing");

        assert_eq!(found(&server, "").await, ["sky-raider"]);
        let answer = server.get("", "/v1/store/titles/sky-raider").await;
        assert_eq!(answer.header("cache-control"), "public, max-age=60");
        let sold = answer.expect(200);
        assert_eq!(sold["prices"], json!([{ "amount": 1999, "currency": "EUR" }, { "amount": 2199, "currency": "USD" }]));
        assert_eq!((&sold["publisher"], &sold["kind"]), (&json!("blue-fox Ltd"), &json!("game")));
        let terms = sold["terms"].as_array().unwrap();
        assert!(terms.contains(&json!("It runs on up to 3 of your devices at a time.")), "{terms:?}");
        let size = catalogue::manifest_bytes("sky-raider", "1.0").len() + catalogue::pack_bytes("sky-raider", "1.0").len();
        assert_eq!((&sold["releases"][0]["version"], &sold["releases"][0]["size"]), (&json!("1.0"), &json!(size)));

        list(&server, &server.fox, "sky-raider", json!({ "on_sale": false })).await.expect(200);
        assert_eq!(found(&server, "").await, Vec::<String>::new(), "taken off");
        assert_eq!(server.get("", "/v1/store/titles/sky-raider").await.status, 404);
        assert_eq!(browse(&server, "/store/sky-raider").await.status, 404);
    }
);

db_test!(listings_that_cannot_be_meant_and_strangers_are_refused, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    assert_eq!(list(&server, &server.owl, "sky-raider", json!({})).await.status, 404, "another's title");
    assert_eq!(server.get(&server.owl, LISTING).await.status, 404);
    let euro = |amount: u64| json!({ "amount": amount, "currency": "EUR" });
    for (wrong, what) in [
        (json!({ "prices": [] }), "on sale without a price"),
        (json!({ "prices": [euro(1), euro(2)] }), "a currency twice"),
        (json!({ "prices": [euro(1_000_000_000_001)] }), "a price that does not fit"),
        (json!({ "prices": [{ "amount": -1, "currency": "EUR" }] }), "less than nothing"),
        (json!({ "prices": [{ "amount": 1, "currency": "euro" }] }), "no currency"),
        (json!({ "summary": "two\nlines" }), "a summary of two lines"),
        (json!({ "summary": "x".repeat(201) }), "a long summary"),
        (json!({ "description": "x".repeat(20_001) }), "a long description"),
        (json!({ "description": "a\u{7}" }), "a bell"),
        (json!({ "policy": { "devices": 0 } }), "no devices"),
        (json!({ "policy": { "device": 1 } }), "an unknown term"),
        (json!({ "price": [] }), "an unknown field"),
    ] {
        let answer = list(&server, &server.fox, "sky-raider", wrong).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "unprocessable"), "{what}");
    }
    assert_eq!(db.number("SELECT count(*) FROM listing").await + db.number("SELECT count(*) FROM price").await, 0);
    assert_eq!(found(&server, "").await, Vec::<String>::new());
});

db_test!(
    /// proves: D2
    d2_the_store_is_searched_in_name_summary_and_publisher,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        for (title, summary) in [("moon-raider", "100% fun_loving!"), ("night-songs", "For the NIGHT"), ("sky-raider", "Fly far")] {
            publish(&server, "blue-fox", title, "1.0").await;
            list(&server, &server.fox, title, json!({ "summary": summary })).await.expect(200);
        }
        // On sale, and nothing to fetch yet.
        let new = json!({ "title": "vapour", "name": "Vapour", "kind": "app", "publisher": "blue-fox" });
        server.post(&server.fox, "/v1/titles", &new).await.expect(201);
        list(&server, &server.fox, "vapour", json!({})).await.expect(200);

        for (query, titles) in [
            ("q=", &["moon-raider", "night-songs", "sky-raider"][..]),
            ("q=RAIDER", &["moon-raider", "sky-raider"]),
            ("q=far", &["sky-raider"]),
            ("q=fLY%20%20fAR", &["sky-raider"]),
            ("q=fox%20ltd", &["moon-raider", "night-songs", "sky-raider"]),
            ("q=100%25", &["moon-raider"]),
            ("q=0%25%20f", &["moon-raider"]),
            ("q=fun_l", &["moon-raider"]),
            ("q=funxl", &[]),
            ("q=fun%25ving", &[]),
            ("q=ng!", &["moon-raider"]),
            ("q=y_f", &[]),
            ("q='", &[]),
        ] {
            assert_eq!(found(&server, query).await, titles, "{query}");
        }
        let first = server.get("", "/v1/store/titles?limit=2").await.expect(200);
        let next = first["next"].as_str().unwrap();
        assert_eq!((first["items"].as_array().unwrap().len(), found(&server, &format!("after={next}")).await), (2, vec!["sky-raider".to_owned()]));
        assert_eq!(first["items"][0]["prices"].as_array().unwrap().len(), 2, "every price of every title");
        assert_eq!(server.get("", &format!("/v1/store/titles?q={}", "x".repeat(101))).await.status, 400);
    }
);

db_test!(
    /// proves: D2
    d2_pictures_are_checked_kept_by_hash_and_shown,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        publish(&server, "blue-fox", "sky-raider", "1.0").await;
        list(&server, &server.fox, "sky-raider", json!({})).await.expect(200);
        let put = async |token: &str, target: &str, kind: &str, bytes: Vec<u8>| {
            let path = format!("/v1/titles/sky-raider/pictures/{target}");
            server.send(request(Method::PUT, &path, token).header("content-type", kind).body(bytes.into()).unwrap()).await
        };
        for (target, kind, bytes, status) in [
            ("1?alt=x", "image/svg+xml", b"<svg/>".to_vec(), 415),
            ("1?alt=x", "text/html", png(1), 415),
            ("1?alt=x", "image/jpeg", png(1), 422),
            ("1?alt=x", "image/png", b"<script>alert(1)</script>".to_vec(), 422),
            ("1?alt=x", "image/png", vec![], 422),
            ("1", "image/png", png(1), 422),
            ("1?alt=%20", "image/png", png(1), 422),
            ("0?alt=x", "image/png", png(1), 422),
            ("13?alt=x", "image/png", png(1), 422),
            ("x?alt=x", "image/png", png(1), 400),
            ("1?alt=x", "image/png", [png(1), vec![0; 4 << 20]].concat(), 413),
        ] {
            assert_eq!(put(&server.fox, target, kind, bytes).await.status, status, "{target} {kind}");
        }
        assert_eq!(put(&server.owl, "1?alt=x", "image/png", png(1)).await.status, 404);
        assert_eq!(db.number("SELECT count(*) FROM picture").await, 0);

        put(&server.fox, "2?alt=Second", "image/png", png(2)).await.expect(200);
        let webp = b"RIFF\x04\0\0\0WEBP".to_vec();
        let shown = put(&server.fox, "1?alt=A%20%3Cship%3E", "image/webp", webp.clone()).await.expect(200);
        let path = format!("/pictures/{}", ObjectName::of(&webp));
        assert_eq!((&shown["pictures"][0]["path"], &shown["pictures"][0]["alt"]), (&json!(path), &json!("A <ship>")));
        let picture = server.get("", &path).await;
        assert_eq!((picture.status.as_u16(), picture.header("content-type"), &picture.body), (200, "image/webp", &webp));
        assert!(picture.header("cache-control").contains("immutable"));
        assert_eq!(picture.header("x-content-type-options"), "nosniff");
        let again = request(Method::GET, &path, "").header("if-none-match", picture.header("etag")).body(Body::empty()).unwrap();
        assert_eq!(server.send(again).await.status, 304);
        let sealed = format!("/pictures/{}", ObjectName::of(&catalogue::pack_bytes("sky-raider", "1.0")));
        assert_eq!(server.get("", &sealed).await.status, 404, "an object that is no picture");
        let shelf = server.get("", "/v1/store/titles").await.expect(200);
        assert_eq!(shelf["items"][0]["picture"]["path"], json!(path), "the first one stands for the title");

        let records = "SELECT count(*) FROM audit WHERE event = 'picture.put'";
        put(&server.fox, "1?alt=A%20%3Cship%3E", "image/webp", webp).await.expect(200);
        assert_eq!(db.number(records).await, 2, "the same again changes nothing");
        let remove = async |token: &str| {
            server.send(request(Method::DELETE, "/v1/titles/sky-raider/pictures/1", token).body(Body::empty()).unwrap()).await.status
        };
        assert_eq!((remove(&server.owl).await.as_u16(), remove(&server.fox).await.as_u16(), remove(&server.fox).await.as_u16()), (404, 204, 404));
        assert_eq!(server.get("", &path).await.status, 404, "no title shows it");
    }
);

db_test!(
    /// proves: D2
    d2_who_names_no_channel_gets_what_is_stable,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        publish(&server, "blue-fox", "sky-raider", "1.0").await;
        let path = "/v1/titles/sky-raider/releases";
        for bytes in [catalogue::manifest_bytes("sky-raider", "2.0"), catalogue::pack_bytes("sky-raider", "2.0")] {
            server.put(&server.fox, &format!("/v1/contents/{}", ObjectName::of(&bytes)), bytes).await.expect(201);
        }
        let mut beta = release("blue-fox", "sky-raider", "2.0");
        beta["channel"] = json!("Beta!");
        assert_eq!(server.post(&server.fox, path, &beta).await.status, 422);
        beta["channel"] = json!("beta");
        let made = server.post(&server.fox, path, &beta).await.expect(201);
        assert_eq!((&made["channel"], &made["number"]), (&json!("beta"), &json!(2)), "numbers count over all channels");
        assert_eq!(server.post(&server.fox, path, &beta).await.expect(200), made);
        beta["channel"] = json!("stable");
        assert_eq!(server.post(&server.fox, path, &beta).await.code(), "release_exists", "a release keeps its channel");

        let newest = async |channel: &str| {
            let (title, channel): (TitleId, Channel) = ("sky-raider".parse().unwrap(), channel.parse().unwrap());
            let found = db.read("newest", async move |tx: &mut Tx| -> Result<_, DbError> { store::newest(tx, &title, &channel).await }).await;
            found.unwrap().map(|release| release.version.to_string())
        };
        assert_eq!(newest("stable").await.as_deref(), Some("1.0"));
        assert_eq!(newest("beta").await.as_deref(), Some("2.0"));
        assert_eq!(newest("nightly").await, None);
        let batch = catalogue::press(&server, &server.fox, "sky-raider", 1).await;
        assert_eq!(batch["titles"][0]["version"], "1.0", "media are pressed with what is stable");
        list(&server, &server.fox, "sky-raider", json!({})).await.expect(200);
        let sold = server.get("", "/v1/store/titles/sky-raider").await.expect(200);
        let releases: Vec<_> = sold["releases"].as_array().unwrap().iter().map(|release| (&release["version"], &release["channel"])).collect();
        assert_eq!(releases, [(&json!("2.0"), &json!("beta")), (&json!("1.0"), &json!("stable"))]);
    }
);

db_test!(
    /// proves: D2
    d2_the_pages_show_what_is_sold_as_text_and_load_nothing_from_elsewhere,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        assert!(text(&browse(&server, "/store").await).contains("Nothing is sold here yet"));
        publish(&server, "blue-fox", "sky-raider", "1.0").await;
        let hostile = "<script>alert(1)</script> & \"more\"";
        let change = json!({ "summary": hostile, "description": format!("One\nline.\n\n{hostile}"), "policy": { "devices": 2 } });
        list(&server, &server.fox, "sky-raider", change).await.expect(200);
        server.put_picture(&server.fox, "sky-raider", 1, &png(1)).await.expect(200);
        for path in ["/store", "/store?q=%3Cscript%3E", "/store/sky-raider"] {
            let page = browse(&server, path).await;
            assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'self';") && !policy.contains("script") && !policy.contains("unsafe"));
            assert_eq!((page.header("x-content-type-options"), page.header("cache-control")), ("nosniff", "public, max-age=60"));
            let page = text(&page);
            assert!(page.contains("&#60;script&#62;") && !page.contains("<script"), "{path}: {page}");
            assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">") && page.contains("class=\"skip\" href=\"#main\""));
            for part in page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1)).chain(page.split("action=\"").skip(1)) {
                let address = part.split('"').next().unwrap();
                assert!(address.starts_with('#') || (address.starts_with('/') && !address.starts_with("//")), "{path}: {address}");
                if address.starts_with("/assets/") || address.starts_with("/pictures/") {
                    assert_eq!(server.get("", address).await.status, 200, "{address}");
                }
            }
        }
        let page = text(&browse(&server, "/store/sky-raider").await);
        for part in ["<span class=\"whole\">19.99 EUR</span> or <span class=\"whole\">21.99 USD</span>", "It runs on up to 2 of your devices at a time.", "One<br>line.", "/store/sky-raider/buy", "1 Jan 2026"]
        {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        let style = page.split("href=\"/assets/style.").nth(1).unwrap().split('"').next().unwrap();
        let style = server.get("", &format!("/assets/style.{style}")).await;
        assert!(style.header("cache-control").contains("immutable") && style.header("content-type").starts_with("text/css"));
        assert_eq!(server.get("", "/assets/style.css").await.status, 404, "without its hash");
    }
);

db_test!(browsers_are_told_of_problems_by_a_page_and_programs_by_details, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    for path in ["/store/no-title", "/store/..", "/nothing", "/pictures/x", "/store?limit=x", "/store?after=%00"] {
        let page = browse(&server, path).await;
        assert!(page.status.is_client_error(), "{path}: {}", page.status);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(text(&page).contains("<h1>"), "{path}");
        let details = server.get("", path).await;
        assert_eq!((details.status, details.header("content-type")), (page.status, "application/problem+json"), "{path}");
    }
    for path in ["/v1/store/titles/no-title", "/contents/x", "/v1/tokens"] {
        assert_eq!(browse(&server, path).await.header("content-type"), "application/problem+json", "{path}");
    }
    // A console of its own has the pages, and other processes say who has.
    let license = server.beside(|config| config.server.roles = [counterfoil_server::roles::ServerRole::License].into_iter().collect());
    assert!(router::pages(&license.app).is_empty());
    assert_eq!(license.get("", "/store").await.code(), "not_served");
});
