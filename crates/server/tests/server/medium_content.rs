//! What a medium is told that is to be brought up to date in place (A12): what the release consists of, and nothing without its proof.

use crate::support::catalogue::TestServer;
use crate::support::terminal::{Terminal, exchange, media, request};
use crate::support::{TestDb, db_test};

use counterfoil_core::wire::{ContentOnOffer, Operation, Report, ReportResult, Status};
use counterfoil_core::{Code, MediumId, Refusal};
use serde_json::json;

fn report(medium: &MediumId, title: &str) -> Operation {
    let status = Status {
        title: title.parse().unwrap(),
        grant_id: None,
        medium_id: None,
        release: None,
        damaged: vec![],
        begun: None,
        channel: None,
        wanted: None,
        feed: 0,
        variables: Default::default(),
    };
    let encoder = "zstd 0 level 0".to_owned();
    Operation::Report(Report {
        user_id: None,
        device_id: None,
        medium_id: Some(medium.clone()),
        encoder,
        deltas: true,
        titles: vec![status],
    })
}

fn content(answer: Result<serde_json::Value, Refusal>) -> Result<Option<ContentOnOffer>, Code> {
    let result: ReportResult = serde_json::from_value(answer.map_err(|refusal| refusal.code)?).unwrap();
    let plan = result.plans.into_iter().next().unwrap();
    plan.refused.map_or(Ok(plan.content), |refusal| Err(refusal.code))
}

db_test!(a12_a_medium_that_proves_itself_is_told_what_the_release_consists_of, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let disc = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let fixed = crate::support::terminal::press(&server, "sky-raider", 1, json!({ "update": false })).await.remove(0);
    // Whoever holds it, registered or not.
    let nobody = Terminal { card: None, device: None, drive: None, user: None };
    let asked = request(&server, report(&disc.id, "sky-raider"));
    let told = content(exchange(&server, &nobody.sealed(&server, &asked, Some(&disc))).await).unwrap().unwrap();
    let objects = db.number("SELECT count(*) FROM release_object WHERE title_id = 'sky-raider'").await;
    assert_eq!(told.objects.len(), usize::try_from(objects).unwrap());
    assert!(told.document.split('.').count() == 3 && told.objects.iter().all(|object| object.object.len() == 64), "{told:?}");
    // Not by another medium's proof, nor without the right, nor of what does not lie on it.
    let forged = exchange(&server, &nobody.sealed(&server, &request(&server, report(&disc.id, "sky-raider")), Some(&fixed))).await;
    assert_eq!(content(forged), Err(Code::MediumUnknown));
    let asked = request(&server, report(&fixed.id, "sky-raider"));
    assert_eq!(content(exchange(&server, &nobody.sealed(&server, &asked, Some(&fixed))).await), Err(Code::RightMissing));
    crate::support::catalogue::publish(&server, "blue-fox", "other", "1.0").await;
    let asked = request(&server, report(&disc.id, "other"));
    assert!(content(exchange(&server, &nobody.sealed(&server, &asked, Some(&disc))).await).is_err());
});
