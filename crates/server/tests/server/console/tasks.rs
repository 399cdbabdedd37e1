//! What is done at the console is done as by the API, once, by whoever may, with a reason; and looks the same to nobody else.

mod pressing;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use counterfoil_core::DeviceId;
use counterfoil_server::auth::Role;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::router;
use serde_json::{Value, json};

use super::browser::{Browser, text};
use super::catalogue::{Answer, TestServer, publish};
use super::support::terminal::{Terminal, media, public, random};
use super::support::{TestDb, db_test};
use super::things::Things;
use super::worker::Worker;

/// Fills in an address with IDs that are written as they should be, and name nothing.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{user_id}" => "usr-00000000000000000000000000-0".to_owned(),
        "{batch}" => "bat-000000000000-0".to_owned(),
        part if part.starts_with('{') => "x".to_owned(),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What the audit log holds: event, actor, particulars.
async fn log(db: &TestDb) -> Vec<(String, String, String)> {
    let read = async |tx: &mut Tx| -> Result<Vec<(String, String, String)>, DbError> {
        tx.query("SELECT event, actor, detail FROM audit ORDER BY at, family, seq").all().await
    };
    db.read("log", read).await.unwrap()
}

/// The one record of an event, with who did it.
async fn recorded(db: &TestDb, event: &str) -> (String, Value) {
    let mut found: Vec<_> = log(db).await.into_iter().filter(|(known, ..)| known == event).collect();
    assert_eq!(found.len(), 1, "{event}: {found:?}");
    let (_, actor, detail) = found.remove(0);
    (actor, serde_json::from_str(&detail).unwrap())
}

fn goes_to(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", text(answer));
    answer.header("location").to_owned()
}

db_test!(no_form_does_anything_without_its_token, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let before = log(&db).await;
    // Those before anybody is signed in, and those of the script, which are no forms.
    let others = ["/console/sign-in", "/console/set-up", "/console/passkeys"];
    let forms: Vec<&str> = router::pages(&server.app)
        .into_iter()
        .filter(|(path, methods)| path.starts_with("/console") && methods.contains(&"POST"))
        .map(|(path, _)| path)
        .filter(|path| path.ends_with("/remove") || !others.iter().any(|other| path.starts_with(other)))
        .collect();
    assert!(forms.len() > 25, "only {forms:?}");
    for path in forms {
        for form in ["", "AAAAAAAAAAAAAAAAAAAAAA"] {
            let sent = worker.browser.post(&server, &filled(path), &[("form", form), ("reason", "because"), ("step", "do")]).await;
            assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}: {}", text(&sent));
        }
    }
    assert_eq!(log(&db).await, before, "nothing was done");
});

db_test!(whoever_may_not_see_a_page_finds_nothing_there, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 2, json!({})).await.remove(0).id;
    let batch = server.get(&server.operator, "/v1/batches").await.expect(200)["items"][0]["batch"].as_str().unwrap().to_owned();
    publish(&server, "red-owl", "night-owl", "1.0").await;
    let user = Terminal::registered(&server).await.user.unwrap();
    let catalogue = [
        format!("/console/batches/{batch}/identities"),
        format!("/console/batches/{batch}/rights"),
        format!("/console/media/{medium}/rights"),
    ];
    let release = ["/console/titles/sky-raider/releases/1.0".to_owned()];
    let entries = [format!("/console/users/{user}/exchange"), format!("/console/users/{user}/reissue")];
    let operators = ["/console/tokens", "/console/audit", "/console/audit.csv", "/console/settings"].map(str::to_owned);
    let erase = [format!("/console/users/{user}/erase"), format!("/console/media/{medium}/retire")];
    let reissues = ["/console/reissues".to_owned()];
    let press = ["/console/press".to_owned(), "/console/webhooks".to_owned()];
    let all: BTreeSet<&String> =
        [&catalogue[..], &entries, &operators, &erase, &reissues, &press, &release].concat().leak().iter().collect();
    for (role, tenant, sees) in [
        (Role::Operator, None, [&catalogue[..], &entries, &operators, &erase, &reissues, &press, &release].concat()),
        (Role::Publisher, Some("blue-fox"), [&catalogue[..], &press, &release].concat()),
        (Role::Publisher, Some("red-owl"), press.to_vec()),
        (Role::Repair, None, [&entries[..], &reissues].concat()),
        (Role::Support, None, [&reissues[..], &release].concat()),
        (Role::Shop, None, vec![]),
    ] {
        let mut worker = Worker::new(&server, role, tenant).await;
        for path in &all {
            let expected = if sees.contains(path) { StatusCode::OK } else { StatusCode::NOT_FOUND };
            assert_eq!(worker.browser.get(&server, path).await.status, expected, "{role:?} {tenant:?} {path}");
        }
    }
    let mut nobody = Browser::default();
    for path in all {
        assert!(goes_to(&nobody.get(&server, path).await).starts_with("/console/sign-in"), "{path}");
    }
});

db_test!(every_page_has_its_headers, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    for path in [
        "",
        "/audit",
        "/press",
        "/reissues",
        "/settings",
        "/tokens",
        "/webhooks",
        "/titles/sky-raider/releases/1.0",
        "/titles/none/releases/1",
        "/sign-in",
    ] {
        let shown = worker.browser.get(&server, &format!("/console{path}")).await;
        if shown.status == StatusCode::SEE_OTHER {
            continue;
        }
        let policy = shown.header("content-security-policy");
        for directive in ["default-src 'none'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(shown.header(header), value, "{path}");
        }
        let page = text(&shown);
        assert!(!page.contains(" style=") && !page.contains("<script>"), "{path}");
        // These two show addresses.
        assert!(!page.contains("https://") || path == "/webhooks" || path == "/settings", "{path}");
    }
});

db_test!(a_form_that_is_sent_twice_does_its_work_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let shown = worker.browser.get(&server, "/console/press").await;
    let mut send = async |count: &str| {
        worker.browser.submit_from(&server, &shown, "/console/press", &[("title", "sky-raider"), ("count", count)]).await
    };
    assert_eq!(goes_to(&send("10").await), goes_to(&send("10").await));
    assert_eq!(send("11").await.status, StatusCode::UNPROCESSABLE_ENTITY, "nor does it do something else");
    recorded(&db, "batch.made").await;

    let shown = worker.browser.get(&server, "/console/tokens").await;
    let mut made = vec![];
    for _ in 0..2 {
        let answer = worker.browser.submit_from(&server, &shown, "/console/tokens", &[("name", "a shop"), ("role", "shop")]).await;
        made.push(text(&answer).split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned());
    }
    assert_eq!(made[0], made[1]);
    server.get(&made[0], "/v1/whoami").await.expect(200);
    assert!(!worker.page(&server, "/console/tokens").await.contains(&made[0]), "it is shown once");
});

/// Sends a page that asks, with a reason; without one, it asks again and nothing is done.
async fn confirm(server: &TestServer, worker: &mut Worker, path: &str, fields: &[(&str, &str)]) -> String {
    let shown = worker.browser.get(server, path).await;
    if text(&shown).contains("name=\"reason\"") {
        let silent = worker.browser.submit_from(server, &shown, path, &[("reason", " ")]).await;
        assert_ne!(silent.status, StatusCode::SEE_OTHER, "{path} without a reason");
    }
    let shown = worker.browser.get(server, path).await;
    goes_to(&worker.browser.submit_from(server, &shown, path, fields).await)
}

db_test!(what_is_done_stands_in_the_audit_log_with_who_and_why, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 3, json!({})).await;
    let terminal = Terminal::registered(&server).await;
    let card = terminal.card_id().unwrap();
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let me = format!("staff:{}", worker.id);
    let why = [("reason", "found in a river")];

    let goes = confirm(&server, &mut worker, &format!("/console/cards/{card}/revoke"), &why).await;
    assert_eq!(goes, format!("/console/cards/{card}?done=card-revoked"));
    assert_eq!(recorded(&db, "card.revoked").await, (me.clone(), json!({ "reason": "found in a river" })));

    confirm(&server, &mut worker, &format!("/console/media/{}/retire", media[0].id), &why).await;
    assert_eq!(recorded(&db, "medium.retired").await, (me.clone(), json!({ "reason": "found in a river" })));

    let path = format!("/console/media/{}/rights", media[1].id);
    let asked = worker.browser.submit(&server, &path, &path, &[("copies", "3"), ("play", "no")]).await;
    let shown = text(&asked);
    assert!(shown.contains("Copies: 1 → 3") && shown.contains("Play: yes → no") && !shown.contains("Update:"), "{shown}");
    assert!(!log(&db).await.iter().any(|(event, ..)| event == "medium.rights_changed"), "nothing is done yet");
    goes_to(&worker.browser.submit_from(&server, &asked, &path, &why).await);
    let (actor, detail) = recorded(&db, "medium.rights_changed").await;
    assert_eq!((actor, &detail["reason"], &detail["after"]["copies"]), (me.clone(), &json!("found in a river"), &json!(3)));

    let path = "/console/titles/sky-raider/releases/1.0";
    let shown = worker.browser.get(&server, path).await;
    goes_to(
        &worker
            .browser
            .submit_from(&server, &shown, path, &[("rollout", "10"), ("held", "yes"), ("notes", "New maps"), ("allow_back", "yes")])
            .await,
    );
    let (actor, detail) = recorded(&db, "release.changed").await;
    assert_eq!((actor, detail["changed"].clone()), (me.clone(), json!({ "held": true, "notes": true, "rollout": 10 })));

    let token = server.get(&server.operator, "/v1/tokens").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    goes_to(
        &worker.browser.submit(&server, &format!("/console/tokens/{token}/revoke"), &format!("/console/tokens/{token}/revoke"), &[]).await,
    );
    assert_eq!(recorded(&db, "token.revoked").await, (me, json!({ "token": token })));
    let page = worker.page(&server, "/console/audit?event=rights_changed").await;
    assert!(page.contains("Rights changed") && page.contains("found in a river") && !page.contains("Card revoked"), "{page}");
});

db_test!(c14_c15_a_device_is_exchanged_and_a_card_replaced_by_whoever_may, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let discs = media(&server, "sky-raider", 2, json!({})).await;
    let terminal = Terminal::registered(&server).await;
    let (user, old) = (terminal.user.unwrap(), terminal.device_id().unwrap());
    let grants = terminal.claim(&server, &discs[0]).await.unwrap();
    terminal.confirm(&server, &discs[0], &grants).await.unwrap();
    counterfoil_server::jobs::deliver(&server.app).await.unwrap();
    let mut worker = Worker::new(&server, Role::Repair, None).await;
    let new = DeviceId::from_bytes(random()).to_string();
    let path = format!("/console/users/{user}/exchange");
    let asked = worker.browser.submit(&server, &path, &path, &[("old", &old.to_string()), ("new", &new)]).await;
    let shown = text(&asked);
    assert!(shown.contains("1 copy from a medium on it end") && shown.contains("The new device is expected"), "{shown}");
    let done = worker.browser.submit_from(&server, &asked, &path, &[("reason", "fell into the sea"), ("reference", "RMA 4711")]).await;
    assert_eq!(goes_to(&done), format!("/console/users/{user}?done=exchanged"));
    let (actor, _) = recorded(&db, "user.exchanged").await;
    assert_eq!(actor, format!("staff:{}", worker.id));
    let medium = server.get(&server.operator, &format!("/v1/media/{}", discs[0].id)).await.expect(200);
    assert_eq!(medium["copies_claimed"], 0, "the copy is free");

    let path = format!("/console/users/{user}/reissue");
    let card = crate::support::terminal::card();
    let keys = public(&card);
    let fields = [("sign", keys.sign.as_str()), ("seal", keys.seal.as_str()), ("reason", "shown a passport")];
    let wrong = worker.browser.submit(&server, &path, &path, &[("sign", "x"), ("seal", "y"), ("reason", "a try")]).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT, "{}", text(&wrong));
    let done = worker.browser.submit(&server, &path, &path, &fields).await;
    assert_eq!(goes_to(&done), format!("/console/users/{user}?done=replaced"));
    let entry = server.get(&server.operator, &format!("/v1/entries/{user}")).await.expect(200);
    assert_eq!(entry["card"]["card_id"], counterfoil_core::CardId::from_bytes(card.public().id()).to_string());
    assert_eq!(entry["generation"], 2);
});

db_test!(what_a_stranger_wrote_is_shown_as_it_was_written, async |db: TestDb| {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Operator, None).await;
    let refused = worker
        .browser
        .submit(&server, "/console/press", "/console/press", &[("title", "sky-raider"), ("count", EVIL), ("name", EVIL)])
        .await;
    let made = worker
        .browser
        .submit(&server, "/console/press", "/console/press", &[("title", "sky-raider"), ("count", "1"), ("name", EVIL)])
        .await;
    let batch = goes_to(&made);
    let mut pages = vec![text(&refused), worker.page(&server, &batch).await];
    // As the log holds what somebody sent.
    db.write("planted", "usr-planted", async |tx: &mut Tx| -> Result<(), DbError> {
        counterfoil_server::store::audit::append(tx, "usr-planted", 1, EVIL, EVIL, &json!({ EVIL: EVIL })).await.map(drop)
    })
    .await
    .unwrap();
    pages.push(worker.page(&server, "/console/audit?family=usr-planted").await);
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("actor", EVIL).append_pair("from", EVIL).finish();
    pages.push(worker.page(&server, &format!("/console/audit?{query}")).await);
    for page in pages {
        assert!(page.contains("alert(1)"), "it is shown");
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
    }
    let table = worker.browser.get(&server, "/console/audit.csv?family=usr-planted").await;
    assert!(text(&table).contains("\"<script>alert(1)"), "{}", text(&table));
});

db_test!(lists_are_tables_as_well_with_their_filters_and_of_ones_own_alone, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let things = Things::new(&server, &db).await;
    let mut operator = Worker::new(&server, Role::Operator, None).await;
    let mut owl = Worker::new(&server, Role::Publisher, Some("red-owl")).await;
    for (path, columns, holds) in [
        ("/console/orders".to_owned(), "order,title,price,state,user,device,at", &things.order),
        ("/console/orders?state=due".to_owned(), "order,title,price,state,user,device,at", &things.order),
        ("/console/batches".to_owned(), "batch,name,publisher,media,made_by,at", &things.batch),
        (format!("/console/batches/{}", things.batch), "medium,number,state,copies,first_heard_of", &things.medium),
    ] {
        let page = operator.page(&server, &path).await;
        let href = page.split("class=\"csv\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
        assert!(href.starts_with(&path) && href.ends_with("format=csv"), "{href}");
        let table = operator.browser.get(&server, &href).await;
        assert!(table.header("content-type").starts_with("text/csv") && table.header("content-disposition").starts_with("attachment"));
        let table = text(&table);
        assert!(table.starts_with(columns) && table.contains(holds.as_str()), "{path}: {table}");
        let theirs = owl.browser.get(&server, &href).await;
        assert!(theirs.status == 404 || !text(&theirs).contains(holds.as_str()), "{path}");
    }
    let none = operator.browser.get(&server, "/console/orders?state=ended&format=csv").await;
    assert_eq!(text(&none), "order,title,price,state,user,device,at\r\n");
});
