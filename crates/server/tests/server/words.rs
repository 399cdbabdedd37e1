//! What is found by words of a name and by the first characters of an ID: the same on both engines, in the transaction that wrote it, and of what
//! was written before there were words.

use crate::support::catalogue::{self, TestServer, publish};
use crate::support::terminal::{Terminal, media};
use crate::support::{TestDb, db_test};

use axum::body::Body;
use axum::http::Method;
use counterfoil_core::UserId;
use counterfoil_server::auth::Scope;
use counterfoil_server::db::{DbError, Fault, Lasting, Tx};
use counterfoil_server::store::word::{self, Shelf};
use counterfoil_server::{auditor, jobs};
use serde_json::json;

async fn people(server: &TestServer, names: &[&str]) {
    let lines = (1..).zip(names).map(|(number, name)| json!({ "user_id": id(number), "name": name }).to_string() + "\n");
    let request = catalogue::request(Method::POST, "/v1/people", &server.operator);
    let body = Body::from(lines.collect::<String>());
    server.send(request.header("content-type", "application/x-ndjson").body(body).unwrap()).await.expect(200);
}

fn id(number: u8) -> UserId {
    let mut bytes = [0x11; 16];
    bytes[15] = number;
    UserId::from_bytes(bytes)
}

/// Names of those who are found, in the order in which they are shown.
async fn found(server: &TestServer, text: &str) -> Vec<String> {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("find", text).finish();
    let found = server.get(&server.operator, &format!("/v1/entries?{query}")).await.expect(200);
    found["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
}

// proves: C14
db_test!(c14_people_are_found_by_how_words_of_their_names_begin, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let names =
        ["Zoë Müller", "Zoe Mueller-Lüdenscheidt", "Joanne Smith", "Anna Smith", "Ann Smythe", "Sean O'Brien", "100% Smith_", "山田 太郎"];
    people(&server, &names).await;
    for (asked, expected) in [
        ("zoe", &["Zoe Mueller-Lüdenscheidt", "Zoë Müller"][..]),
        ("ZOË m", &["Zoe Mueller-Lüdenscheidt", "Zoë Müller"]),
        ("müller", &["Zoë Müller"]),
        ("luden", &["Zoe Mueller-Lüdenscheidt"]),
        ("ann", &["Ann Smythe", "Anna Smith"]),
        ("smith ann", &["Anna Smith"]),
        ("anne", &[]),
        ("smith, joanne", &["Joanne Smith"]),
        ("o'brien", &["Sean O'Brien"]),
        ("brien", &["Sean O'Brien"]),
        ("%", &[]),
        ("smith_", &["100% Smith_", "Anna Smith", "Joanne Smith"]),
        ("100%", &["100% Smith_"]),
        ("太", &["山田 太郎"]),
    ] {
        assert_eq!(found(&server, asked).await, expected, "{asked}");
    }
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
});

// proves: C14
db_test!(c14_what_is_left_of_an_id_finds_what_it_is_of, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 3, json!({})).await.remove(0);
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, &medium).await.unwrap();
    let user = owner.user.unwrap().to_string();
    let by = async |text: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("find", text).finish();
        let answer = server.get(&server.operator, &format!("/v1/entries?{query}")).await;
        let found = answer.expect(200);
        let found = found["entries"].as_array().unwrap().clone();
        found
            .iter()
            .filter(|entry| entry["user_id"] == user.as_str())
            .map(|entry| entry["found_by"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let card = owner.card_id().unwrap().to_string();
    let device = owner.device_id().unwrap().to_string();
    for (whole, what) in [(&user, "user"), (&card, "card"), (&device, "device")] {
        for length in [10, 20, 36] {
            assert_eq!(by(&whole[..length]).await, [what], "{}", &whole[..length]);
        }
        assert_eq!(by(&whole[..12].to_lowercase()).await, [what]);
    }
    // Whoever typed all of it has made a typing error; three characters are the least.
    let mut mistyped = user.clone();
    mistyped.replace_range(5..6, if &user[5..6] == "7" { "8" } else { "7" });
    for wrong in [mistyped.as_str(), &user[..6], &format!("{user}0")] {
        let answer = server.get(&server.operator, &format!("/v1/entries?find={wrong}")).await;
        assert_eq!(answer.status, 422, "{wrong}");
    }
});

/// IDs of titles or batches that are found.
async fn on_shelf(db: &TestDb, shelf: Shelf, scope: Scope, text: &'static str) -> Vec<String> {
    let read = async move |tx: &mut Tx| word::find(tx, shelf, &scope, text, 20).await;
    db.read("test", read).await.unwrap().into_iter().map(|named| named.id).collect()
}

db_test!(titles_and_batches_are_found_by_words_and_a_publisher_finds_its_own, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    publish(&server, "red-owl", "sky-walk", "1.0").await;
    let new = json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "name": "Weihnachten – Österreich" });
    let batch = server.post(&server.fox, "/v1/batches", &new).await.expect(201)["batch"].as_str().unwrap().to_owned();
    let fox = || Scope::Publisher("blue-fox".to_owned());
    assert_eq!(on_shelf(&db, Shelf::Titles, Scope::All, "sky").await, ["sky-raider", "sky-walk"]);
    assert_eq!(on_shelf(&db, Shelf::Titles, fox(), "sky").await, ["sky-raider"]);
    assert_eq!(on_shelf(&db, Shelf::Titles, fox(), "sky-w").await, Vec::<String>::new());
    assert_eq!(on_shelf(&db, Shelf::Batches, fox(), "osterreich weih").await, [batch]);
    assert_eq!(on_shelf(&db, Shelf::Batches, Scope::Publisher("red-owl".to_owned()), "weih").await, Vec::<String>::new());
});

db_test!(words_are_written_with_their_name_or_not_at_all, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let person = json!({ "name": "Ada Lovelace" });
    for at in 1.. {
        db.faults.arm(Fault::Statement(at), Lasting::Once);
        server.post(&server.operator, "/v1/users", &person).await;
        let fired = db.faults.fired();
        db.faults.disarm();
        assert_eq!(db.number("SELECT 2 * (SELECT count(*) FROM user_info) - (SELECT count(*) FROM person_word)").await, 0, "{at}");
        if fired == 0 {
            assert!(at > 4, "only {at} statements could fail");
            break;
        }
    }
    assert!(db.number("SELECT count(*) FROM person_word").await >= 2);
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
});

db_test!(names_from_before_there_were_words_are_found_after_a_migration, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let names: Vec<String> = (0..130).map(|number| format!("Ada Number{number}")).collect();
    people(&server, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // As a version without words has left it, and changed a name, and deleted somebody's.
    db.run("DELETE FROM catalogue_word").await;
    for number in 1..=130 {
        let user = id(number).to_string();
        let before = async move |tx: &mut Tx| -> Result<(), DbError> {
            tx.query("DELETE FROM person_word WHERE user_id = $1").bind(&user).execute().await?;
            if number > 2 {
                return Ok(());
            }
            tx.query("INSERT INTO person_word (user_id, word) VALUES ($1, 'old')").bind(&user).execute().await?;
            if number == 1 {
                tx.query("UPDATE user_info SET name = '', erased_at = 1 WHERE user_id = $1").bind(&user).execute().await?;
            }
            Ok(())
        };
        db.write("before", "test", before).await.unwrap();
    }
    db.run("INSERT INTO person_word (user_id, word) VALUES ('usr-nobody', 'old')").await;
    assert_eq!(found(&server, "number7").await, Vec::<String>::new());
    assert_eq!(jobs::words::mend(&db.db).await.unwrap(), 132);
    assert_eq!(found(&server, "number12").await.len(), 11);
    assert_eq!(found(&server, "old").await, Vec::<String>::new());
    assert_eq!(on_shelf(&db, Shelf::Titles, Scope::All, "raider").await, ["sky-raider"]);
    let left = auditor::check(&db.db).await.unwrap();
    let ours: Vec<&str> = left.iter().filter(|one| one.invariant.contains("words")).map(|one| one.subject.as_str()).collect();
    assert_eq!(ours, Vec::<&str>::new());
    assert_eq!(jobs::words::mend(&db.db).await.unwrap(), 0, "the second time there is nothing to do");
});

db_test!(of_an_erased_person_no_word_is_left, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    people(&server, &["Ada Lovelace", "Ada Byron"]).await;
    let reason = json!({ "reason": "asked for it" });
    server.post(&server.operator, &format!("/v1/people/{}/erase", id(1)), &reason).await.expect(200);
    assert_eq!(found(&server, "ada").await, ["Ada Byron"]);
    assert_eq!(db.number("SELECT count(*) FROM person_word WHERE word = 'lovelace'").await, 0);
});

// A search takes a bounded time: of a word that very many have, the first ones are looked at.
db_test!(the_rarest_word_is_what_is_looked_for, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let names: Vec<String> =
        (0..200).map(|number| if number == 199 { "Anna Zyx".to_owned() } else { format!("Anna Abc{number}") }).collect();
    people(&server, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(found(&server, "anna zyx").await, ["Anna Zyx"]);
    assert_eq!(found(&server, "anna").await.len(), 50);
});
