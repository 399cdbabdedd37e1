//! Plans against manifests that the test opens itself: where to, what each way costs, and what it does not cost.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::Code;
use counterfoil_core::wire::{Begun, Plan, WayKind};
use counterfoil_format::content::Manifest;
use serde_json::json;

use super::released::{deltas, patch, release_with, say, status};
use super::support::{TestDb, db_test};
use super::*;

/// Sealed bytes of the chunks of `to` that `from` has not, without those of `from` that are damaged; counted here by hand.
fn missing(from: &Manifest, to: &Manifest, damaged: &[u32]) -> u64 {
    let good = from.chunks().iter().zip(0..).filter(|(_, index)| !damaged.contains(index));
    let there: BTreeSet<_> = good.map(|(chunk, _)| chunk.id.0).collect();
    let wanted: BTreeMap<_, _> = to.chunks().iter().map(|chunk| (chunk.id.0, u64::from(chunk.sealed_len))).collect();
    wanted.into_iter().filter(|(id, _)| !there.contains(id)).map(|(_, length)| length).sum()
}

fn new_packs(from: &Manifest, to: &Manifest) -> u64 {
    let there: BTreeSet<_> = from.packs().iter().map(|pack| pack.name.to_string()).collect();
    to.packs().iter().filter(|pack| !there.contains(&pack.name.to_string())).map(|pack| pack.length).sum()
}

fn to(plan: &Plan) -> Option<(&str, bool)> {
    plan.to.as_ref().map(|to| (to.version.as_str(), to.critical))
}

fn kinds(plan: &Plan) -> Vec<WayKind> {
    plan.ways.iter().map(|way| way.kind).collect()
}

/// The manifest's length, which is fetched where no patch brings it.
fn manifest_of(plan: &Plan, manifest: &Manifest) -> u64 {
    plan.to.as_ref().unwrap().packed - manifest.packed_size()
}

db_test!(a5_without_a_patch_the_chunks_that_are_missing_are_the_way_and_everything_is_the_last, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let made = four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    for (held, version) in made.iter().zip(["1.0", "1.1", "1.2"]) {
        let plan = desk.plan(&server, status(TITLE, grant.grant_id, Some(&medium), version)).await;
        assert_eq!(to(&plan), Some(("1.3", false)), "{version}");
        assert_eq!(kinds(&plan), [WayKind::Chunks, WayKind::Full]);
        let manifest = manifest_of(&plan, &made[3]);
        let lacking = missing(held, &made[3], &[]);
        assert!(lacking > 0 && lacking < made[3].packed_size() / 2, "a small change is a small part");
        assert_eq!(plan.ways[0].fetch, lacking + manifest);
        assert_eq!(plan.ways[0].write, new_packs(held, &made[3]) + manifest);
        assert_eq!(plan.ways[0].reuse, made[3].packed_size() - lacking);
        assert_eq!(plan.ways[1].fetch, plan.to.as_ref().unwrap().packed);
        assert_eq!(plan.to.as_ref().unwrap().size, made[3].size());
        // From memory, the same.
        assert_eq!(desk.plan(&server, status(TITLE, grant.grant_id, Some(&medium), version)).await, plan);
    }
    let plan = desk.plan(&server, status(TITLE, grant.grant_id, Some(&medium), "1.3")).await;
    assert_eq!((to(&plan), kinds(&plan)), (None, vec![]), "what should be there is there");
});

db_test!(a5_patches_are_taken_directly_or_in_a_chain_whichever_is_cheaper, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let made = four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let at = |version| status(TITLE, grant.grant_id, Some(&medium), version);
    let direct = patch(&server, TITLE, "1.0", "1.3", 60_000).await;
    let plan = desk.plan(&server, at("1.0")).await;
    assert_eq!(kinds(&plan)[0], WayKind::Patch, "what is known of the title follows what is published");
    assert_eq!(plan.ways[0].patches[0].object, direct);
    assert_eq!(plan.ways[0].fetch, 60_000, "the manifest comes in the patch");

    for (from, to) in [("1.0", "1.1"), ("1.1", "1.2"), ("1.2", "1.3")] {
        patch(&server, TITLE, from, to, 1500).await;
    }
    let plan = desk.plan(&server, at("1.0")).await;
    assert_eq!(kinds(&plan), [WayKind::Chain, WayKind::Patch, WayKind::Chunks, WayKind::Full]);
    let steps: Vec<_> = plan.ways[0].patches.iter().map(|patch| (patch.from.as_str(), patch.to.as_str())).collect();
    assert_eq!(steps, [("1.0", "1.1"), ("1.1", "1.2"), ("1.2", "1.3")]);
    let writes: u64 = made.windows(2).map(|pair| new_packs(&pair[0], &pair[1])).sum();
    assert_eq!(plan.ways[0].fetch, 3 * 1500);
    let manifests = 3 * manifest_of(&plan, &made[3]);
    assert!((writes..writes + 2 * manifests).contains(&plan.ways[0].write), "{} for packs, and the manifests", plan.ways[0].write);

    // A chain leads around what was withdrawn, and a device that compresses otherwise can use none.
    say(&server, TITLE, "1.2", json!({ "withdrawn": true })).await;
    assert_eq!(kinds(&desk.plan(&server, at("1.0")).await)[0], WayKind::Patch);
    let mut operation = desk.report_operation(vec![at("1.0")]);
    if let counterfoil_core::wire::Operation::Report(report) = &mut operation {
        "zstd 1.4.0".clone_into(&mut report.encoder);
    }
    let result: counterfoil_core::wire::ReportResult = serde_json::from_value(desk.ask(&server, operation, None).await.unwrap()).unwrap();
    assert_eq!(kinds(&result.plans[0]), [WayKind::Chunks, WayKind::Full]);
});

db_test!(a5_deltas_are_a_way_for_whoever_knows_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let made = four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let at = |version| status(TITLE, grant.grant_id, Some(&medium), version);
    let lacking = missing(&made[0], &made[3], &[]);
    let object = deltas(&server, TITLE, "1.0", "1.3", 1000, lacking - 300).await;
    let plan = desk.plan(&server, at("1.0")).await;
    assert_eq!(kinds(&plan), [WayKind::Deltas, WayKind::Chunks, WayKind::Full]);
    assert_eq!((plan.ways[0].patches.len(), &plan.ways[0].patches[0].object), (1, &object));
    assert_eq!(plan.ways[0].fetch, 1000 + 300, "the manifest comes with them, what they do not give as it is");
    assert_eq!((plan.ways[0].write, plan.ways[0].reuse), (plan.ways[1].write, plan.ways[1].reuse));
    assert_eq!(kinds(&desk.plan(&server, at("1.1")).await), [WayKind::Chunks, WayKind::Full], "from another release");

    // Half of it is there: about half of the deltas are still needed. What is damaged comes as it is.
    let mut begun = at("1.0");
    begun.begun = Some(Begun { release: "1.3".parse().unwrap(), have: plan.ways[1].write, fetched: 0 });
    assert!(desk.plan(&server, begun).await.ways[0].fetch < 1300 / 2);
    let mut damaged = at("1.0");
    damaged.damaged = vec![(2, 2)];
    let more = missing(&made[0], &made[3], &[2, 3]) - lacking;
    assert!(more > 0, "the damage is in what is still needed");
    assert_eq!(desk.plan(&server, damaged).await.ways[0].fetch, 1300 + more);

    // Older terminals do not know the way, others compress otherwise.
    for (knows, encoder) in [(false, "zstd 1.5.7"), (true, "zstd 1.4.0")] {
        let mut operation = desk.report_operation(vec![at("1.0")]);
        if let counterfoil_core::wire::Operation::Report(report) = &mut operation {
            report.deltas = knows;
            encoder.clone_into(&mut report.encoder);
        }
        let answered = desk.ask(&server, operation, None).await.unwrap();
        let result: counterfoil_core::wire::ReportResult = serde_json::from_value(answered).unwrap();
        assert_eq!(kinds(&result.plans[0]), [WayKind::Chunks, WayKind::Full]);
    }
    patch(&server, TITLE, "1.0", "1.3", 900).await;
    assert_eq!(kinds(&desk.plan(&server, at("1.0")).await), [WayKind::Patch, WayKind::Deltas, WayKind::Chunks, WayKind::Full]);
});

db_test!(a5_damaged_chunks_are_healed_or_fetched_with_the_rest, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let made = four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    patch(&server, TITLE, "1.0", "1.3", 2000).await;
    let damaged = |version| {
        let mut status = status(TITLE, grant.grant_id, Some(&medium), version);
        status.damaged = vec![(2, 2), (5, 1), (1_000_000, 9), (u32::MAX, u32::MAX)];
        status
    };
    let bytes = |manifest: &Manifest| [2, 3, 5].map(|index: usize| u64::from(manifest.chunks()[index].sealed_len)).iter().sum::<u64>();
    let plan = desk.plan(&server, damaged("1.3")).await;
    assert_eq!((to(&plan), kinds(&plan)), (Some(("1.3", false)), vec![WayKind::Heal, WayKind::Full]));
    assert_eq!(plan.ways[0].fetch, bytes(&made[3]));
    let plan = desk.plan(&server, damaged("1.0")).await;
    assert_eq!(kinds(&plan), [WayKind::HealAndPatch, WayKind::Chunks, WayKind::Full]);
    assert_eq!(plan.ways[0].fetch, 2000 + bytes(&made[0]));
    assert_eq!(plan.ways[1].fetch, missing(&made[0], &made[3], &[2, 3, 5]) + manifest_of(&plan, &made[3]));
    assert!(missing(&made[0], &made[3], &[2, 3, 5]) > missing(&made[0], &made[3], &[]), "the damage is in what is still needed");
});

db_test!(a5_what_was_begun_is_finished_and_not_counted_twice, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    patch(&server, TITLE, "1.0", "1.2", 2000).await;
    let mut status = status(TITLE, grant.grant_id, Some(&medium), "1.0");
    let fresh = {
        let mut status = status.clone();
        status.wanted = Some("1.2".parse().unwrap());
        desk.plan(&server, status).await
    };
    status.begun = Some(Begun { release: "1.2".parse().unwrap(), have: 10_000, fetched: 500 });
    let plan = desk.plan(&server, status.clone()).await;
    assert_eq!(to(&plan), Some(("1.2", false)), "though a later one is there");
    assert_eq!((plan.ways[0].kind, plan.ways[0].fetch), (WayKind::Patch, fresh.ways[0].fetch - 500));
    assert_eq!(plan.ways[0].write, fresh.ways[0].write - 10_000);
    say(&server, TITLE, "1.2", json!({ "withdrawn": true })).await;
    assert_eq!(to(&desk.plan(&server, status).await), Some(("1.3", false)));
});

db_test!(a5_holds_withdrawals_minimum_and_names_are_kept_to, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    four(&server).await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    let at = |version| status(TITLE, grant.grant_id, Some(&medium), version);
    let named = |version: &str, held: &'static str| {
        let mut status = at(held);
        status.wanted = Some(version.parse().unwrap());
        status
    };
    say(&server, TITLE, "1.3", json!({ "held": true, "notes": "Not yet." })).await;
    assert_eq!(to(&desk.plan(&server, at("1.0")).await), Some(("1.2", false)));
    assert_eq!(desk.plan(&server, named("1.3", "1.0")).await.to.unwrap().notes, "Not yet.", "who names it gets it");
    say(&server, TITLE, "1.3", json!({ "held": false, "withdrawn": true })).await;
    assert_eq!(to(&desk.plan(&server, at("1.3")).await), Some(("1.2", true)), "back, because staying is dangerous");
    let refused = desk.plan(&server, named("1.3", "1.0")).await;
    assert_eq!((refused.refused.unwrap().code, refused.to, refused.ways), (Code::ReleaseWithdrawn, None, vec![]));
    assert_eq!(desk.plan(&server, named("9.9", "1.0")).await.refused.unwrap().code, Code::ReleaseUnknown);
    assert_eq!(to(&desk.plan(&server, named("1.0", "1.2")).await), Some(("1.0", false)), "back by name");
    say(&server, TITLE, "1.0", json!({ "allow_back": false })).await;
    assert_eq!(desk.plan(&server, named("1.0", "1.2")).await.refused.unwrap().code, Code::ReleaseWithdrawn);
    let path = format!("/v1/titles/{TITLE}/channels/stable");
    server.put_json(&server.fox, &path, &json!({ "minimum": "1.1" })).await.expect(200);
    assert_eq!(to(&desk.plan(&server, at("1.0")).await), Some(("1.2", true)));
    assert_eq!(to(&desk.plan(&server, at("1.1")).await), Some(("1.2", false)));
});

db_test!(a5_a_rollout_reaches_its_share_and_grows, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.registration.max_devices = 1000).await;
    released::title(&server, TITLE).await;
    let first = released::release(&server, TITLE, "1.0", &files("1.0"), &[]).await;
    sales::list(&db, TITLE, &["1.00 EUR"], json!({ "devices": 1000 })).await;
    release_with(&server, TITLE, "1.1", &files("1.1"), &[&first], json!({ "rollout": 30 })).await;
    let mut desks = vec![];
    for _ in 0..30 {
        let desk = Terminal::registered(&server).await;
        desk.order(&server, TITLE, "1.00 EUR").await.unwrap();
        let (license, redeemed) = desk.install(&server, TITLE).await.unwrap();
        assert_eq!(license.title.release.as_str(), "1.0", "whoever has none gets the one that everybody may have");
        desks.push((desk, redeemed.grant.grant_id));
    }
    let mut was: Vec<bool> = vec![false; desks.len()];
    for (percent, reached) in [(30, 2..=18), (60, 9..=27), (100, 30..=30)] {
        say(&server, TITLE, "1.1", json!({ "rollout": percent })).await;
        let mut is = vec![];
        for (desk, grant) in &desks {
            is.push(desk.plan(&server, status(TITLE, *grant, None, "1.0")).await.to.is_some());
        }
        assert!(reached.contains(&is.iter().filter(|is| **is).count()), "{is:?} at {percent} %");
        assert!(was.iter().zip(&is).all(|(was, is)| *is || !was), "whoever was in stays in");
        was = is;
    }
});

db_test!(a_manifest_that_does_not_open_leaves_everything_as_the_way, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    // The fixtures of other tests: their manifests are no manifests.
    super::catalogue::publish(&server, "blue-fox", TITLE, "1.0").await;
    let (desk, medium, grant) = copied(&server, json!({})).await;
    for bytes in [super::catalogue::manifest_bytes(TITLE, "2.0"), super::catalogue::pack_bytes(TITLE, "2.0")] {
        let name = counterfoil_format::content::ObjectName::of(&bytes);
        server.put(&server.operator, &format!("/v1/contents/{name}"), bytes).await.expect(201);
    }
    let body = super::catalogue::release("blue-fox", TITLE, "2.0");
    server.post(&server.fox, &format!("/v1/titles/{TITLE}/releases"), &body).await.expect(201);
    let plan = desk.plan(&server, status(TITLE, grant.grant_id, Some(&medium), "1.0")).await;
    assert_eq!((to(&plan), kinds(&plan)), (Some(("2.0", false)), vec![WayKind::Full]));
});
