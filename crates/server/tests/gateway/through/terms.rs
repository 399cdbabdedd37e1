//! A share that changes from a moment on: what was charged, or offered, before keeps the one that it was made under (C17).

use counterfoil_server::auditor;

use super::*;
use crate::support::{TestDb, db_test};

const MINUTE: i64 = 60 * 1000;

impl Rig {
    async fn share(&self, share: u32, from: Option<i64>) -> Answer {
        let from = from.map(|at| counterfoil_server::clock::rfc3339(counterfoil_core::Timestamp(at)));
        let body = json!({ "share": share, "from": from });
        let server = &self.private.server;
        server.post(&server.operator, &format!("/v1/gateways/{}/terms", self.gateway_id), &body).await
    }

    async fn part(&self, n: usize) -> u64 {
        let claiming = self.claiming(n);
        assert!(is_granted(&claiming.answered(Some("1999 EUR")).await.1));
        exchange::find(&self.gateway, claiming.id()).await.unwrap().unwrap().charge.operator_part
    }
}

// proves: C17
db_test!(c17_a_share_changes_from_a_moment_on_and_nothing_before_it_does, async |db: TestDb| {
    let rig = Rig::new(&db, 5, 50_000).await;
    let server = &rig.private.server;
    let now = || server.app.clock.now().0;
    assert_eq!(rig.part(0).await, 1400);
    let offered = rig.claiming(1);
    assert_eq!(offered.send(None).await.0.code(), "charge_unconfirmed");
    rig.later(1);
    rig.share(5000, None).await.expect(201);
    let (before, from) = (now(), now() + 30 * MINUTE);
    rig.share(1000, Some(from)).await.expect(201);
    // Said again for the same moment, it is the one that was said last.
    rig.share(2000, Some(from)).await.expect(201);
    assert_eq!(rig.part(2).await, 1000);
    // Offered under the old one, and agreed to since.
    assert!(is_granted(&offered.answered(Some("1999 EUR")).await.1));
    assert_eq!(exchange::find(&rig.gateway, offered.id()).await.unwrap().unwrap().charge.operator_part, 1400);
    rig.later(30 * MINUTE - (now() - before));
    assert_eq!(rig.part(3).await, 1600);

    assert_eq!(rig.share(3000, Some(now() - 1)).await.status, 422, "what was charged is not charged otherwise afterwards");
    assert_eq!(rig.share(10_001, None).await.status, 422);
    let fox = server.post(&server.fox, &format!("/v1/gateways/{}/terms", rig.gateway_id), &json!({ "share": 1 })).await;
    assert_eq!(fox.status, 403);
    let listed = server.get(&server.operator, &format!("/v1/gateways/{}/terms", rig.gateway_id)).await.expect(200);
    let shares: Vec<u64> = listed["items"].as_array().unwrap().iter().map(|terms| terms["share"].as_u64().unwrap()).collect();
    assert_eq!(shares, [3000, 5000, 2000]);
    let shown = server.get(&server.operator, &format!("/v1/gateways/{}", rig.gateway_id)).await.expect(200);
    assert_eq!(shown["share"], 2000);
    // Page by page as well.
    let page = server.get(&server.operator, &format!("/v1/gateways/{}/terms?limit=1", rig.gateway_id)).await.expect(200);
    let next = page["next"].as_str().unwrap();
    let page = server.get(&server.operator, &format!("/v1/gateways/{}/terms?limit=1&after={next}", rig.gateway_id)).await.expect(200);
    assert_eq!(page["items"][0]["share"], 5000);

    // Statements are made of what each was charged under.
    let month: counterfoil_server::gateway::ledger::Period =
        counterfoil_server::gateway::ledger::Period::of(counterfoil_core::Timestamp(now()));
    let stated = server.get(&server.operator, &format!("/v1/gateways/{}/statement?period={month}", rig.gateway_id)).await.expect(200);
    let sums = &stated["items"][0];
    assert_eq!((&sums["charges"], &sums["operator_part"]), (&json!(4), &json!(1400 + 1400 + 1000 + 1600)));
    assert_eq!(rig.settled().await.differences, vec![]);
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert_eq!(db.number("SELECT count(DISTINCT share) FROM gateway_exchange").await, 3);
    // An exchange that names another share than it was split by is found.
    db.run("UPDATE gateway_exchange SET share = 4000 WHERE share = 5000").await;
    let wrong = auditor::check(&db.db).await.unwrap();
    assert!(wrong.len() == 1 && wrong[0].invariant.contains("split by the share"), "{wrong:?}");
    rig.private.end(&rig.gateway_id).await;
    assert_eq!(rig.share(1, None).await.status, 409);
    rig.gone().await;
});
