//! Media are pressed, their identities taken, and their rights changed, by thousands.

use std::io::{Cursor, Read as _};

use axum::http::StatusCode;
use counterfoil_server::auth::Role;
use serde_json::Value;

use super::{goes_to, log, recorded};
use crate::console::browser::text;
use crate::console::worker::Worker;
use crate::support::catalogue::{Answer, TestServer, listing, publish};
use crate::support::{TestDb, db_test};

/// Presses through the page; answers with where it leads.
async fn press(server: &TestServer, worker: &mut Worker, count: &str) -> Answer {
    let fields = [("title", "sky-raider"), ("count", count), ("name", "Spring"), ("copies", "2")];
    worker.browser.submit(server, "/console/press", "/console/press", &fields).await
}

db_test!(a_thousand_identities_are_a_zip_a_table_or_lines, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Publisher, Some("blue-fox")).await;
    let refused = press(&server, &mut worker, "none").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&refused).contains("value=\"Spring\""), "what was typed stays");
    let place = goes_to(&press(&server, &mut worker, "1,000").await);
    let page = place.split('?').next().unwrap().to_owned();
    let batch = page.split('/').nth(3).unwrap().to_owned();
    let lines = server.get(&server.operator, &format!("/v1/batches/{batch}/identities")).await.body;
    let areas: Vec<&str> = std::str::from_utf8(&lines).unwrap().lines().collect();
    assert_eq!(areas.len(), 1000);

    let mut take = async |form: &str| worker.browser.submit(&server, &page, &page, &[("as", form)]).await;
    let same = take("lines").await;
    assert_eq!(same.body, lines);
    assert_eq!(same.header("content-disposition"), format!("attachment; filename=\"{batch}.jsonl\""));
    let table = take("csv").await;
    let mut rows = csv::Reader::from_reader(&table.body[..]);
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| &row[2]).collect::<Vec<_>>(), areas);
    let zipped = take("zip").await;
    let mut zip = zip::ZipArchive::new(Cursor::new(zipped.body)).unwrap();
    assert_eq!(zip.len(), 1001);
    for serial in [1, 500, 1000] {
        let mut inside = String::new();
        zip.by_name(&format!("{serial:04}/identity.json")).unwrap().read_to_string(&mut inside).unwrap();
        assert_eq!(inside, areas[serial - 1]);
    }
    let mut list = String::new();
    zip.by_name("media.csv").unwrap().read_to_string(&mut list).unwrap();
    assert_eq!(list.lines().count(), 1001);
    let (actor, _) = recorded(&db, "batch.made").await;
    assert_eq!(actor, format!("staff:{}", worker.id));
    assert_eq!(log(&db).await.iter().filter(|(event, by, _)| event == "identities.pressed" && *by == actor).count(), 3, "each download");
});

db_test!(c18_a_page_presses_media_that_are_paid_for_when_copied_with_and_without_an_identity, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Publisher, Some("blue-fox")).await;
    let mut press = async |paid: &str| {
        let fields = [("title", "sky-raider"), ("count", "3"), ("name", "Giveaway"), ("paid", paid)];
        worker.browser.submit(&server, "/console/press", "/console/press", &fields).await
    };
    goes_to(&press("on_copy").await);
    assert_eq!(db.number("SELECT count(*) FROM batch WHERE paid_on_copy = 1 AND count = 3").await, 1);
    goes_to(&press("medium").await);
    assert_eq!(db.number("SELECT count(*) FROM batch WHERE paid_on_copy = 0").await, 1);
    // What nobody could buy is not given away.
    let refused = press("without").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&refused).contains("not on sale at a price") && text(&refused).contains("value=\"Giveaway\""), "{}", text(&refused));
    server.put_json(&server.fox, "/v1/titles/sky-raider/listing", &listing()).await.expect(200);
    let (first, second) = (press("without").await, press("without").await);
    assert_eq!(first.header("content-disposition"), "attachment; filename=\"notice.json\"");
    assert_eq!(first.body, second.body, "the same for everybody");
    let same = server.get(&server.fox, "/v1/notices?titles=sky-raider").await;
    assert_eq!(first.json(), same.json());
    assert_eq!(
        server.get(&server.owl, "/v1/notices?titles=sky-raider").await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "another publisher's"
    );
    assert_eq!(db.number("SELECT count(*) FROM batch").await, 2, "nothing is kept of it");
});

db_test!(the_rights_of_thousands_are_changed_some_thousand_at_a_time, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let mut worker = Worker::new(&server, Role::Publisher, Some("blue-fox")).await;
    let place = goes_to(&press(&server, &mut worker, "5,003").await);
    let batch = place.split('/').nth(3).unwrap().to_owned();
    let path = format!("/console/batches/{batch}/rights");
    // Two requests of a thousand serials at most, by one click.
    let some = [("whom", "some"), ("from", "4001"), ("until", "5003"), ("state", "unclaimed"), ("copies", "7")];
    let asked = worker.browser.submit(&server, &path, &path, &some).await;
    let done = worker.browser.submit_from(&server, &asked, &path, &[("reason", "a mistake")]).await;
    assert_eq!(goes_to(&done), format!("/console/batches/{batch}?done=rights"));
    let log = log(&db).await;
    let changed: Vec<Value> = log
        .iter()
        .filter(|(event, ..)| event == "media.rights_changed")
        .map(|(.., detail)| serde_json::from_str(detail).unwrap())
        .collect();
    assert_eq!(changed.iter().map(|detail| detail["changed"].as_i64().unwrap()).collect::<Vec<_>>(), [1000, 3]);
    assert!(changed.iter().all(|detail| detail["reason"] == "a mistake"));
});
