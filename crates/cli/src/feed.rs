//! `feed`: the list of a title's releases that terminals go by, signed with the publisher's key on this machine (A5).
//!
//! The authority keeps it and cannot make one. What it hands back is verified here before anything is signed upon it, and compared with
//! what this machine has signed last, so that an authority that lost its newest feed, or was made to, does not get an old one signed anew.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::{Feed, FeedError, ListedRelease, MAX_FEED, MAX_LISTED, MAX_NOTES, ObjectName, Release};
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::jws::JwsError;
use counterfoil_terminal::clock::{Clock as _, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::publisher::profile::{self, Profile};
use crate::{files, units};

/// How long a feed is good for where nothing is said, in days.
pub const DAYS: u16 = 90;
/// With fewer days than these left, it is time to sign anew.
const SOON: i64 = 14;
const DAY: i64 = 24 * 60 * 60;
/// Others may hand in a feed at the same time; then it is made again upon theirs.
const TRIES: usize = 5;

/// Below `feed`.
#[derive(Subcommand, Debug)]
pub enum FeedCommand {
    Show(Show),
    Sign(Sign),
}

/// Show the feed of a title of yours: which releases terminals accept, and until when
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil feed show sky-raider")]
pub struct Show {
    /// The title, by name
    title: TitleId,
}

/// Sign the feed of a title of yours anew, before it is over
///
/// Terminals refuse to update by a feed that is over; what is installed runs on. `counterfoil publish` and `counterfoil release` sign it
/// anew as well. The publisher's key is needed, which only this machine has.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil feed sign sky-raider
  counterfoil feed sign sky-raider --days 30")]
pub struct Sign {
    /// The title, by name
    title: TitleId,
    /// How long it is good for
    #[arg(long, value_name = "N", default_value_t = DAYS, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
}

#[derive(Deserialize)]
struct Document {
    document: String,
}

/// A release as the authority has it.
#[derive(Deserialize)]
struct Published {
    version: ReleaseVersion,
    channel: Channel,
    notes: String,
    critical: bool,
    withdrawn: bool,
    allow_back: bool,
}

impl FeedCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            FeedCommand::Show(show) => show.run(context),
            FeedCommand::Sign(sign) => sign.run(context),
        }
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, profile) = Api::connect(context)?;
        let signer = Signer::new(context, &profile)?;
        let (feed, token) = signer.at_the_authority(&api, &self.title)?.ok_or_else(|| {
            Failure::refused("not_found", format!("{} has no feed", self.title)).hint("Sign one: `counterfoil feed sign TITLE`.")
        })?;
        let left = days_left(&feed);
        warn(context, &feed);
        let mut value = json!(feed);
        value["digest"] = json!(ObjectName::of(token.as_bytes()));
        value["days_left"] = json!(left);
        for member in ["issued_at", "expires_at"] {
            value[member] = value[member].as_i64().map_or(Value::Null, |at| moment(at).into());
        }
        context.output.result(&value, || words(&feed))
    }
}

impl Sign {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, profile) = Api::connect(context)?;
        let signer = Signer::new(context, &profile)?;
        let feed = signer.sign(&api, &self.title, self.days, &|_| Ok(()))?;
        let value = json!({
            "title": self.title, "sequence": feed.sequence, "releases": feed.releases.len(), "expires_at": moment(feed.expires_at),
        });
        context.output.result(&value, || {
            let releases = units::count(feed.releases.len() as u64, "release", "releases");
            format!("signed feed {} of {}: {releases}, good until {}\n", feed.sequence, self.title, moment(feed.expires_at))
        })
    }
}

/// Who signs feeds on this machine.
pub struct Signer {
    publisher: String,
    keys: HolderKeys,
    /// What was signed here last, title by title.
    signed: PathBuf,
}

impl Signer {
    /// The publisher that the profile names, with the key that lies in the home.
    pub fn new(context: &Context, profile: &Profile) -> Result<Self, Failure> {
        let publisher = profile.publisher.clone().ok_or_else(|| {
            Failure::operation("no_publisher", "the profile names no publisher").hint("Run `counterfoil publisher login --publisher ID`.")
        })?;
        Ok(Self { publisher, keys: profile::required_signing_key(&context.home)?, signed: context.home.join("feeds-signed") })
    }

    /// Lists a release, the last one of all; where it is listed already, what is said of it is said anew.
    pub fn add(&self, api: &Api, title: &TitleId, listed: &ListedRelease) -> Result<Feed, Failure> {
        let listed = ListedRelease { notes: shortened(&listed.notes), ..listed.clone() };
        self.sign(api, title, DAYS, &|feed| {
            match feed.releases.iter_mut().find(|there| there.version == listed.version) {
                Some(there) => *there = listed.clone(),
                None => feed.releases.push(listed.clone()),
            }
            Ok(())
        })
    }

    /// Says something else of a release that is listed; where it is not, nothing is signed.
    pub fn say(&self, api: &Api, title: &TitleId, version: &ReleaseVersion, say: &dyn Fn(&mut ListedRelease)) -> Result<Feed, Failure> {
        self.sign(api, title, DAYS, &|feed| {
            let there = feed.releases.iter_mut().find(|there| there.version == version.as_str());
            let there = there.ok_or_else(|| {
                Failure::refused("release_unknown", format!("the feed of {title} does not list {version}"))
                    .hint("`counterfoil feed show TITLE` shows what it lists.")
            })?;
            say(there);
            there.notes = shortened(&there.notes);
            Ok(())
        })
    }

    /// Signs the feed of a title anew with a change, and hands it in.
    pub fn sign(&self, api: &Api, title: &TitleId, days: u16, change: &dyn Fn(&mut Feed) -> Result<(), Failure>) -> Result<Feed, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let there = self.at_the_authority(api, title)?;
            let after = there.as_ref().map_or(0, |(feed, _)| feed.sequence);
            let mut feed = match self.newest(title, there)? {
                Some(feed) => feed,
                None => self.first(api, title)?,
            };
            change(&mut feed)?;
            feed.sequence += 1;
            feed.issued_at = SystemClock.now().seconds();
            feed.expires_at = feed.issued_at.saturating_add(i64::from(days).saturating_mul(DAY));
            let token = self.signed(&mut feed)?;
            let body = json!({ "document": token, "after": after });
            match api.put::<Value>(&format!("/v1/titles/{title}/feed"), &body) {
                Ok(_) => {
                    self.note(title, &token)?;
                    return Ok(feed);
                }
                // Another of the publisher's machines was quicker.
                Err(failure) if failure.code == "conflict" && tries < TRIES => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Signed; with as many of the newest releases as there is room for.
    fn signed(&self, feed: &mut Feed) -> Result<String, Failure> {
        loop {
            let surplus = feed.releases.len().saturating_sub(MAX_LISTED);
            feed.releases.drain(..surplus);
            match feed.sign(&self.publisher, &self.keys.signing_key()) {
                Ok(token) => return Ok(token),
                Err(FeedError::Signature(JwsError::TooLarge)) if feed.releases.len() > 1 => {
                    let tenth = feed.releases.len().div_ceil(10);
                    feed.releases.drain(..tenth);
                }
                Err(error) => return Err(Failure::operation("feed_invalid", format!("no terminal would accept the feed: {error}"))),
            }
        }
    }

    /// The feed at the authority, verified.
    fn at_the_authority(&self, api: &Api, title: &TitleId) -> Result<Option<(Feed, String)>, Failure> {
        let Some(Document { document }) = api.find(&format!("/v1/titles/{title}/feed"))? else { return Ok(None) };
        let feed = self.verified(title, &document).map_err(|what| {
            Failure::refused("update_not_authentic", format!("the feed that the authority has of {title} is not yours: {what}"))
                .hint("Nothing was signed. Ask the operator how it came there.")
        })?;
        Ok(Some((feed, document)))
    }

    /// The newer of the authority's feed and the one that was signed here last.
    fn newest(&self, title: &TitleId, there: Option<(Feed, String)>) -> Result<Option<Feed>, Failure> {
        let Some((own, token)) = self.noted(title)? else { return Ok(there.map(|(feed, _)| feed)) };
        match there {
            Some((feed, other)) if feed.sequence == own.sequence && other != token => {
                Err(Failure::refused("update_not_authentic", format!("there are two feeds of {title} with number {}", own.sequence))
                    .hint("Another machine has signed one with your key. Find out which; then remove this machine's in `feeds-signed`."))
            }
            Some((feed, _)) if feed.sequence >= own.sequence => Ok(Some(feed)),
            // The authority has lost it: what terminals have seen must not be undone.
            _ => Ok(Some(own)),
        }
    }

    /// The first feed of a title lists what was published so far: each release as this publisher has signed it.
    fn first(&self, api: &Api, title: &TitleId) -> Result<Feed, Failure> {
        let own = self.keys.signing_key().verifying_key();
        let mut releases = vec![];
        for published in api.all::<Published>(&format!("/v1/titles/{title}/releases")).take(MAX_LISTED) {
            let published = published?;
            let version = &published.version;
            let Document { document } = api.get(&format!("/v1/titles/{title}/releases/{version}"))?;
            let release = Release::verify(&document, |kid| (kid == self.publisher).then_some(own));
            if !release.is_ok_and(|release| release.title == title.as_str() && release.version == version.as_str()) {
                return Err(Failure::refused("update_not_authentic", format!("{title} {version} is not as you have signed it"))
                    .hint("Nothing was signed. Ask the operator how it came there."));
            }
            releases.push(ListedRelease {
                version: version.to_string(),
                document: ObjectName::of(document.as_bytes()),
                channel: published.channel.to_string(),
                critical: published.critical,
                notes: shortened(&published.notes),
                withdrawn: published.withdrawn,
                allow_back: published.allow_back,
            });
        }
        releases.reverse();
        Ok(Feed { title: title.to_string(), sequence: 0, issued_at: 0, expires_at: 0, releases })
    }

    fn verified(&self, title: &TitleId, token: &str) -> Result<Feed, String> {
        let own = self.keys.signing_key().verifying_key();
        let feed = Feed::verify(token, |kid| (kid == self.publisher).then_some(own)).map_err(|error| error.to_string())?;
        if feed.title == title.as_str() { Ok(feed) } else { Err(format!("it is of {}", feed.title)) }
    }

    /// What was signed here last.
    fn noted(&self, title: &TitleId) -> Result<Option<(Feed, String)>, Failure> {
        let path = self.signed.join(format!("{title}.jws"));
        let Some(bytes) = files::read_private(&path, MAX_FEED as u64)? else { return Ok(None) };
        let read = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned());
        let read = read.and_then(|token| Ok((self.verified(title, &token)?, token)));
        // With another key the titles are others as well, or the file was edited: either way a person has to look.
        read.map(Some).map_err(|what| {
            Failure::operation("feed_invalid", format!("{}: {what}", path.display()))
                .hint("It was signed by another key, or edited. Move it away if you know why.")
        })
    }

    fn note(&self, title: &TitleId, token: &str) -> Result<(), Failure> {
        files::create_directory(&self.signed)?;
        files::replace(&self.signed.join(format!("{title}.jws")), token.as_bytes(), 0o600)
    }
}

/// A note on standard error where the feed of a title is over soon.
pub fn warn(context: &Context, feed: &Feed) {
    let left = days_left(feed);
    if left < SOON {
        let when = if left < 0 { "is over".to_owned() } else { format!("is over in {}", units::count(left.unsigned_abs(), "day", "days")) };
        context.output.note(&format!("note: the feed of {} {when}; sign it anew: `counterfoil feed sign {}`", feed.title, feed.title));
    }
}

/// Whole days until a feed is over; less than none where it is.
fn days_left(feed: &Feed) -> i64 {
    feed.expires_at.saturating_sub(SystemClock.now().seconds()).div_euclid(DAY)
}

fn moment(seconds: i64) -> String {
    units::moment(counterfoil_core::Timestamp(seconds.saturating_mul(1000)))
}

/// The feed has room for what is new in a few words; the whole notes are at the authority.
fn shortened(notes: &str) -> String {
    if notes.len() <= MAX_NOTES {
        return notes.to_owned();
    }
    let end = (0..=MAX_NOTES - '…'.len_utf8()).rev().find(|at| notes.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &notes[..end])
}

fn words(feed: &Feed) -> String {
    let mut text = format!("{:<12}{}\n{:<12}{}\n", "title", feed.title, "number", feed.sequence);
    text += &format!("{:<12}{}\n{:<12}{}\n", "signed", moment(feed.issued_at), "good until", moment(feed.expires_at));
    for (number, listed) in feed.releases.iter().rev().enumerate() {
        let marks = [(listed.critical, ", critical"), (listed.withdrawn, ", withdrawn"), (!listed.allow_back, ", not to be gone back to")];
        let marks: String = marks.iter().filter_map(|(is, mark)| is.then_some(*mark)).collect();
        text += &format!("{:<12}{} ({}){marks}\n", if number == 0 { "releases" } else { "" }, listed.version, listed.channel);
    }
    text
}
