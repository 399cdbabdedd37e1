//! `release`: what a publisher says of releases that are published: to whom they are offered, what they mend, and which are good no more (A5).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::ListedRelease;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::feed::Signer;
use crate::publisher::api::Api;
use crate::publisher::profile::Profile;

/// Below `release`.
#[derive(Subcommand, Debug)]
pub enum ReleaseCommand {
    List(List),
    Show(Show),
    Hold(Hold),
    Resume(Resume),
    Rollout(Rollout),
    Withdraw(Withdraw),
    Minimum(Minimum),
    Notes(Notes),
    Mark(Mark),
}

/// List the releases of a title of yours, newest first, with whom they are offered to
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil release list sky-raider")]
pub struct List {
    /// The title, by name
    title: TitleId,
}

/// Show all that is said of one release
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil release show sky-raider 1.1.0")]
pub struct Show {
    #[command(flatten)]
    of: Of,
}

/// Offer a release to nobody for now; whoever names it still gets it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil release hold sky-raider 1.1.0")]
pub struct Hold {
    #[command(flatten)]
    of: Of,
}

/// Offer a release again that was held
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil release resume sky-raider 1.1.0")]
pub struct Resume {
    #[command(flatten)]
    of: Of,
}

/// Offer a release to a part of the devices; those that are in stay in as it grows
///
/// Whoever has no release of the title yet gets the newest one that everybody is offered.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil release rollout sky-raider 1.1.0 10
  counterfoil release rollout sky-raider 1.1.0 100")]
pub struct Rollout {
    #[command(flatten)]
    of: Of,
    /// Percent of the devices
    #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    percent: u32,
}

/// Take a release back: nobody gets it any more, and who has it is brought to the newest good one, be it an earlier one
///
/// Where the publisher's key is on this machine, the feed is signed anew as well, so that no server can offer it either.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil release withdraw sky-raider 1.1.0
  counterfoil release withdraw sky-raider 1.1.0 --undo")]
pub struct Withdraw {
    #[command(flatten)]
    of: Of,
    /// It was good after all
    #[arg(long)]
    undo: bool,
}

/// Say which release of a channel is the oldest that is still good; to whoever has an older one, the update is critical
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil release minimum sky-raider 1.0.2
  counterfoil release minimum sky-raider 1.1.0-rc1 --channel beta
  counterfoil release minimum sky-raider --none")]
pub struct Minimum {
    /// The title, by name
    title: TitleId,
    /// The release
    #[arg(value_name = "VERSION", required_unless_present = "none")]
    version: Option<ReleaseVersion>,
    /// Any is good
    #[arg(long, conflicts_with = "version")]
    none: bool,
    /// The channel
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    channel: Channel,
}

/// Write down what is new in a release
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil release notes sky-raider 1.1.0 'The eastern valley is open.'
  counterfoil release notes sky-raider 1.1.0 --file NEWS.txt")]
pub struct Notes {
    #[command(flatten)]
    of: Of,
    /// The notes
    #[arg(value_name = "TEXT", required_unless_present = "file")]
    text: Option<String>,
    /// A file with the notes, plain text in UTF-8
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
}

/// Say what a release is good for: whether it mends something dangerous, whether devices may go back to it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil release mark sky-raider 1.0.2 --critical
  counterfoil release mark sky-raider 1.0.0 --no-way-back")]
pub struct Mark {
    #[command(flatten)]
    of: Of,
    /// It mends something dangerous
    #[arg(long, conflicts_with = "not_critical")]
    critical: bool,
    /// It does not
    #[arg(long)]
    not_critical: bool,
    /// Devices that have a later release may go back to it
    #[arg(long, conflicts_with = "no_way_back")]
    way_back: bool,
    /// They may not
    #[arg(long)]
    no_way_back: bool,
}

/// A release.
#[derive(Args, Clone, Debug)]
struct Of {
    /// The title, by name
    title: TitleId,
    /// The release
    #[arg(value_name = "VERSION")]
    version: ReleaseVersion,
}

/// As the API has it.
#[derive(Serialize, Deserialize)]
struct Said {
    version: ReleaseVersion,
    channel: Channel,
    number: i64,
    created_at: String,
    encoder: String,
    notes: String,
    critical: bool,
    rollout: u32,
    held: bool,
    withdrawn: bool,
    allow_back: bool,
}

impl ReleaseCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ReleaseCommand::List(list) => list.run(context),
            ReleaseCommand::Show(Show { of }) => {
                let (api, _) = Api::connect(context)?;
                let said: Said = api.get(&of.path())?;
                context.output.result(&said, || words(&said))
            }
            ReleaseCommand::Hold(Hold { of }) => of.say(context, &json!({ "held": true }), None),
            ReleaseCommand::Resume(Resume { of }) => of.say(context, &json!({ "held": false }), None),
            ReleaseCommand::Rollout(Rollout { of, percent }) => of.say(context, &json!({ "rollout": percent }), None),
            ReleaseCommand::Withdraw(Withdraw { of, undo }) => {
                of.say(context, &json!({ "withdrawn": !undo }), Some(&|listed: &mut ListedRelease| listed.withdrawn = !undo))
            }
            ReleaseCommand::Minimum(minimum) => minimum.run(context),
            ReleaseCommand::Notes(notes) => notes.run(context),
            ReleaseCommand::Mark(mark) => mark.run(context),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let releases: Vec<Said> = api.all(&format!("/v1/titles/{}/releases", self.title)).collect::<Result<_, _>>()?;
        context.output.result(&json!({ "title": self.title, "releases": releases }), || {
            if releases.is_empty() {
                return format!("{} has no release yet: `counterfoil publish`\n", self.title);
            }
            releases.iter().map(line).collect()
        })
    }
}

impl Minimum {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let path = format!("/v1/titles/{}/channels/{}", self.title, self.channel);
        let channel: Value = api.put(&path, &json!({ "minimum": self.version }))?;
        context.output.result(&channel, || match &self.version {
            Some(version) => format!("{} on {}: the oldest release that is still good is {version}\n", self.title, self.channel),
            None => format!("{} on {}: every release is good\n", self.title, self.channel),
        })
    }
}

impl Notes {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let notes = match (self.text, &self.file) {
            (Some(text), _) => text,
            (None, Some(path)) => crate::title::text(path)?,
            (None, None) => return Err(Failure::usage("there are no notes")),
        };
        let said = notes.clone();
        self.of.say(context, &json!({ "notes": notes }), Some(&move |listed: &mut ListedRelease| listed.notes.clone_from(&said)))
    }
}

impl Mark {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let either = |yes: bool, no: bool| (yes || no).then_some(yes);
        let (critical, back) = (either(self.critical, self.not_critical), either(self.way_back, self.no_way_back));
        if critical.or(back).is_none() {
            return Err(Failure::usage("nothing is said of the release").hint("`counterfoil release mark --help` shows what can be."));
        }
        let mut body = json!({});
        if let Some(critical) = critical {
            body["critical"] = critical.into();
        }
        if let Some(back) = back {
            body["allow_back"] = back.into();
        }
        let mark = move |listed: &mut ListedRelease| {
            listed.critical = critical.unwrap_or(listed.critical);
            listed.allow_back = back.unwrap_or(listed.allow_back);
        };
        self.of.say(context, &body, Some(&mark))
    }
}

/// What is said of a release in the feed.
type InFeed<'a> = &'a dyn Fn(&mut ListedRelease);

impl Of {
    fn path(&self) -> String {
        format!("/v1/titles/{}/releases/{}", self.title, self.version)
    }

    /// Says it to the authority, which acts by it at once, and in the feed, which terminals believe.
    fn say(&self, context: &Context, body: &Value, in_feed: Option<InFeed<'_>>) -> Result<(), Failure> {
        let (api, profile) = Api::connect(context)?;
        let said: Said = api.patch(&self.path(), body)?;
        if let Some(say) = in_feed {
            self.sign(context, &api, &profile, say)?;
        }
        context.output.result(&said, || words(&said))
    }

    /// A title without a feed has nothing to be signed; a machine without the publisher's key says what is left to be done.
    fn sign(&self, context: &Context, api: &Api, profile: &Profile, say: InFeed<'_>) -> Result<(), Failure> {
        if api.find::<Value>(&format!("/v1/titles/{}/feed", self.title))?.is_none() {
            return Ok(());
        }
        let signed = Signer::new(context, profile).and_then(|signer| signer.say(api, &self.title, &self.version, say));
        match signed {
            Ok(_) => Ok(()),
            Err(failure) => {
                context.output.note("note: the authority goes by it from now on; the feed does not say so yet");
                Err(failure.hint("Repeat this command where the publisher's key is: it signs the feed anew."))
            }
        }
    }
}

impl Said {
    fn day(&self) -> &str {
        self.created_at.split('T').next().unwrap_or_default()
    }

    /// Whom it is offered to.
    fn standing(&self) -> String {
        match self {
            Said { withdrawn: true, .. } => "withdrawn".to_owned(),
            Said { held: true, .. } => "held".to_owned(),
            Said { rollout: 100, .. } => "offered".to_owned(),
            Said { rollout, .. } => format!("offered to {rollout} %"),
        }
    }
}

fn line(said: &Said) -> String {
    let critical = if said.critical { ", critical" } else { "" };
    let back = if said.allow_back { "" } else { ", no way back" };
    format!("{:<16}{:<10}{}  {}{critical}{back}\n", said.version.to_string(), said.channel.to_string(), said.day(), said.standing())
}

fn words(said: &Said) -> String {
    let mut text = format!("{:<12}{}\n{:<12}{}\n", "release", said.version, "channel", said.channel);
    text += &format!("{:<12}{}\n{:<12}{}\n", "published", said.day(), "standing", said.standing());
    if said.critical {
        text += &format!("{:<12}it mends something dangerous\n", "critical");
    }
    if !said.allow_back {
        text += &format!("{:<12}no device goes back to it\n", "back");
    }
    if !said.encoder.is_empty() {
        text += &format!("{:<12}{}\n", "compressed", said.encoder);
    }
    for (number, note) in said.notes.lines().enumerate() {
        text += &format!("{:<12}{note}\n", if number == 0 { "notes" } else { "" });
    }
    text
}
