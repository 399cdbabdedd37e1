//! A publisher puts a title into the store on the command line, and people look around there (D2).

use counterfoil_core::Code;
use serde_json::json;

use crate::world::{scenario, write};

/// Begins as a PNG does; the server looks no further.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nand so on";

// proves: D2
scenario!(d2_a_publisher_lists_a_title_and_people_find_it, |world| {
    world.publish("sky-raider", "1.0.0", &world.small_tree(), &["--name", "Sky Raider", "--entry", "bin/game", "--kind", "game"]).done();
    world.publish("sky-raider", "1.1.0-rc1", &world.small_tree(), &["--channel", "beta", "--entry", "bin/game"]).done();
    let publisher = world.publisher();
    let person = world.device("anna");
    let nothing = person.run(["store"]).done();
    assert!(nothing.stdout().contains("nothing is sold here yet"), "{nothing}");
    person.run(["store", "show", "sky-raider"]).refused(Code::NotForSale);

    let shown = publisher.run(["title", "show", "sky-raider"]).done().stdout();
    assert!(shown.contains("on sale     no") && shown.contains("1.1.0-rc1 (beta)"), "{shown}");
    publisher.run(["title", "edit", "sky-raider", "--on-sale"]).failed(2, "sky-raider has no price");
    publisher.run(["title", "edit", "sky-raider", "--price", "19,99 EUR"]).failed(2, "an amount is a number");
    publisher.run(["title", "edit", "no-such-title", "--summary", "x"]).failed(1, "/v1/titles/no-such-title");

    let (text, terms, first, second) =
        (world.path("text.txt"), world.path("terms.toml"), world.path("first.png"), world.path("second.png"));
    write(&text, b"One paragraph.\n\nAnother.\n");
    write(&terms, b"devices = 2\nrefund_days = 0\n");
    write(&first, PICTURE);
    write(&second, &[PICTURE, b"!"].concat());
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let run = |how: &[&str], more: &[&str]| {
        let mut command = publisher.command(["title", "edit", "sky-raider"]);
        command.args(how).args(more);
        crate::world::outcome(command)
    };
    let edit = |more: &[&str]| run(&["--json"], more);
    let listed = edit(&[
        "--summary",
        "Fly far",
        "--price",
        "19.99 EUR",
        "--price",
        "2100 JPY",
        "--description-file",
        &path(&text),
        "--policy-file",
        &path(&terms),
        "--on-sale",
        "--picture",
        &path(&first),
        "--alt",
        "A valley & a hill",
        "--picture",
        &path(&second),
        "--alt",
        "The sea",
    ]);
    let listed = listed.done().json();
    assert_eq!((&listed["pictures"][0]["alt"], &listed["policy"]["devices"]), (&json!("A valley & a hill"), &json!(2)));
    run(&[], &["--picture", &path(&first)]).failed(2, "--alt");
    run(&[], &["--picture", "missing.png", "--alt", "x"]).failed(3, "missing.png");
    run(&[], &["--picture", &path(&text), "--alt", "x"]).failed(2, "is not named .png");

    let found = person.run(["store", "SKY", "raid"]).done().stdout();
    assert!(found.contains("sky-raider  Sky Raider, 19.99 EUR or 2100 JPY") && found.contains("game by Acme: Fly far"), "{found}");
    assert!(person.run(["store", "100%"]).done().stdout().contains("nothing fits"));
    let shown = person.run(["store", "show", "sky-raider"]).done().stdout();
    for part in
        ["It runs on up to 2 of your devices at a time.", "It cannot be given back.", "1.0.0 (stable)", "1.1.0-rc1 (beta)", "Another."]
    {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let shown = person.run(["store", "show", "sky-raider", "--json"]).done().json();
    assert_eq!((&shown["prices"][0], &shown["releases"][0]["channel"]), (&json!({ "amount": 1999, "currency": "EUR" }), &json!("beta")));
    assert!(!person.home.join("profile.json").exists(), "who only looks is bound to no authority");

    // What is not named stays; pictures and prices come all together.
    let edited = edit(&["--price", "5 EUR", "--picture", &path(&second), "--alt", "The sea"]).done().json();
    assert_eq!((&edited["summary"], edited["pictures"].as_array().map(Vec::len)), (&json!("Fly far"), Some(1)));
    assert_eq!((&edited["prices"], &edited["policy"]["devices"]), (&json!([{ "amount": 500, "currency": "EUR" }]), &json!(2)));
    edit(&["--off-sale"]).done();
    person.run(["store", "show", "sky-raider"]).refused(Code::NotForSale);
    assert_eq!(person.run(["store", "--json"]).done().json(), json!({ "items": [], "more": false }));
});
