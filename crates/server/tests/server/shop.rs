//! A shop registers a person with a device (D1); the device then registers with keys of its own, and is one of several that hold theirs.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use catalogue::{NOW, TestServer, json_request, make_token};
use counterfoil_core::rules::register::Policy;
use counterfoil_core::wire::{
    AddDevice, Confirm, Devices, DevicesResult, Heal, HealResult, HolderKind, Inspect, InspectResult, Operation, UsersDevice,
};
use counterfoil_core::{Code, DeviceId, Refusal, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::SealedBox;
use counterfoil_server::auditor;
use counterfoil_server::auth::Role;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::{audit, device_info};
use futures_util::future::join_all;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, media, random, refused};

/// A person, as they are typed into the form of a shop.
fn ada(device: Option<DeviceId>) -> Value {
    let device = device.map(|id| json!({ "device_id": id, "maker": "Engines Ltd", "model": "Difference 2", "name": "desk" }));
    json!({ "name": "Ada Lovelace", "email": "ada@example.org", "address": "12 St James's Square\nLondon", "device": device })
}

/// Who holds their own keys, and has no drive.
fn cardless() -> Terminal {
    Terminal { card: None, drive: None, ..Terminal::new() }
}

/// Has a shop register a person with the device of a terminal.
async fn assigned(server: &TestServer, device: Option<DeviceId>) -> UserId {
    let made = server.post(&server.operator, "/v1/users", &ada(device)).await.expect(201);
    made["user_id"].as_str().unwrap().parse().unwrap()
}

/// A user of a shop whose device has registered.
async fn sold(server: &TestServer) -> Terminal {
    let mut terminal = cardless();
    let user = assigned(server, terminal.device_id()).await;
    terminal.register(server, Some(user)).await.unwrap();
    terminal
}

async fn announce(server: &TestServer, by: &Terminal, device: DeviceId) -> Result<Value, Refusal> {
    let operation = Operation::AddDevice(AddDevice {
        user_id: by.user.unwrap(),
        card_id: by.card_id(),
        device_id: by.device_id().unwrap(),
        new_device_id: device,
        name: Some("sofa".into()),
    });
    by.ask(server, operation, None).await
}

async fn devices(server: &TestServer, by: &Terminal) -> Result<Vec<UsersDevice>, Refusal> {
    let operation = Operation::Devices(Devices { user_id: by.user.unwrap(), device_id: by.device_id().unwrap() });
    let result: DevicesResult = serde_json::from_value(by.ask(server, operation, None).await?).unwrap();
    Ok(result.devices)
}

/// A second device of the same user, announced by the first and registered.
async fn second(server: &TestServer, first: &Terminal) -> Terminal {
    let mut other = cardless();
    announce(server, first, other.device_id().unwrap()).await.unwrap();
    other.register(server, first.user).await.unwrap();
    other
}

async fn retire(db: &TestDb, user: UserId, device: DeviceId) {
    let retired = db.write("retire", user.to_string(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        device_info::retire(tx, user, device, "test", NOW).await
    });
    assert!(retired.await.unwrap());
}

async fn clean(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    let report = audit::verify(&db.db, vec![], |_| Err("none was signed".to_owned())).await.unwrap();
    assert!(report.is_clean() && report.rows > 0, "{report:?}");
}

db_test!(d1_a_shop_registers_person_and_device_and_the_device_completes_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let shop = make_token(&server.app, Role::Shop, Some("corner-shop")).await;
    let mut terminal = cardless();
    let made = server.post(&shop, "/v1/users", &ada(terminal.device_id())).await.expect(201);
    let user: UserId = made["user_id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/users/{user}");
    let known = server.get(&server.operator, &path).await.expect(200);
    assert_eq!((&known["person"]["name"], &known["holder"]), (&json!("Ada Lovelace"), &Value::Null));
    assert_eq!((&known["devices"][0]["state"], &known["devices"][0]["maker"]), (&json!("expected"), &json!("Engines Ltd")));

    let result = terminal.register(&server, Some(user)).await.unwrap();
    assert_eq!((result.holder, terminal.user), (HolderKind::Device, Some(user)));
    let known = server.get(&server.operator, &path).await.expect(200);
    assert_eq!((&known["devices"][0]["state"], &known["devices"][0]["model"]), (&json!("registered"), &json!("Difference 2")));
    assert_eq!(known["devices"].as_array().unwrap().len(), 1);
    assert_eq!(known["holder"]["kind"], "device");
    // Again, without the user ID, which is on the device now: nothing changes.
    terminal.register(&server, None).await.unwrap();
    assert_eq!(terminal.user, Some(user));
    assert_eq!(db.number("SELECT count(*) FROM user_device").await, 1);
    // Who it is stands where it can be deleted, and nowhere else.
    let told = "SELECT count(*) FROM audit WHERE detail LIKE '%Ada%' OR detail LIKE '%example.org%' OR detail LIKE '%James%'";
    assert_eq!(db.number(told).await, 0);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'user.assigned' AND actor LIKE '/token/%'").await, 1);
    clean(&db).await;
});

db_test!(d1_the_device_may_come_with_a_card_which_then_holds_the_keys, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut terminal = Terminal::new();
    let user = assigned(&server, terminal.device_id()).await;
    assert_eq!(terminal.register(&server, Some(user)).await.unwrap().holder, HolderKind::Card);
    assert_eq!(terminal.user, Some(user));
    // The card holds the keys of all of this user's devices from now on; one that comes without it is turned away, announced or not.
    let mut bare = cardless();
    announce(&server, &terminal, bare.device_id().unwrap()).await.unwrap();
    assert_eq!(refused(bare.register(&server, Some(user)).await), Code::RegistrationNotAllowed);
    let mut with_card = Terminal { card: terminal.card.clone(), device: bare.device, drive: None, user: None };
    with_card.register(&server, Some(user)).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM user_device").await, 2);
    // And the other way round: a user whose devices hold their own keys takes no card in.
    let owner = sold(&server).await;
    let mut carded = Terminal { drive: None, ..Terminal::new() };
    announce(&server, &owner, carded.device_id().unwrap()).await.unwrap();
    assert_eq!(refused(carded.register(&server, owner.user).await), Code::RegistrationNotAllowed);
    clean(&db).await;
});

db_test!(d1_a_user_id_alone_registers_no_other_device, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let user = assigned(&server, cardless().device_id()).await;
    let mut thief = cardless();
    assert_eq!(refused(thief.register(&server, Some(user)).await), Code::UserInvalid);
    let mut thief_with_card = Terminal::new();
    assert_eq!(refused(thief_with_card.register(&server, Some(user)).await), Code::UserInvalid);
    let mut card_alone = Terminal { device: None, drive: None, ..Terminal::new() };
    assert_eq!(refused(card_alone.register(&server, Some(user)).await), Code::UserInvalid);
    // Who is somebody already is not somebody else besides, even on the device that is expected.
    let mut other = sold(&server).await;
    let mine = other.user;
    assert_eq!(refused(other.register(&server, Some(user)).await), Code::UserInvalid);
    assert_ne!(mine, Some(user));
    assert_eq!(db.number("SELECT count(*) FROM user_entry").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM holder").await, 1);
    clean(&db).await;
});

// D3's precondition: user and device are registered together only once the device has registered with its keys.
db_test!(d3_a_device_that_is_only_announced_may_ask_for_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = sold(&server).await;
    let mut expected = cardless();
    announce(&server, &owner, expected.device_id().unwrap()).await.unwrap();
    expected.user = owner.user;
    assert_eq!(refused(devices(&server, &expected).await), Code::DeviceNotRegistered);
    assert_eq!(refused(announce(&server, &expected, DeviceId::from_bytes(random())).await), Code::DeviceNotRegistered);
    // A user with no entry at all yet.
    let user = assigned(&server, expected.device_id()).await;
    expected.user = Some(user);
    assert_eq!(refused(devices(&server, &expected).await), Code::UserInvalid);
    // The device's ID without its key.
    let said_only = Terminal { device: Some((owner.device_id().unwrap(), terminal::device().1)), user: owner.user, ..cardless() };
    assert_eq!(refused(devices(&server, &said_only).await), Code::ProofInvalid);
});

db_test!(d1_of_many_keys_for_one_announced_device_exactly_one_registers, async |db: TestDb| {
    let first = TestServer::new(&db).await;
    let servers = [first.another(&db, |_| ()).await, first.another(&db, |_| ()).await];
    for round in 0..6 {
        let id = DeviceId::from_bytes(random());
        // Also for a user who has an entry already.
        let user = match round % 2 {
            0 => assigned(&first, Some(id)).await,
            _ => {
                let owner = sold(&first).await;
                announce(&first, &owner, id).await.unwrap();
                owner.user.unwrap()
            }
        };
        let mut racers: Vec<Terminal> = (0..8).map(|_| Terminal { device: Some((id, terminal::device().1)), ..cardless() }).collect();
        let tries = racers.iter_mut().zip(servers.iter().cycle()).map(|(racer, server)| racer.register(server, Some(user)));
        let results = join_all(tries).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        for (racer, result) in racers.iter_mut().zip(results) {
            match result {
                // Who was first may say so again; the others come too late, now as before, with the user ID or without.
                Ok(_) => assert!(racer.register(&first, Some(user)).await.is_ok()),
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::UserInvalid);
                    for given in [Some(user), None] {
                        let again = racer.register(&first, given).await;
                        assert!(again.is_err() || racer.user != Some(user), "{again:?}");
                    }
                    racer.user = Some(user);
                    assert!(devices(&first, racer).await.is_err());
                }
            }
        }
    }
    clean(&db).await;
});

db_test!(every_device_of_a_user_without_a_card_holds_its_own_keys, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = sold(&server).await;
    let other = second(&server, &owner).await;
    assert_eq!(other.user, owner.user);
    let [first, medium] = <[_; 2]>::try_from(media(&server, "sky-raider", 2, json!({})).await).ok().unwrap();
    owner.claim(&server, &first).await.unwrap();
    let grants = other.claim(&server, &medium).await.unwrap();
    assert_eq!((grants[0].holder, grants[0].with_device), (HolderKind::Device, true));
    other.open(&grants[0]);
    // Confirming and healing are the second device's own business too.
    let by_the_first = Operation::Confirm(Confirm {
        user_id: owner.user.unwrap(),
        medium_id: Some(medium.id.clone()),
        grant_ids: vec![grants[0].grant_id],
        device_id: other.device_id(),
    });
    assert_eq!(refused(owner.ask(&server, by_the_first, None).await), Code::ProofInvalid);
    other.confirm(&server, &medium, &grants).await.unwrap();
    let heal = Operation::Heal(Heal {
        user_id: owner.user.unwrap(),
        medium_id: Some(medium.id.clone()),
        grant_id: grants[0].grant_id,
        device_id: other.device_id(),
        chunks: vec![to_base64url(&[7; 32])],
    });
    assert!(owner.ask(&server, heal.clone(), None).await.is_err());
    let healed: HealResult = serde_json::from_value(other.ask(&server, heal, None).await.unwrap()).unwrap();
    let sealed: SealedBox = serde_json::from_value(healed.keys).unwrap();
    let (_, keys) = other.device.as_ref().unwrap();
    assert!(sealed.open(&keys.sealing_key(), &["heal", &grants[0].grant_id.to_string()]).is_ok());
    // Either of them may ask about their user.
    for device in [&owner, &other] {
        let ask = Operation::Inspect(Inspect { medium_id: None, user_id: device.user, device_id: device.device_id() });
        let verdict: InspectResult = serde_json::from_value(device.ask(&server, ask, None).await.unwrap()).unwrap();
        assert_eq!(verdict.user.unwrap().devices.len(), 2);
    }
    clean(&db).await;
});

db_test!(d10_a_device_that_was_taken_out_is_nobody_until_it_is_announced_again, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut owner = sold(&server).await;
    let other = second(&server, &owner).await;
    let (user, device) = (owner.user.unwrap(), owner.device_id().unwrap());
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    retire(&db, user, device).await;
    assert_eq!(refused(owner.claim(&server, &medium).await), Code::DeviceNotRegistered);
    assert_eq!(refused(devices(&server, &owner).await), Code::DeviceNotRegistered);
    let inspect = Operation::Inspect(Inspect { medium_id: None, user_id: Some(user), device_id: None });
    assert_eq!(refused(owner.ask(&server, inspect, None).await), Code::UserInvalid);
    for given in [None, Some(user)] {
        assert_eq!(refused(owner.register(&server, given).await), Code::UserInvalid);
    }
    // Nor with other keys, as from a disk that was wiped.
    let mut wiped = Terminal { device: Some((device, terminal::device().1)), ..cardless() };
    assert_eq!(refused(wiped.register(&server, Some(user)).await), Code::UserInvalid);
    assert_eq!(devices(&server, &other).await.unwrap().len(), 1);

    announce(&server, &other, device).await.unwrap();
    let known = devices(&server, &other).await.unwrap();
    assert_eq!((known.len(), known.iter().filter(|device| device.registered).count()), (2, 1));
    owner.register(&server, Some(user)).await.unwrap();
    assert!(devices(&server, &owner).await.unwrap().iter().all(|device| device.registered));
    clean(&db).await;
});

db_test!(a_card_brings_no_device_back_that_was_taken_out, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut owner = Terminal::registered(&server).await;
    let mut other = Terminal { card: owner.card.clone(), drive: owner.drive.clone(), ..Terminal::new() };
    other.register(&server, owner.user).await.unwrap();
    let user = owner.user;
    retire(&db, user.unwrap(), owner.device_id().unwrap()).await;
    assert_eq!(refused(owner.register(&server, user).await), Code::UserInvalid);
    announce(&server, &other, owner.device_id().unwrap()).await.unwrap();
    owner.register(&server, user).await.unwrap();
});

db_test!(d8_the_users_devices_are_listed_by_name_with_what_shops_said_of_them, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = sold(&server).await;
    let waiting = DeviceId::from_bytes(random());
    announce(&server, &owner, waiting).await.unwrap();
    let known = devices(&server, &owner).await.unwrap();
    let told: Vec<_> = known.iter().map(|device| (device.id, device.name.as_deref(), device.maker.as_deref(), device.registered)).collect();
    let own = owner.device_id().unwrap();
    // What the device calls itself comes before what the shop has called it.
    assert_eq!(told.len(), 2);
    assert!(told.contains(&(own, Some("a desk"), Some("Engines Ltd"), true)), "{told:?}");
    assert!(told.contains(&(waiting, Some("sofa"), None, false)), "{told:?}");
    // Announcing what is there changes nothing.
    announce(&server, &owner, own).await.unwrap();
    assert_eq!(devices(&server, &owner).await.unwrap().len(), 2);
});

db_test!(announcing_takes_the_card_where_there_is_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let new = DeviceId::from_bytes(random());
    let without = Terminal { card: None, device: owner.device.clone(), drive: None, user: owner.user };
    assert_eq!(refused(announce(&server, &without, new).await), Code::ProofInvalid);
    let other_card = Terminal { card: Some(terminal::card()), device: owner.device.clone(), drive: None, user: owner.user };
    assert_eq!(refused(announce(&server, &other_card, new).await), Code::ProofInvalid);
    announce(&server, &owner, new).await.unwrap();
});

db_test!(as_many_devices_are_announced_as_the_policy_allows_however_many_ask_at_once, async |db: TestDb| {
    let policy = Policy { max_devices: 3, ..Policy::default() };
    let server = TestServer::with(&db, |config| config.registration = policy).await;
    let servers = join_all((0..4).map(|_| server.another(&db, |_| ()))).await;
    let mut last = None;
    for _ in 0..8 {
        let owner = sold(&server).await;
        let new: Vec<DeviceId> = (0..8).map(|_| DeviceId::from_bytes(random())).collect();
        let tries = new.iter().zip(servers.iter().cycle()).map(|(device, server)| announce(server, &owner, *device));
        let results = join_all(tries).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2, "{results:?}");
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|refusal| refusal.code == Code::TooManyDevices));
        last = Some((owner, new, results));
    }
    let (owner, new, results) = last.unwrap();
    assert_eq!(devices(&server, &owner).await.unwrap().len(), 3);
    // A shop is told the same.
    let path = format!("/v1/users/{}/devices", owner.user.unwrap());
    let one_more = json!({ "device_id": DeviceId::from_bytes(random()) });
    let answer = server.post(&server.operator, &path, &one_more).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "too_many_devices"));
    // Both that are expected find room.
    for device in new.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(device, _)| *device) {
        let mut terminal = Terminal { device: Some((device, terminal::device().1)), ..cardless() };
        terminal.register(&server, owner.user).await.unwrap();
    }
    clean(&db).await;
});

/// Family by family, as everything is written.
async fn forget_requests(db: &TestDb) {
    while db.run("DELETE FROM request WHERE family = (SELECT min(family) FROM request)").await > 0 {}
}

db_test!(the_same_row_of_a_table_makes_one_user_however_often_it_is_sent, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (device, other) = (DeviceId::from_bytes(random()), DeviceId::from_bytes(random()));
    let send = async |key: &str, body: &Value| {
        let mut request = json_request(axum::http::Method::POST, "/v1/users", &server.operator, body);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        server.send(request).await
    };
    let first = send("row 1", &ada(Some(device))).await.expect(201);
    let row = ada(Some(device));
    let answers = join_all((0..20).map(|_| send("row 1", &row))).await;
    assert!(answers.into_iter().all(|answer| answer.expect(201) == first));
    // Long after the key is forgotten, as when a run is repeated next week.
    forget_requests(&db).await;
    assert_eq!(send("row 1", &ada(Some(device))).await.expect(200), first);
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 1);
    // Another row is another user, and so is another key.
    assert_ne!(send("row 2", &ada(Some(device))).await.expect(201)["user_id"], first["user_id"]);
    forget_requests(&db).await;
    assert_ne!(send("row 1", &ada(Some(other))).await.expect(201)["user_id"], first["user_id"]);
    assert_eq!(db.number("SELECT count(*) FROM user_info").await, 3);
});

db_test!(what_a_shop_mistypes_is_refused_and_nothing_is_kept_of_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    for (body, status) in [
        (json!({ "name": " " }), 422),
        (json!({ "name": "Ada", "email": "nowhere" }), 422),
        (json!({ "name": "Ada", "device": { "device_id": "dev-typo" } }), 422),
        (json!({ "name": "Ada", "device": { "device_id": DeviceId::from_bytes([1; 16]), "model": "two\nlines" } }), 422),
        (json!({ "name": "Ada", "phone": "1" }), 422),
    ] {
        assert_eq!(server.post(&server.operator, "/v1/users", &body).await.status, status, "{body}");
    }
    let nobody = format!("/v1/users/{}/devices", UserId::from_bytes([9; 16]));
    assert_eq!(server.post(&server.operator, &nobody, &json!({ "device_id": DeviceId::from_bytes([1; 16]) })).await.status, 404);
    let policy = Policy { max_devices: 0, ..Policy::default() };
    let full = TestServer::with(&db, |config| config.registration = policy).await;
    let refused = full.post(&full.operator, "/v1/users", &ada(cardless().device_id())).await;
    assert_eq!(refused.code(), "too_many_devices");
    for table in ["user_info", "device_info"] {
        assert_eq!(db.number(format!("SELECT count(*) FROM {table}").leak()).await, 0, "{table}");
    }
});
