//! The publisher's feed against those who stand between publisher and device (A5): each test is an attack, and ends with nothing changed, the
//! release that was there playing on, and the honest update going through.

use crate::common;

use common::authority::NOW;
use common::releases::*;
use common::*;
use counterfoil_core::{Code, Timestamp};
use counterfoil_format::content::{FEED_TYP, FRESH_TYP, Feed, Fresh, ListedRelease, MAX_FEED, ObjectName};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::io::{Io, model::DiskModel};
use counterfoil_terminal::*;
use std::path::Path;
use std::sync::Arc;

const DAY: i64 = 24 * 60 * 60;
const OLD: usize = 0;
const NEW: usize = 1;

/// A device with the first release, and an authority that offers the second one.
struct Offered {
    world: World,
    device: Device,
    disk: DiskModel,
}

impl Offered {
    fn new() -> Self {
        let (mut world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.sell(&world.contents[OLD]);
        install_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
        let next = next_release(&world.contents[OLD], "1.1.0", usual_change);
        world.release(&next);
        world.contents.push(next);
        let (old, new) = (&world.contents[OLD], &world.contents[NEW]);
        world.offer(old, new, ways(old, new, vec![]));
        Self { world, device, disk }
    }

    /// What the publisher has signed: both releases, in order.
    fn feed(&self, sequence: u64) -> Feed {
        let releases = self.world.contents.iter().map(listed).collect();
        Feed { title: TITLE.into(), sequence, issued_at: NOW.seconds(), expires_at: NOW.seconds() + 90 * DAY, releases }
    }

    /// What the authority hands over with its plan.
    fn hand(&self, feed: Option<&str>, fresh: Option<String>) {
        self.world.authority.state.lock().unwrap().feeds.insert(title(), (feed.map(str::to_owned), fresh));
    }

    /// A feed, and the word on it.
    fn hand_honestly(&self, feed: &Feed) {
        let token = signed(feed);
        self.hand(Some(&token), Some(self.fresh(feed.sequence, &token)));
    }

    fn fresh(&self, sequence: u64, feed: &str) -> String {
        self.vouch(&word(sequence, feed))
    }

    fn vouch(&self, fresh: &Fresh) -> String {
        let (kid, key) = self.world.authority.signing_now();
        sign_compact(FRESH_TYP, kid, fresh, &key)
    }

    fn terminal(&self) -> Terminal {
        self.world.terminal(Arc::new(self.disk.clone()), &self.device)
    }

    /// Refused for this reason; and the release that was there is there, whole, and the only one.
    #[track_caller]
    fn is_refused(&self, terminal: &Terminal, reason: &str) {
        let before = self.library();
        let error = update_once(terminal).expect_err(reason);
        assert_eq!(error.code(), Code::UpdateNotAuthentic.as_str(), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(self.library(), before, "nothing was changed");
        plays(&self.world.contents[OLD], terminal).unwrap();
    }

    /// The honest feed with this number is gone by, so what was refused before was refused for the attack alone.
    #[track_caller]
    fn goes_through(&self, sequence: u64) {
        self.hand_honestly(&self.feed(sequence));
        update_once(&self.terminal()).unwrap().expect("something is offered");
        plays(&self.world.contents[NEW], &self.terminal()).unwrap();
    }

    /// Has the device know a feed that lists the first release alone: no update comes of it.
    fn seen(&self, sequence: u64) -> Feed {
        let feed = Feed { releases: vec![listed(&self.world.contents[OLD])], ..self.feed(sequence) };
        self.hand_honestly(&feed);
        self.is_refused(&self.terminal(), "does not list 1.1.0");
        feed
    }

    /// All of the library but the note of what was offered, which `list` shows and nothing goes by.
    fn library(&self) -> Vec<(std::path::PathBuf, ObjectName)> {
        let counts = |path: &std::path::Path| path.starts_with(LIBRARY) && !path.ends_with("lock") && !path.ends_with("offer.json");
        let files = self.disk.named_files().into_iter().filter(|(path, _)| counts(path));
        let mut files: Vec<_> = files.map(|(path, bytes)| (path, ObjectName::of(&bytes))).collect();
        files.sort();
        files
    }
}

fn listed(content: &Content) -> ListedRelease {
    ListedRelease {
        version: content.release.version.clone(),
        document: ObjectName::of(content.token.as_bytes()),
        channel: "stable".into(),
        critical: false,
        notes: String::new(),
        withdrawn: false,
        allow_back: true,
    }
}

fn publisher() -> SigningKey {
    SigningKey::from_seed(&Secret::new([0xB1; 32]))
}

fn signed(feed: &Feed) -> String {
    feed.sign("acme", &publisher()).unwrap()
}

fn word(sequence: u64, feed: &str) -> Fresh {
    let (iat, feed) = (NOW.seconds(), ObjectName::of(feed.as_bytes()));
    Fresh { iss: "test-authority".into(), title: TITLE.into(), sequence, feed, iat, exp: iat + DAY }
}

#[test]
fn a5_rollback_of_the_feed_is_refused() {
    let offered = Offered::new();
    let old = offered.feed(4);
    offered.seen(5);
    // The older one is genuine, and the authority vouches for it.
    offered.hand_honestly(&old);
    offered.is_refused(&offered.terminal(), "number 5 was seen");
    offered.goes_through(6);
}

#[test]
fn a5_rollback_of_the_release_is_refused() {
    let offered = Offered::new();
    offered.goes_through(1);
    // Back to the first release, which nobody has asked for; the feed is the newest.
    let (old, new) = (&offered.world.contents[OLD], &offered.world.contents[NEW]);
    offered.world.release(old);
    offered.world.offer(new, old, ways(new, old, vec![]));
    let error = update_once(&offered.terminal()).expect_err("back");
    assert_eq!(error.code(), "update_not_authentic", "{error}");
    assert!(error.to_string().contains("older than 1.1.0"), "{error}");
    plays(new, &offered.terminal()).unwrap();
    // Where the publisher has withdrawn what is here, it is the way out.
    let mut feed = offered.feed(2);
    feed.releases[NEW].withdrawn = true;
    offered.hand_honestly(&feed);
    update_once(&offered.terminal()).unwrap().expect("something is offered");
    plays(old, &offered.terminal()).unwrap();
}

#[test]
fn a5_freezing_with_a_feed_that_is_over_is_refused() {
    let offered = Offered::new();
    let over = Feed { issued_at: NOW.seconds() - 90 * DAY, expires_at: NOW.seconds(), ..offered.feed(3) };
    offered.hand_honestly(&over);
    offered.is_refused(&offered.terminal(), "is over");
    offered.goes_through(4);
}

#[test]
fn a5_freezing_with_an_old_word_of_the_authority_is_refused() {
    let offered = Offered::new();
    let feed = signed(&offered.feed(3));
    let yesterday = Fresh { iat: NOW.seconds() - 2 * DAY, exp: NOW.seconds() - DAY, ..word(3, &feed) };
    offered.hand(Some(&feed), Some(offered.vouch(&yesterday)));
    offered.is_refused(&offered.terminal(), "expired");
    offered.hand(Some(&feed), None);
    offered.is_refused(&offered.terminal(), "does not say which");
    offered.goes_through(3);
}

#[test]
fn a5_freezing_by_turning_the_clock_back_is_refused() {
    let offered = Offered::new();
    // Over for an hour by the authority's clock, which this device has heard of; by its own it is good for most of a day.
    let earlier = NOW.seconds() - 60 * 60;
    let over = Feed { issued_at: earlier - DAY, expires_at: earlier, ..offered.feed(3) };
    offered.hand_honestly(&over);
    let turned =
        offered.world.terminal_when(Arc::new(offered.disk.clone()), offered.device.setup(), Timestamp(NOW.0 - Timestamp::DAY + 60_000));
    offered.is_refused(&turned.unwrap(), "is over");
    offered.goes_through(4);
}

#[test]
fn a5_freezing_by_leaving_the_feed_out_is_refused_once_one_was_seen() {
    let offered = Offered::new();
    offered.seen(5);
    offered.world.authority.state.lock().unwrap().feeds.clear();
    offered.is_refused(&offered.terminal(), "does not say which");
    offered.goes_through(6);
}

#[test]
fn a5_mixing_releases_and_feeds_is_refused() {
    let offered = Offered::new();
    // A release document that is genuine, under a version that the feed lists with another one.
    let mut other = offered.feed(1);
    other.releases[NEW].document = ObjectName::of(b"another");
    offered.hand_honestly(&other);
    offered.is_refused(&offered.terminal(), "is not what the publisher lists");
    // The feed of another of the publisher's titles.
    offered.hand_honestly(&Feed { title: "night-songs".into(), ..offered.feed(2) });
    offered.is_refused(&offered.terminal(), "is of night-songs");
    // The word on another title's feed, and on another feed.
    let feed = signed(&offered.feed(3));
    offered.hand(Some(&feed), Some(offered.vouch(&Fresh { title: "night-songs".into(), ..word(3, &feed) })));
    offered.is_refused(&offered.terminal(), "about night-songs");
    offered.hand(Some(&feed), Some(offered.fresh(3, "another")));
    offered.is_refused(&offered.terminal(), "not this one");
    offered.goes_through(4);
}

#[test]
fn a5_two_feeds_with_one_number_are_refused() {
    let offered = Offered::new();
    offered.seen(5);
    offered.hand_honestly(&offered.feed(5));
    offered.is_refused(&offered.terminal(), "two lists");
    offered.goes_through(6);
}

#[test]
fn a5_a_foreign_key_is_refused() {
    let offered = Offered::new();
    let foreign = SigningKey::from_seed(&Secret::new([0xEE; 32]));
    for kid in ["acme", "evil"] {
        let token = offered.feed(9).sign(kid, &foreign).unwrap();
        offered.hand(Some(&token), Some(offered.fresh(9, &token)));
        let reason = if kid == "acme" { "signature" } else { "key" };
        offered.is_refused(&offered.terminal(), reason);
    }
    // A number that was refused is not remembered.
    offered.goes_through(1);
}

#[test]
fn a5_a_compromised_authority_changes_nothing_by_its_signature_alone() {
    let offered = Offered::new();
    let (kid, key) = offered.world.authority.signing_now();
    let token = sign_compact(FEED_TYP, kid, &offered.feed(9), &key);
    offered.hand(Some(&token), Some(offered.fresh(9, &token)));
    offered.is_refused(&offered.terminal(), "key is not known");
    let token = sign_compact(FEED_TYP, "acme", &offered.feed(9), &key);
    offered.hand(Some(&token), Some(offered.fresh(9, &token)));
    offered.is_refused(&offered.terminal(), "signature");
    // Nor can it offer a release that is not the publisher's: that is refused for the release's own signature.
    offered.hand_honestly(&offered.feed(1));
    let forged = offered.world.contents[NEW].release.sign("acme", &key);
    for released in &mut offered.world.authority.state.lock().unwrap().released {
        released.1.clone_from(&forged);
    }
    let error = update_once(&offered.terminal()).expect_err("forged");
    assert_eq!(error.exit_code(), 1, "{error}");
    plays(&offered.world.contents[OLD], &offered.terminal()).unwrap();
}

#[test]
fn a5_a_withdrawn_release_is_refused() {
    let offered = Offered::new();
    let mut feed = offered.feed(1);
    feed.releases[NEW].withdrawn = true;
    offered.hand_honestly(&feed);
    offered.is_refused(&offered.terminal(), "has withdrawn 1.1.0");
    offered.goes_through(2);
}

#[test]
fn a5_a_release_of_another_channel_is_refused() {
    let offered = Offered::new();
    let mut feed = offered.feed(1);
    feed.releases[NEW].channel = "beta".into();
    offered.hand_honestly(&feed);
    offered.is_refused(&offered.terminal(), "channel beta");
    offered.goes_through(2);
}

#[test]
fn a5_endless_data_is_refused_before_it_is_parsed() {
    let offered = Offered::new();
    let mut feed = offered.feed(1);
    feed.title = "x".repeat(MAX_FEED);
    let token = sign_compact(FEED_TYP, "acme", &feed, &publisher());
    offered.hand(Some(&token), Some(offered.fresh(1, &token)));
    offered.is_refused(&offered.terminal(), "too large");
    offered.goes_through(1);
}

#[test]
fn a5_documents_of_another_kind_are_refused() {
    let offered = Offered::new();
    let token = sign_compact("counterfoil-release+jwt", "acme", &offered.feed(1), &publisher());
    offered.hand(Some(&token), Some(offered.fresh(1, &token)));
    offered.is_refused(&offered.terminal(), "another kind");
    // The authority's word in another document of its own.
    let feed = signed(&offered.feed(1));
    let (kid, key) = offered.world.authority.signing_now();
    offered.hand(Some(&feed), Some(sign_compact("counterfoil-license+jwt", kid, &word(1, &feed), &key)));
    offered.is_refused(&offered.terminal(), "another kind");
    // In the name of another authority.
    offered.hand(Some(&feed), Some(offered.vouch(&Fresh { iss: "elsewhere".into(), ..word(1, &feed) })));
    offered.is_refused(&offered.terminal(), "authority `elsewhere`");
    offered.goes_through(1);
}

#[test]
fn a5_the_newest_feed_is_remembered_and_need_not_be_sent_again() {
    let offered = Offered::new();
    offered.seen(5);
    let feed = offered.feed(6);
    offered.hand_honestly(&feed);
    update_once(&offered.terminal()).unwrap().expect("something is offered");
    let reported = |offered: &Offered| offered.world.authority.state.lock().unwrap().reported[0].feed;
    assert_eq!(reported(&offered), 5);
    // Known by now: the word on it is enough.
    offered.world.offer_nothing(&offered.world.contents[NEW]);
    offered.hand(None, Some(offered.fresh(6, &signed(&feed))));
    assert!(update_once(&offered.terminal()).unwrap().is_none());
    assert_eq!(reported(&offered), 6);
    let names: Vec<_> = offered.disk.named_files().into_iter().map(|(path, _)| path).collect();
    let kept: Vec<_> =
        names.iter().filter(|path| path.starts_with("/home/feeds") && path.extension().is_some_and(|kind| kind == "jws")).collect();
    assert_eq!(kept.len(), 1, "older ones are gone: {kept:?}");
}

impl Offered {
    fn remove(&self) {
        Library::open(&self.terminal(), Path::new(LIBRARY)).unwrap().remove(&title()).unwrap();
    }

    fn back(&self) -> counterfoil_terminal::Result<Listed> {
        let terminal = self.terminal();
        let library = Library::open(&terminal, Path::new(LIBRARY)).unwrap();
        update::rollback(&terminal, &library, &title(), &CardChoice::Default)
    }

    /// Installing anew is refused for this reason, and changes nothing.
    #[track_caller]
    fn is_not_installed(&self, reason: &str) {
        let before = self.library();
        let error = install_again(self).expect_err(reason);
        assert_eq!(error.code(), Code::UpdateNotAuthentic.as_str(), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(self.library(), before, "nothing was changed");
    }
}

fn install_again(offered: &Offered) -> counterfoil_terminal::Result<Installed> {
    install_as(&offered.terminal(), &InstallOptions { again: true, ..InstallOptions::default() })
}

/// A release that somebody else has signed, whom the authority calls the publisher.
fn foreign(offered: &Offered) -> Content {
    let mut evil = next_release(&offered.world.contents[OLD], "6.6.6", usual_change);
    let key = SigningKey::from_seed(&Secret::new([0xEE; 32]));
    evil.title.publisher.key = key.verifying_key().to_string();
    evil.token = evil.release.sign("acme", &key);
    evil
}

#[test]
fn a5_d4_another_publishers_release_is_not_installed_whatever_the_authority_says() {
    let offered = Offered::new();
    let evil = foreign(&offered);
    offered.world.sell(&evil);
    offered.is_not_installed("/home/feeds/sky-raider/publisher.json");
    // Known by the copy alone, as in a home from before there were notes.
    counterfoil_terminal::io::remove_all(&offered.disk, Path::new("/home/feeds")).unwrap();
    offered.is_not_installed("/library/titles/sky-raider/");
    // What is there is noted by the next report.
    offered.world.offer_nothing(&offered.world.contents[OLD]);
    assert!(update_once(&offered.terminal()).unwrap().is_none());
    offered.is_not_installed("/home/feeds/sky-raider/publisher.json");
    plays(&offered.world.contents[OLD], &offered.terminal()).unwrap();
    // Known by the home alone.
    offered.remove();
    offered.is_not_installed("/home/feeds/sky-raider/publisher.json");
    offered.world.sell(&offered.world.contents[OLD]);
    install_again(&offered).unwrap();
    // Whoever hears from the publisher that it has a new key does as the refusal says.
    offered.world.sell(&evil);
    let hint = install_again(&offered).unwrap_err().hint().unwrap();
    assert!(hint.contains("counterfoil remove sky-raider") && hint.contains("delete /home/feeds/sky-raider,"), "{hint}");
    offered.remove();
    counterfoil_terminal::io::remove_all(&offered.disk, Path::new("/home/feeds/sky-raider")).unwrap();
    install_again(&offered).unwrap();
    plays(&evil, &offered.terminal()).unwrap();
}

#[test]
fn a5_d4_a_key_that_kept_feeds_were_verified_by_stays_the_publishers() {
    let offered = Offered::new();
    offered.goes_through(1);
    offered.remove();
    offered.disk.remove_file(Path::new("/home/feeds/sky-raider/publisher.json")).unwrap();
    offered.world.sell(&foreign(&offered));
    offered.is_not_installed("known by /home/feeds/sky-raider");
    offered.world.sell(&offered.world.contents[NEW]);
    install_again(&offered).unwrap();
}

#[test]
fn a5_c6_another_publishers_release_is_not_copied_from_a_medium() {
    let mut offered = Offered::new();
    let evil = foreign(&offered);
    offered.world.contents = vec![evil];
    put(&offered.disk, MEDIUM, &offered.world.press(2));
    let before = offered.library();
    let error = copy_again(&offered.terminal()).unwrap_err();
    assert_eq!(error.code(), "update_not_authentic", "{error}");
    assert_eq!((offered.library(), offered.world.effects("claim")), (before, 0));
}

#[test]
fn a5_d4_a_withdrawn_or_older_release_is_not_installed_anew() {
    let offered = Offered::new();
    let mut feed = offered.feed(4);
    feed.releases[OLD].withdrawn = true;
    offered.hand_honestly(&feed);
    update_once(&offered.terminal()).unwrap().expect("something is offered");
    // The authority goes back: to the release, to the feed before, or says nothing of any.
    let (old, new) = (&offered.world.contents[OLD], &offered.world.contents[NEW]);
    offered.world.sell(old);
    for hand in [Some(feed.clone()), Some(offered.feed(3)), None] {
        match hand {
            Some(feed) => offered.hand_honestly(&feed),
            None => offered.hand(None, None),
        }
        let before = offered.library();
        let error = install_again(&offered).unwrap_err();
        assert_eq!(error.code(), "update_not_authentic", "{error}");
        assert_eq!(offered.library(), before, "nothing was changed");
    }
    plays(new, &offered.terminal()).unwrap();
    // Good still, but older than what is here, and nobody has asked for it.
    offered.hand_honestly(&offered.feed(5));
    offered.is_not_installed("older than 1.1.0");
    let named = InstallOptions { again: true, release: Some(old.title.release.clone()), ..InstallOptions::default() };
    install_as(&offered.terminal(), &named).unwrap();
    plays(old, &offered.terminal()).unwrap();
}

#[test]
fn a5_d4_a_release_that_a_newer_feed_lists_is_installed_and_the_feed_kept() {
    let offered = Offered::new();
    offered.seen(5);
    offered.world.sell(&offered.world.contents[NEW]);
    // An authority from before it handed feeds over: what is known lists nothing of the kind.
    offered.hand(None, None);
    offered.is_not_installed("does not say which");
    let over = Feed { issued_at: NOW.seconds() - 90 * DAY, expires_at: NOW.seconds(), ..offered.feed(6) };
    offered.hand_honestly(&over);
    offered.is_not_installed("is over");
    offered.hand_honestly(&offered.feed(7));
    install_again(&offered).unwrap();
    plays(&offered.world.contents[NEW], &offered.terminal()).unwrap();
    // The library lost, and no word of a feed: the one that is known does.
    offered.hand(None, None);
    offered.remove();
    install_again(&offered).unwrap();
    assert!(offered.disk.named_files().iter().any(|(path, _)| path.ends_with("7.jws")));
}

#[test]
fn a5_a_rollback_goes_by_the_newest_feed_also_where_nothing_was_offered_with_it() {
    let offered = Offered::new();
    let mut feed = offered.feed(1);
    feed.releases[OLD].allow_back = false;
    offered.hand_honestly(&feed);
    update_once(&offered.terminal()).unwrap().expect("something is offered");
    let error = offered.back().unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("let anybody go back to 1.0.0")), ("update_not_authentic", true), "{error}");

    let up_to_date = |feed: &Feed| {
        offered.hand_honestly(feed);
        offered.world.offer_nothing(&offered.world.contents[NEW]);
        assert!(update_once(&offered.terminal()).unwrap().is_none());
    };
    let mut feed = offered.feed(2);
    feed.releases[OLD].withdrawn = true;
    up_to_date(&feed);
    assert_eq!(refusal(offered.back()), Code::ReleaseWithdrawn);
    // What is not good is not kept, and what is up to date stays so.
    up_to_date(&offered.feed(1));
    assert_eq!(refusal(offered.back()), Code::ReleaseWithdrawn);
    up_to_date(&offered.feed(3));
    assert_eq!(offered.back().unwrap().release.as_str(), "1.0.0");
    plays(&offered.world.contents[OLD], &offered.terminal()).unwrap();
    assert_eq!(offered.back().unwrap().release.as_str(), "1.1.0");
}
