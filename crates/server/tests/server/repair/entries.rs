//! Entries are found by whatever somebody has in hand, also by what is dead or gone, and shown with all that they hold.

use super::*;

async fn find(server: &TestServer, text: &str) -> Vec<Value> {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("find", text).finish();
    server.get(&server.operator, &format!("/v1/entries?{query}")).await.expect(200)["entries"].as_array().unwrap().clone()
}

db_test!(c14_an_entry_is_found_by_everything_that_belongs_to_it_or_did, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    let old = device().0;
    let person = json!({ "name": "Ada L. Byron_50%", "email": "Ada@Example.org", "device": { "device_id": old } });
    let user: UserId = server.post(&server.operator, "/v1/users", &person).await.expect(201)["user_id"].as_str().unwrap().parse().unwrap();
    let mut owner = Terminal { device: Some((old, device().1)), ..Terminal::new() };
    owner.register(&server, Some(user)).await.unwrap();
    owner.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    Terminal::registered(&server).await;
    let lower = owner.card_id().unwrap().to_string().to_lowercase().replace('-', " ");
    for (text, by) in [
        (user.to_string(), "user"),
        (owner.card_id().unwrap().to_string(), "card"),
        (lower.replacen(' ', "-", 1), "card"),
        (old.to_string(), "device"),
        (owner.drive_id().unwrap().to_string(), "drive"),
        (medium.id.to_string(), "medium"),
        ("Ada@Example.org".to_owned(), "email"),
        ("byron_50%".to_owned(), "name"),
    ] {
        let found = find(&server, &text).await;
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((&found[0]["user_id"], &found[0]["found_by"], &found[0]["gone"]), (&json!(user), &json!(by), &json!(false)), "{text}");
        assert_eq!(found[0]["name"], "Ada L. Byron_50%");
    }
    for nothing in ["A%e", "zoe", "yron", "nobody@example.org", &DeviceId::from_bytes([1; 16]).to_string()] {
        assert_eq!(find(&server, nothing).await, Vec::<Value>::new(), "{nothing}");
    }
    // What is gone is found as well, and says so.
    let next = exchanged(&server, &owner).await;
    deliver(&server).await;
    exchange(&server, user, &swap("drive", owner.drive_id().unwrap(), None)).await.expect(200);
    let revoked = format!("/v1/cards/{}/revoke", owner.card_id().unwrap());
    server.post(&server.operator, &revoked, &json!({ "reason": "lost" })).await.expect(200);
    for gone in [old.to_string(), owner.drive_id().unwrap().to_string(), medium.id.to_string(), owner.card_id().unwrap().to_string()] {
        let found = find(&server, &gone).await;
        assert_eq!((found.len(), &found[0]["gone"], &found[0]["card_dead"]), (1, &json!(true), &json!(true)), "{gone}");
    }
    assert_eq!(find(&server, &next.device_id().unwrap().to_string()).await[0]["gone"], false);
});

db_test!(c14_a_typing_error_is_told_from_an_id_that_nobody_has, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let card = Terminal::new().card_id().unwrap().to_string();
    let last = if card.ends_with('7') { '8' } else { '7' };
    let wrong = format!("{}{last}", &card[..card.len() - 1]);
    let answer = server.get(&server.operator, &format!("/v1/entries?find={wrong}")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "unprocessable"));
    assert!(String::from_utf8_lossy(&answer.body).contains("check characters"));
    assert_eq!(find(&server, &card).await, Vec::<Value>::new());
    assert_eq!(server.get(&server.operator, "/v1/entries?find=").await.status, 422);
    assert_eq!(server.get(&server.operator, &format!("/v1/entries/{}", UserId::from_bytes([3; 16]))).await.status, 404);
});

db_test!(c14_an_entry_is_shown_whole_to_those_who_look_things_up_and_to_nobody_else, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    sales::list(&db, "sky-raider", &["1.00 EUR"], json!({})).await;
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, medium).await.unwrap();
    owner.order(&server, "sky-raider", "1.00 EUR").await.unwrap();
    owner.license(&server, "sky-raider").await.unwrap();
    deliver(&server).await;
    let next = exchanged(&server, &owner).await;
    refused(owner.claim(&server, medium).await);
    let path = format!("/v1/entries/{}", owner.user.unwrap());
    for (role, status) in [(Role::Support, 200), (Role::Repair, 200), (Role::Shop, 403), (Role::Publisher, 403), (Role::User, 403)] {
        let tenant = (role == Role::Publisher).then_some("blue-fox");
        let token = make_token(&server.app, role, tenant).await;
        assert_eq!(server.get(&token, &path).await.status, status, "{role:?}");
        assert_eq!(server.get(&token, "/v1/entries?find=ada").await.status, status, "{role:?}");
    }
    let entry = server.get(&server.operator, &path).await.expect(200);
    assert_eq!((&entry["card"]["card_id"], &entry["generation"]), (&json!(owner.card_id()), &json!(1)));
    let states: Vec<_> = entry["devices"].as_array().unwrap().iter().map(|one| (one["state"].clone(), one["exchanged"].clone())).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&(json!("retired"), json!(true))) && states.contains(&(json!("registered"), json!(false))), "{states:?}");
    let holds = entry["holds"].as_array().unwrap();
    let copy = holds.iter().find(|hold| hold["medium_id"] == json!(medium.id)).unwrap();
    assert_eq!(
        (&copy["state"], &copy["device_id"], &copy["drive_id"]),
        (&json!("ended"), &json!(owner.device_id()), &json!(owner.drive_id()))
    );
    assert!(holds.iter().any(|hold| hold["state"] == "active" && !hold["order_id"].is_null()));
    assert_eq!((&entry["licenses"][0]["device_id"], &entry["licenses"][0]["state"]), (&json!(next.device_id()), &json!("issued")));
    let repair = &entry["repairs"][0];
    assert_eq!(
        (&repair["old"], &repair["new"], &repair["reference"]),
        (&json!(owner.device_id()), &json!(next.device_id()), &json!("R-17"))
    );
    assert_eq!((&entry["exchanges"]["left"], &entry["refusals"][0]["event"]), (&json!(2), &json!("device.old_turned_up")));
    let timeline = &entry["timeline"];
    assert_eq!(timeline["family"], json!(owner.user));
    let audit = server.get(&server.operator, &format!("/v1/audit?family={}", owner.user.unwrap())).await.expect(200);
    assert_eq!(audit["items"].as_array().unwrap().last().unwrap()["seq"], timeline["seq"]);
});
