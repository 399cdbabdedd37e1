//! Feeds by the words of SPEC.md §11: vectors that another implementation has made, good and hostile; and the authority's word.

use counterfoil_format::content::{FRESH_TYP, Feed, FeedError, Fresh, ListedRelease, MAX_FEED, ObjectName};
use counterfoil_format::jws::{JwsError, sign_compact};
use counterfoil_format::jwt::{JwtError, KeyList, LEEWAY, ListedKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::{SigningKey, VerifyingKey};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/content/feeds.json")).unwrap()
}

/// What a reader makes of a token, in words.
fn read(verified: Result<Feed, FeedError>) -> String {
    match verified {
        Ok(feed) => {
            let versions: String = feed.releases.iter().map(|listed| format!(" {}", listed.version)).collect();
            format!("{} {}:{versions}", feed.title, feed.sequence)
        }
        Err(error) => error.to_string(),
    }
}

fn failures(run: impl Fn(&str, VerifyingKey) -> String) -> Vec<String> {
    let vectors = vectors();
    let key: VerifyingKey = vectors["key"].as_str().unwrap().parse().unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    let differs = |case: &&Value| run(case["token"].as_str().unwrap(), key) != case["expect"].as_str().unwrap();
    cases.iter().filter(differs).map(|case| case["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a5_feeds_are_read_as_the_specification_says() {
    let found = failures(|token, key| read(Feed::verify(token, |kid| (kid == "blue-fox").then_some(key))));
    assert_eq!(found, [""; 0]);
    // Implementations with a bug are found out by the same vectors.
    let any_name = failures(|token, key| read(Feed::verify(token, |_| Some(key))));
    assert_eq!(any_name, ["by nobody known"]);
    let unchecked = failures(|token, key| {
        let verified = counterfoil_format::jws::verify_compact(token, "counterfoil-feed+jwt", |kid| (kid == "blue-fox").then_some(key));
        read(verified.map_err(FeedError::from))
    });
    assert!(unchecked.len() >= 15 && unchecked.iter().any(|name| name == "a version listed twice"), "{unchecked:?}");
}

fn publisher() -> SigningKey {
    SigningKey::from_seed(&Secret::new([0x51; 32]))
}

fn feed() -> Feed {
    let listed = |version: &str, byte| ListedRelease {
        version: version.into(),
        document: ObjectName([byte; 32]),
        channel: "stable".into(),
        critical: byte == 2,
        notes: "Neu".into(),
        withdrawn: byte == 2,
        allow_back: byte != 2,
    };
    Feed { title: "sky-raider".into(), sequence: 1, issued_at: 10, expires_at: 20, releases: vec![listed("1", 1), listed("2", 2)] }
}

#[test]
fn a5_what_is_signed_is_read_back() {
    let token = feed().sign("blue-fox", &publisher()).unwrap();
    assert_eq!(Feed::verify(&token, |_| Some(publisher().verifying_key())), Ok(feed()));
    assert_eq!(feed().find("2").map(|listed| listed.withdrawn), Some(true));
    assert_eq!(feed().find("3"), None);
}

#[test]
fn a5_what_no_reader_accepts_is_not_signed() {
    let twice = Feed { releases: [feed().releases, feed().releases].concat(), ..feed() };
    assert_eq!(twice.sign("blue-fox", &publisher()), Err(FeedError::Twice("1".into())));
    assert_eq!(Feed { sequence: 0, ..feed() }.sign("blue-fox", &publisher()), Err(FeedError::Member("sequence")));
    let one = feed().releases.remove(0);
    let many = (0_u16..200).map(|number| {
        let document = ObjectName([number.to_le_bytes().repeat(16)].concat().try_into().unwrap());
        ListedRelease { version: number.to_string(), document, notes: "x".repeat(1000), ..one.clone() }
    });
    let large = Feed { releases: many.collect(), ..feed() };
    assert_eq!(large.sign("blue-fox", &publisher()), Err(FeedError::Signature(JwsError::TooLarge)));
    assert!(serde_json::to_vec(&large).unwrap().len() < MAX_FEED, "it is the encoding that makes it too large");
}

#[test]
fn a5_the_authoritys_word_is_good_for_its_time_by_its_key() {
    let authority = SigningKey::from_seed(&Secret::new([7; 32]));
    let keys = KeyList { keys: vec![ListedKey::new("sig-1", &authority.verifying_key(), None)] };
    let iss = "shop.example".to_owned();
    let fresh = Fresh { iss, title: "sky-raider".into(), sequence: 3, feed: ObjectName([9; 32]), iat: 1000, exp: 2000 };
    let token = sign_compact(FRESH_TYP, "sig-1", &fresh, &authority);
    assert_eq!(Fresh::verify(&token, &keys, 1500), Ok(fresh.clone()));
    assert_eq!(Fresh::verify(&token, &keys, 2000 + LEEWAY), Err(JwtError::Expired));
    assert_eq!(Fresh::verify(&token, &keys, 1000 - LEEWAY - 1), Err(JwtError::NotYet));
    assert_eq!(Fresh::verify(&token, &KeyList::default(), 1500), Err(JwtError::Signed(JwsError::UnknownKey)));
    let other = sign_compact("counterfoil-verdict+jwt", "sig-1", &fresh, &authority);
    assert_eq!(Fresh::verify(&other, &keys, 1500), Err(JwtError::Signed(JwsError::Type)));
}

#[test]
fn feed_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/content_feed");
    let mut inputs = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        crate::content_entry::feed(&std::fs::read(file.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 5, "{inputs} inputs");
}
