//! Everything that is not what it should be: whoever presents it, and whoever has it judged, gets no verdict, and nothing counts.

use super::*;

use counterfoil_core::wire::{Inspect, Present, Presentation, Request};
use counterfoil_core::{MediumId, ProviderId};
use counterfoil_format::jws::Signer;
use providing::{NOBODY, by_medium, shown};
use terminal::{Medium, device, envelope, request};

/// A presentation of a medium with something changed before it is signed and sealed.
fn changed(server: &TestServer, arcade: &Provider, medium: &Medium, change: impl FnOnce(&mut Present)) -> Presentation {
    let mut present = arcade.of_medium(medium);
    change(&mut present);
    by_medium(server, &request(server, Operation::Present(present)), medium)
}

db_test!(b4_what_is_not_for_this_provider_challenge_and_medium_is_not_active, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let (one, other) = (&media[0], &media[1]);
    let whole = arcade.presented(&server, one);
    // A provider that passes on what it was given, with its own token and with the challenge that it gave.
    assert_eq!(cinema.reason(&server, &whole).await, "presentation_invalid");
    let other_challenge = json!({ "presentation": whole, "challenge": "another-challenge-of-the-same" });
    assert_eq!(reason(verify(&server, &arcade.token, &other_challenge).await), "presentation_invalid");
    let visible = |medium_id: Option<MediumId>| Presentation { medium_id, ..whole.clone() };
    let ada = Terminal::registered(&server).await;
    let by_user = arcade.presented_by(&server, &ada, None);
    let cases: Vec<(&str, Presentation, &str)> = vec![
        ("another medium is shown", visible(Some(other.id.clone())), "presentation_invalid"),
        ("no medium is shown", visible(None), "presentation_invalid"),
        (
            "a medium is shown that nobody proved",
            Presentation { medium_id: Some(one.id.clone()), ..by_user.clone() },
            "presentation_invalid",
        ),
        ("another provider is sealed in", changed(&server, &arcade, one, |present| present.provider = cinema.id), "presentation_invalid"),
        (
            "it was presented to somebody who handed the challenge on",
            changed(&server, &arcade, one, |present| present.url = "https://relay.example".into()),
            "presentation_invalid",
        ),
        ("nearly the address", changed(&server, &arcade, one, |present| present.url += "/"), "presentation_invalid"),
        ("a short challenge", changed(&server, &arcade, one, |present| present.challenge = "short".into()), "presentation_invalid"),
        (
            "it is no presentation",
            by_medium(
                &server,
                &request(&server, Operation::Inspect(Inspect { medium_id: Some(one.id.clone()), ..Inspect::default() })),
                one,
            ),
            "presentation_invalid",
        ),
        (
            "a device alone",
            shown(
                None,
                &ada.sealed(&server, &request(&server, Operation::Present(Present { user_id: None, ..arcade.of_user(&ada) })), None),
            ),
            "presentation_invalid",
        ),
        (
            "nothing is named",
            shown(
                None,
                &envelope(
                    &server,
                    &request(&server, Operation::Present(Present { medium_id: None, ..arcade.of_medium(one) })),
                    &[(one.id.as_str(), Signer::ClaimSecret(&one.secret))],
                ),
            ),
            "presentation_invalid",
        ),
        (
            "another's envelope beside the ID",
            Presentation { envelope: cinema.presented(&server, one).envelope, ..whole.clone() },
            "presentation_invalid",
        ),
        (
            "an envelope of the other medium",
            Presentation { envelope: arcade.presented(&server, other).envelope, ..whole.clone() },
            "presentation_invalid",
        ),
    ];
    for (what, presentation, why) in cases {
        assert_eq!(arcade.reason(&server, &presentation).await, why, "{what}");
    }
    assert_eq!(db.number(VERIFIED).await, 0, "nothing counted");
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 0, "and no medium was touched");
    assert!(db.number("SELECT count(*) FROM audit WHERE event = 'verify.refused' AND family LIKE '/provider/%'").await >= 12);
    arcade.active(&server, &whole).await;
    is_sound(&db).await;
});

db_test!(b4_who_or_what_does_not_prove_itself_is_not_active, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let (ada, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let one = &media[0];
    let forged = Medium { id: one.id.clone(), secret: media[1].secret.clone() };
    let unknown = Medium { id: MediumId::pressed(counterfoil_core::BatchId([0xee; 8]), 1), secret: one.secret.clone() };
    let beyond = Medium { id: MediumId::pressed(one.id.batch_and_serial().unwrap().0, 3), secret: one.secret.clone() };
    let as_user = |terminal: &Terminal, change: &dyn Fn(&mut Present), medium: Option<&Medium>| {
        let mut present = Present { medium_id: medium.map(|medium| medium.id.clone()), ..arcade.of_user(terminal) };
        change(&mut present);
        let sealed = terminal.sealed(&server, &request(&server, Operation::Present(present)), medium);
        shown(medium, &sealed)
    };
    let unproven = {
        let asked = request(&server, Operation::Present(arcade.of_medium(one)));
        let sealed = ada.sealed(&server, &asked, None);
        shown(Some(one), &sealed)
    };
    for (what, presentation, why) in [
        ("a wrong secret", arcade.presented(&server, &forged), "medium_unknown"),
        ("no such batch", arcade.presented(&server, &unknown), "medium_unknown"),
        ("no such serial", arcade.presented(&server, &beyond), "medium_unknown"),
        ("no proof of the medium", unproven, "medium_unknown"),
        ("somebody else's user ID", as_user(&ben, &|present| present.user_id = ada.user, None), "user_invalid"),
        ("nobody's user ID", as_user(&ben, &|present| present.user_id = Some(NOBODY), None), "user_invalid"),
        ("a device of somebody else", as_user(&ben, &|present| present.device_id = ada.device_id(), None), "device_not_registered"),
        ("a good medium, and a user who is not there", as_user(&ben, &|present| present.user_id = ada.user, Some(one)), "user_invalid"),
        (
            "a good medium, and a device that nobody registered",
            as_user(
                &ben,
                &|present| {
                    present.user_id = None;
                    present.device_id = Some(device().0);
                },
                Some(one),
            ),
            "device_not_registered",
        ),
    ] {
        assert_eq!(arcade.reason(&server, &presentation).await, why, "{what}");
    }
    // A card that was reported lost is nobody's.
    let lost = format!("/v1/cards/{}/revoke", ada.card_id().unwrap());
    assert!(server.post(&server.operator, &lost, &json!({ "reason": "lost" })).await.status.is_success());
    assert_eq!(arcade.reason(&server, &arcade.presented_by(&server, &ada, Some(one))).await, "card_unknown");
    // And a device that holds its own keys likewise.
    let mut eve = Terminal { card: None, ..Terminal::new() };
    eve.register(&server, None).await.unwrap();
    arcade.active(&server, &arcade.presented_by(&server, &eve, Some(one))).await;
    let holder = format!("/v1/cards/{}/revoke", counterfoil_core::CardId::from_bytes(eve.device.as_ref().unwrap().1.public().id()));
    assert!(server.post(&server.operator, &holder, &json!({ "reason": "stolen" })).await.status.is_success());
    assert_eq!(arcade.reason(&server, &arcade.presented_by(&server, &eve, Some(one))).await, "user_invalid");
    assert_eq!(db.number(VERIFIED).await, 1, "Eve's, before");
    let of_the_medium = "SELECT count(*) FROM audit WHERE event = 'verify.refused' AND family LIKE 'med-%'";
    assert_eq!(db.number(of_the_medium).await, 4, "what came with a medium that proved itself is in its own record");
    is_sound(&db).await;
});

db_test!(b4_what_is_not_good_any_more_or_not_here_is_not_active, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let ending = press(&server, "sky-raider", 1, json!({ "expires_at": NOW.0 + 1000 })).await.remove(0);
    catalogue::publish(&server, "red-owl", "night-owl", "1.0").await;
    let foreign = {
        let body = json!({ "titles": [{ "title": "night-owl" }], "count": 1, "rights": {} });
        let batch = server.post(&server.owl, "/v1/batches", &body).await.expect(201);
        let path = format!("/v1/batches/{}/identities?from=1&count=1", batch["batch"].as_str().unwrap());
        terminal::pressed(&server, &server.get(&server.owl, &path).await.body).remove(0)
    };
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    assert_eq!(arcade.reason(&server, &arcade.presented(&server, &foreign)).await, "right_missing", "another publisher's");
    let owls = Provider::new(&server, &["red-owl"]).await;
    owls.active(&server, &owls.presented(&server, &foreign)).await;

    let ahead = arcade.presented(&server, &ending);
    server.app.clock.set(Timestamp(NOW.0 + 1000));
    assert_eq!(arcade.reason(&server, &ahead).await, "right_missing", "its rights have ended");
    server.app.clock.set(NOW);
    arcade.active(&server, &ahead).await;

    let before = arcade.presented(&server, &medium);
    arcade.active(&server, &before).await;
    let path = format!("/v1/media/{}/retire", medium.id);
    assert!(server.post(&server.operator, &path, &json!({ "reason": "stolen" })).await.status.is_success());
    assert_eq!(arcade.reason(&server, &arcade.presented(&server, &medium)).await, "medium_retired");
    assert_eq!(arcade.reason(&server, &before).await, "medium_retired", "not even what was good a moment ago");
    for (offset, fresh) in [(Timestamp::DAY + 1, false), (-Timestamp::DAY - 1, false), (Timestamp::DAY, true), (-Timestamp::DAY, true)] {
        let mut asked = request(&server, Operation::Present(owls.of_medium(&foreign)));
        asked.issued_at = Timestamp(NOW.0 + offset);
        let answer = owls.verify(&server, &by_medium(&server, &asked, &foreign)).await.expect(200);
        assert_eq!(answer["active"], fresh, "{offset}: {answer}");
    }
    is_sound(&db).await;
});

db_test!(b4_the_token_says_which_provider_it_is_and_only_a_providers_is_taken, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let body = json!({ "presentation": arcade.presented(&server, &medium), "challenge": CHALLENGE });
    for (token, status) in [("", 401), ("cft_000000000000_AAAA", 401), (server.operator.as_str(), 403), (server.fox.as_str(), 403)] {
        assert_eq!(verify(&server, token, &body).await.status, status);
    }
    // With the token of another provider it is that provider's business, which it is not.
    assert_eq!(reason(verify(&server, &cinema.token, &body).await), "presentation_invalid");
    assert_eq!(verify(&server, &arcade.token, &body).await.expect(200)["aud"], json!(arcade.id));
    let path = format!("/v1/providers/{}", arcade.id);
    assert_eq!(server.send(json_request(Method::DELETE, &path, &server.operator, &json!({}))).await.status, 204);
    assert_eq!(verify(&server, &arcade.token, &body).await.status, 401, "not even the same again, once it has ended");
    assert_eq!(db.number(VERIFIED).await, 1);
});

db_test!(b4_bits_that_flip_and_bytes_that_are_missing_give_no_verdict, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let whole = arcade.presented(&server, &medium);
    let body = json!({ "presentation": whole, "challenge": CHALLENGE }).to_string().into_bytes();
    let send = async |body: Vec<u8>| {
        let request = http(Method::POST, "/v1/verify", &arcade.token).header("content-type", "application/json");
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    let same = |body: &[u8]| {
        let read: Value = serde_json::from_slice(body).unwrap_or_default();
        let presentation = serde_json::from_value::<Presentation>(read["presentation"].clone());
        read["challenge"] == CHALLENGE && presentation.is_ok_and(|read| read == whole)
    };
    let mut judged = 0;
    for place in 0..body.len() {
        let mut flipped = body.clone();
        flipped[place] ^= 1 << (place % 7);
        // An ID is the same in capitals or not.
        if same(&flipped) {
            continue;
        }
        let answer = send(flipped).await;
        match answer.status.as_u16() {
            200 => judged += usize::from(!reason(answer).is_empty()),
            400 | 422 => {}
            other => panic!("{other} for byte {place}"),
        }
    }
    assert!(judged > body.len() / 2, "{judged} of {} went as far as the envelope", body.len());
    for cut in (0..body.len()).step_by(7) {
        assert!(matches!(send(body[..cut].to_vec()).await.status.as_u16(), 400 | 422), "{cut} bytes");
    }
    assert_eq!(db.number(VERIFIED).await, 0);
    arcade.active(&server, &whole).await;
    is_sound(&db).await;
});

db_test!(b4_media_of_another_authority_are_nobodys_here, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    // Sealed for, and signed to, somebody else's keys; then the same made out to ours by name.
    let theirs = counterfoil_format::hpke::SealingKey::from_seed(&Secret::new([5; 32]));
    let ours = server.app.keys.document(NOW).sealing[0].kid.clone();
    let asked: Request = request(&server, Operation::Present(arcade.of_medium(&medium)));
    for kid in ["theirs-1", ours.as_str()] {
        let sealed = counterfoil_format::envelope::seal(
            &serde_json::to_vec(&asked).unwrap(),
            &[(medium.id.as_str(), Signer::ClaimSecret(&medium.secret))],
            kid,
            counterfoil_format::hpke::DiffieHellman::public_key(&theirs),
            &mut counterfoil_format::secret::SystemRandom,
        );
        let presentation = shown(Some(&medium), &sealed.unwrap().0.to_json());
        assert_eq!(arcade.reason(&server, &presentation).await, "envelope_invalid", "{kid}");
    }
    let other = ProviderId::from_bytes([3; 16]);
    assert_eq!(
        arcade.reason(&server, &changed(&server, &arcade, &medium, |present| present.provider = other)).await,
        "presentation_invalid"
    );
});

db_test!(b4_b7_an_old_copy_of_a_refreshed_medium_is_told_from_the_medium, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let old = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    arcade.active(&server, &arcade.presented(&server, &old)).await;
    let (batch, serial) = old.id.batch_and_serial().unwrap();
    let path = format!("/v1/media/{}/refresh", old.id);
    assert_eq!(server.post(&server.fox, &path, &json!({ "reason": "lost a copy" })).await.status, 200);
    arcade.active(&server, &arcade.presented(&server, &old)).await;
    let path = format!("/v1/batches/{batch}/identities?from={serial}&count=1");
    let new = terminal::pressed(&server, &server.get(&server.fox, &path).await.body).remove(0);
    assert_ne!(new.secret.expose(), old.secret.expose());
    let told = arcade.active(&server, &arcade.presented(&server, &new)).await;
    assert_eq!(told["medium_id"], json!(old.id));
    assert_eq!(arcade.reason(&server, &arcade.presented(&server, &old)).await, "medium_superseded");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.superseded_presented'").await, 1);
    assert_eq!((db.number("SELECT epoch FROM medium").await, db.number(VERIFIED).await), (2, 3));
    is_sound(&db).await;
});

db_test!(b2_b4_rights_that_were_changed_in_another_process_are_what_is_told, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let elsewhere = server.another(&db, |_| ()).await;
    let scope = async |medium: &Medium| arcade.active(&server, &arcade.presented(&server, medium)).await["scope"].clone();
    assert_eq!(scope(&media[0]).await, "download update play transfer");
    let path = format!("/v1/batches/{}/rights", media[0].id.batch_and_serial().unwrap().0);
    let change = json!({ "rights": { "download": false, "upload": true }, "reason": "the offer has changed" });
    assert_eq!(elsewhere.patch(&server.fox, &path, &change).await.expect(200)["rights"]["upload"], true);
    for medium in &media {
        assert_eq!(scope(medium).await, "upload update play transfer", "what was kept in memory is not what is so");
    }
});

db_test!(b4_whoever_asks_too_often_waits, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.provider_requests_per_second = 1;
        config.limits.provider_burst = 3;
    })
    .await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let presentation = arcade.presented(&server, &medium);
    for _ in 0..3 {
        arcade.active(&server, &presentation).await;
    }
    let refused = arcade.verify(&server, &presentation).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str(), refused.header("retry-after")), (429, "rate_limited", "1"));
    cinema.active(&server, &cinema.presented(&server, &medium)).await;
});

db_test!(b4_a_medium_that_is_shown_too_often_waits_wherever_it_is_shown, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.medium_requests_per_second = 1;
        config.limits.medium_burst = 2;
    })
    .await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    // Whoever only knows its ID keeps nobody out.
    let forged = Medium { id: media[0].id.clone(), secret: media[1].secret.clone() };
    for _ in 0..5 {
        assert_eq!(arcade.reason(&server, &arcade.presented(&server, &forged)).await, "medium_unknown");
    }
    arcade.active(&server, &arcade.presented(&server, &media[0])).await;
    cinema.active(&server, &cinema.presented(&server, &media[0])).await;
    let refused = arcade.verify(&server, &arcade.presented(&server, &media[0])).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str(), refused.header("retry-after")), (429, "rate_limited", "1"));
    arcade.active(&server, &arcade.presented(&server, &media[1])).await;
});

db_test!(b4_one_request_id_for_two_presentations_is_refused, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let first = request(&server, Operation::Present(arcade.of_medium(&medium)));
    arcade.active(&server, &by_medium(&server, &first, &medium)).await;
    let second = Request { operation: Operation::Present(cinema.of_medium(&medium)), ..first };
    assert_eq!(cinema.reason(&server, &by_medium(&server, &second, &medium)).await, "request_mismatch");
    assert_eq!(db.number(VERIFIED).await, 1);
});

db_test!(b4_a_presentation_is_no_request_of_a_terminal_and_the_reverse, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let sealed = serde_json::to_vec(&arcade.presented(&server, &medium).envelope).unwrap();
    assert_eq!(refused(terminal::exchange(&server, &sealed).await), Code::PresentationInvalid, "the exchange judges none");
    let ada = Terminal::registered(&server).await;
    let claim = ada.sealed(&server, &request(&server, Operation::Claim(ada.claim_operation(&medium))), Some(&medium));
    assert_eq!(arcade.reason(&server, &shown(Some(&medium), &claim)).await, "presentation_invalid");
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 0, "what a provider was handed claims nothing");
});
