//! Third parties offer services to media that the authority vouches for (B4–B6): a stick is presented to the example of a provider, in a process
//! of its own, by the public client; and by somebody who makes the requests by hand.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{Device, Outcome, World, outcome, scenario, write};

pub mod service;

use service::{Service, post, presentation};

const TITLE: &str = "sky-raider";

/// Two sticks that may have something handed in, and one that may not.
struct Sticks {
    open: Vec<PathBuf>,
    closed: PathBuf,
}

fn sticks(world: &World) -> Sticks {
    let closed = world.discs(1).remove(0);
    let out = world.path("discs-open");
    let mut press = world.publisher().command(["press", "--title", TITLE, "--count", "2", "--right", "upload=yes", "--out"]);
    press.arg(&out);
    outcome(press).done();
    Sticks { open: vec![out.join("0001"), out.join("0002")], closed }
}

/// `counterfoil present`, with a file to hand in or without.
fn present(device: &Device, medium: &Path, url: &str, give: Option<&Path>) -> Outcome {
    let mut command = device.command(["present"]);
    command.arg(medium).args(["--to", url, "--take-all", "--json"]);
    if let Some(file) = give {
        command.arg("--give").arg(file);
    }
    outcome(command)
}

/// What has been received onto a stick from a provider, by name.
fn received(medium: &Path, service: &Service) -> Vec<String> {
    let directory = medium.join("content").join(TITLE).join("received").join(&service.id);
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

// proves: B4, B5, B6, B9
scenario!(b4_b5_b6_a_stick_gets_what_fits_and_hands_in_what_it_may, |world| {
    let sticks = sticks(world);
    let north = Service::start(world, "north", &[]);
    let (anna, level) = (world.device("anna"), world.path("level.map"));
    write(&level, b"a level that Anna has made");

    // Content comes onto the stick, beside its title; what she has made arrives. Nobody is registered for that.
    present(&anna, &sticks.open[0], &north.url, Some(&level)).done();
    assert_eq!(received(&sticks.open[0], &north), ["map"]);
    let map = sticks.open[0].join("content").join(TITLE).join("received").join(&north.id).join("map");
    assert_eq!(fs::read(map).expect("received"), b"a map of the sky");
    assert_eq!(north.received().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [b"a level that Anna has made"]);
    assert!(north.holder().starts_with("medium-med-"), "{}", north.holder());

    // Further on in the game there is more.
    let mut set = anna.command(["status", "set", TITLE, "chapter=3", "--medium"]);
    set.arg(&sticks.open[0]);
    outcome(set).done();
    present(&anna, &sticks.open[0], &north.url, None).done();
    assert_eq!(received(&sticks.open[0], &north), ["chapter-4", "map"]);

    // A stick without the right gets, and does not give.
    let refused = present(&anna, &sticks.closed, &north.url, Some(&level));
    assert_eq!(refused.output.status.code(), Some(1), "{refused}");
    assert_eq!(north.received().len(), 1);
    present(&anna, &sticks.closed, &north.url, None).done();
    assert_eq!(received(&sticks.closed, &north), ["map"]);
    // Nor where the terminal does not mind it.
    let session = north.session(&anna, &sticks.closed);
    let tus = [("tus-resumable", "1.0.0"), ("upload-length", "1"), ("upload-metadata", "name YQ==")];
    north.request("POST", "/v1/uploads", &session, &tus, b"").refused(403, "right_missing");

    // The stick is as good as before, and says who has seen it.
    let ben = world.person("ben");
    ben.copy(&sticks.open[0]).done();
    ben.plays_all(TITLE, &world.small_tree());
});

// proves: B4, B5
scenario!(b4_two_providers_cannot_tell_that_a_holder_is_the_same, |world| {
    let sticks = sticks(world);
    let (north, south) = (Service::start(world, "north", &[]), Service::start(world, "south", &[]));
    let (anna, level) = (world.person("anna"), world.path("level.map"));
    write(&level, b"x");
    for stick in &sticks.open {
        let mut copy = anna.command(["copy", "--again"]);
        copy.arg(stick).arg("--library").arg(&anna.library);
        outcome(copy).done();
    }
    for stick in &sticks.open {
        present(&anna, stick, &north.url, Some(&level)).done();
        present(&anna, stick, &south.url, Some(&level)).done();
    }
    // One holder, whichever of her sticks it is; another one elsewhere.
    let names = |service: &Service| service.received().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&north), [format!("{}/level.map", north.holder()), format!("{}/level.map.2", north.holder())]);
    assert!(north.holder().starts_with("user-") && south.holder().starts_with("user-"), "{} {}", north.holder(), south.holder());
    assert_ne!(north.holder(), south.holder());
});

// proves: B4
scenario!(b4_a_presentation_is_good_for_one_provider_one_challenge_and_once, |world| {
    let sticks = sticks(world);
    let (north, mut south) = (Service::start(world, "north", &[]), Service::start(world, "south", &[]));
    let (anna, stick) = (world.device("anna"), &sticks.open[0]);
    let is_inactive = |(status, answer): (u16, Value)| {
        assert_eq!((status, answer["code"].as_str()), (403, Some("inactive")), "{answer}");
        assert!(answer["reason"].is_string(), "{answer}");
    };

    // Made for North, forwarded to South, whose challenge it is.
    let (norths, souths) = (north.challenge(), south.challenge());
    let for_north = presentation(&anna, stick, &north.id, &norths, &north.url);
    is_inactive(south.present(&souths, &for_north));
    // Good at North, once: the challenge is spent, and another one is another.
    let (status, session) = north.present(&norths, &for_north);
    assert_eq!(status, 200, "{session}");
    let again = north.present(&norths, &for_north);
    assert_eq!((again.0, again.1["code"].as_str()), (409, Some("challenge_unknown")), "{again:?}");
    is_inactive(north.present(&north.challenge(), &for_north));
    // North's session is nothing at South.
    let token = session["session"].as_str().expect("a session");
    assert_eq!(north.request("GET", "/v1/contents/map", token, &[], b"").body, b"a map of the sky");
    south.request("GET", "/v1/contents/map", token, &[], b"").refused(401, "session_unknown");

    // South says that it is North, with a challenge of North's, and hands on what it is given.
    let challenge = north.challenge();
    is_inactive(north.present(&challenge, &presentation(&anna, stick, &north.id, &challenge, &south.url)));

    // The medium's name says nothing, without its secret, and with another's envelope.
    let challenge = north.challenge();
    let mut other = presentation(&anna, &sticks.closed, &north.id, &challenge, &north.url);
    other["medium_id"] = for_north["medium_id"].clone();
    is_inactive(north.present(&challenge, &other));
    let challenge = north.challenge();
    let mut cut = presentation(&anna, stick, &north.id, &challenge, &north.url);
    let sealed = cut["envelope"]["ct"].as_str().expect("sealed").to_owned();
    let (before, after) = sealed.split_at(sealed.len() / 2);
    let other = if after.starts_with('A') { "B" } else { "A" };
    cut["envelope"]["ct"] = Value::from(format!("{before}{other}{}", &after[1..]));
    is_inactive(north.present(&challenge, &cut));

    // South asks with North's token.
    south.stop();
    south.take_token_of(&north);
    south.run();
    let challenge = south.challenge();
    is_inactive(south.present(&challenge, &presentation(&anna, stick, &south.id, &challenge, &south.url)));
});

// proves: A9, B2, B4
scenario!(b2_b4_the_next_verdict_says_what_has_changed_at_the_authority, |world| {
    let sticks = sticks(world);
    let north = Service::start(world, "north", &[]);
    let (anna, level) = (world.device("anna"), world.path("level.map"));
    write(&level, b"x");
    let refused = present(&anna, &sticks.closed, &north.url, Some(&level));
    assert_eq!(refused.output.status.code(), Some(1), "{refused}");
    change_rights(world, &sticks.closed, &["upload=yes", "download=no"]);
    // The provider judges by what the database says, not by what was signed when it was pressed.
    let session = north.session(&anna, &sticks.closed);
    north.request("GET", "/v1/contents/map", &session, &[], b"").refused(403, "right_missing");
    let tus = [("tus-resumable", "1.0.0"), ("upload-length", "0"), ("upload-metadata", "name YQ==")];
    assert_eq!(north.request("POST", "/v1/uploads", &session, &tus, b"").status, 201);
    assert_eq!(north.received().len(), 1);
});

// proves: B4
scenario!(b4_a_provider_that_has_ended_is_told_nothing, |world| {
    let sticks = sticks(world);
    let north = Service::start(world, "north", &[]);
    let anna = world.device("anna");
    present(&anna, &sticks.closed, &north.url, None).done();
    world.publisher().run(["provider", "remove", &north.id]).done();
    let challenge = north.challenge();
    let (status, answer) = north.present(&challenge, &presentation(&anna, &sticks.closed, &north.id, &challenge, &north.url));
    assert_eq!((status, answer["code"].as_str()), (502, Some("not_admitted")), "{answer}");
    let failed = present(&anna, &sticks.closed, &north.url, None);
    assert!(!failed.output.status.success(), "{failed}");
    // Nobody without a provider's token is told anything either.
    let body = json!({ "challenge": challenge, "presentation": presentation(&anna, &sticks.closed, &north.id, &challenge, &north.url) });
    let verify = format!("{}/v1/verify", world.url);
    assert_eq!(post(&verify, None, &body).0, 401);
    assert_eq!(post(&verify, Some(&world.token), &body).0, 403);
});

// proves: B6
scenario!(b6_an_upload_survives_the_provider_and_belongs_to_its_holder, |world| {
    let sticks = sticks(world);
    let mut north = Service::start(world, "north", &["--upload-mib", "1", "--offline-verdicts"]);
    let anna = world.device("anna");
    let bytes = crate::world::noise(6, 300_000);
    let session = north.session(&anna, &sticks.open[0]);
    let length = bytes.len().to_string();
    let create = [("tus-resumable", "1.0.0"), ("upload-length", length.as_str()), ("upload-metadata", "name bGV2ZWwubWFw")];
    let made = north.request("POST", "/v1/uploads", &session, &create, b"");
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.headers["location"].to_str().expect("text").to_owned();
    let patch = |north: &Service, session: &str, offset: usize, body: &[u8]| {
        let offset = offset.to_string();
        let headers = [("tus-resumable", "1.0.0"), ("content-type", "application/offset+octet-stream"), ("upload-offset", offset.as_str())];
        north.request("PATCH", &path, session, &headers, body)
    };
    assert_eq!(patch(&north, &session, 0, &bytes[..100_000]).status, 204);
    north.stop();
    north.run();
    // The verdict is still good; the provider verifies it by the authority's published keys.
    let head = north.request("HEAD", &path, &session, &[("tus-resumable", "1.0.0")], b"");
    assert_eq!((head.status, head.headers["upload-offset"].to_str().expect("text")), (200, "100000"), "{head:?}");
    // The other stick's holder has none such.
    let other = north.session(&anna, &sticks.open[1]);
    patch(&north, &other, 100_000, b"x").refused(404, "not_found");
    patch(&north, &session, 0, b"x").refused(409, "offset_conflict");
    assert_eq!(patch(&north, &session, 100_000, &bytes[100_000..]).status, 204);
    assert_eq!(north.received().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [bytes]);
    let too_large = [("tus-resumable", "1.0.0"), ("upload-length", "1048577"), ("upload-metadata", "name bGV2ZWwubWFw")];
    north.request("POST", "/v1/uploads", &session, &too_large, b"").refused(413, "too_large");
    for name in ["Li4vLi4vdG9rZW4=", "L2V0Yy9wYXNzd2Q=", "Lm9wZW4="] {
        let named = format!("name {name}");
        let forged = [("tus-resumable", "1.0.0"), ("upload-length", "1"), ("upload-metadata", named.as_str())];
        north.request("POST", "/v1/uploads", &session, &forged, b"").refused(400, "invalid_request");
    }
    for name in ["..%2f..%2ftoken", "offers.toml", "sky-raider%2fmap", "frogs"] {
        north.request("GET", &format!("/v1/contents/{name}"), &session, &[], b"").refused(404, "not_found");
    }
});

/// What an operator changes for one medium.
fn change_rights(world: &World, medium: &Path, rights: &[&str]) {
    let identity = world.device("anna").run([OsStr::new("inspect"), medium.as_os_str(), OsStr::new("--json")]).done().json();
    let id = identity["identity"]["medium_id"].as_str().unwrap_or_else(|| panic!("{identity}")).to_owned();
    let mut command = world.publisher().command(["rights", "set", "--medium", &id]);
    command.args(rights);
    outcome(command).done();
}
