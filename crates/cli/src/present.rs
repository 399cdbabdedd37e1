//! `present`: a medium, or user and device, before a provider; taking what it has, giving what it asks for (B4–B6).

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::wire::ProviderContent;
use counterfoil_core::{ProviderId, TitleId};
use counterfoil_terminal::present::{At, PresentError, Session, Taken, Who, give, offered, place, present, presentation, take};
use counterfoil_terminal::{CardChoice, Library, Medium, Terminal, default_library};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::units;

/// Present a medium to a provider, a third party that has something for it: see what, take it, give it something
///
/// The provider learns the medium's ID, what is noted of your progress on it, and from the authority what the medium allows; nothing that would
/// let it pass for the medium elsewhere. What is taken lies on the medium where that can be written, or else in the library beside the title,
/// sealed under your own key. If it is interrupted, repeat the command: it goes on where it was.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil present ./usb-stick --to https://arcade.example              what is there for it
  counterfoil present ./usb-stick --to https://arcade.example --take-all
  counterfoil present ./usb-stick --to https://arcade.example --give ./replay.bin --as replay-7
  counterfoil present --user --to https://arcade.example                   you and this device, without a medium
  counterfoil received list                                                what was taken")]
pub struct Present {
    /// The medium: a directory, a mounted drive, or a disc image
    #[arg(value_name = "MEDIUM", required_unless_present = "user")]
    medium: Option<PathBuf>,
    /// The provider's address: https, or on this computer
    #[arg(long, value_name = "URL")]
    to: String,
    /// Present yourself and this device, as registered
    #[arg(long)]
    user: bool,
    /// Keep to yourself what is noted of your progress on the medium
    #[arg(long)]
    no_status: bool,
    /// Take this; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "take_all")]
    take: Vec<String>,
    /// Take all that is offered
    #[arg(long)]
    take_all: bool,
    /// Put what is taken into the library, even where the medium can be written
    #[arg(long)]
    into_library: bool,
    /// The library [default: the one last registered or copied to]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Give it this file
    #[arg(long, value_name = "FILE")]
    give: Option<PathBuf>,
    /// Under which name [default: the file's]
    #[arg(long = "as", value_name = "NAME", requires = "give")]
    name: Option<String>,
    /// For which title it is given
    #[arg(long, value_name = "TITLE", requires = "give")]
    title: Option<TitleId>,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
    /// For people who build a provider: send nothing, print what would be presented
    #[arg(long, requires_all = ["provider", "challenge"], conflicts_with_all = ["take", "take_all", "give"])]
    print: bool,
    /// Its ID, with --print
    #[arg(long, value_name = "PRV-ID", requires = "print")]
    provider: Option<ProviderId>,
    /// The challenge to be answered, with --print
    // Made of base64url more often than not, and so it may begin with a hyphen.
    #[arg(long, value_name = "TEXT", requires = "print", allow_hyphen_values = true)]
    challenge: Option<String>,
}

impl Present {
    /// Presents, then takes and gives.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let medium = self.medium.as_deref().map(|path| Medium::open_online(&terminal, path)).transpose()?;
        let card = context.card_choice(self.no_card);
        let who = Who { medium: medium.as_ref(), user: self.user.then_some(&card), status: !self.no_status };
        if let (Some(provider), Some(challenge)) = (self.provider, &self.challenge) {
            let at = At { provider, url: &self.to, challenge };
            let presentation = presentation(&terminal, &who, &at)?;
            let text = serde_json::to_string(&presentation).unwrap_or_default();
            return context.output.result(&presentation, || text);
        }
        let session = present(&terminal, &self.to, &who)?;
        let taken = self.taken(context, &terminal, &session, &who, &card)?;
        let given = self.given(context, &terminal, &session)?;
        context.output.result(&value(&session, &taken, given.as_ref()), || words(&session, &taken, given.as_ref()))
    }

    fn taken<'s>(
        &self,
        context: &Context,
        terminal: &Terminal,
        session: &'s Session,
        who: &Who<'_>,
        card: &CardChoice,
    ) -> Result<Vec<(&'s ProviderContent, Taken)>, Failure> {
        if !self.take_all && self.take.is_empty() {
            return Ok(vec![]);
        }
        let path = self.library.clone().map_or_else(|| default_library(terminal), |path| Ok(Some(path)))?;
        let library = path.map(|path| Library::open(terminal, &path)).transpose();
        // Where it all goes onto the medium, no library is needed.
        let library = if self.into_library { library? } else { library.unwrap_or_default() };
        let who = Who { medium: who.medium.filter(|_| !self.into_library), ..*who };
        let mut taken = Vec::new();
        for content in offered(session, &self.take)? {
            let place = place(terminal, &who, library.as_ref(), card, &content.title)?;
            let progress = Progress::new(&context.output, "taken");
            let one = take(terminal, session, content, &place, &|done, total| progress.at(done, total))?;
            progress.finish();
            taken.push((content, one));
        }
        Ok(taken)
    }

    fn given(&self, context: &Context, terminal: &Terminal, session: &Session) -> Result<Option<(String, u64)>, Failure> {
        let Some(file) = &self.give else { return Ok(None) };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        let progress = Progress::new(&context.output, "given");
        let bytes = give(terminal, session, file, &name, self.title.as_ref(), &|done, total| progress.at(done, total))?;
        progress.finish();
        Ok(Some((name, bytes)))
    }
}

fn value(session: &Session, taken: &[(&ProviderContent, Taken)], given: Option<&(String, u64)>) -> Value {
    let taken: Vec<Value> = taken
        .iter()
        .map(|(content, taken)| {
            json!({ "name": content.name, "title": content.title, "path": taken.path, "length": content.length, "fetched": taken.fetched,
                    "sealed": taken.sealed })
        })
        .collect();
    let given: Vec<Value> = given.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect();
    json!({ "provider": session.id, "scope": session.scope, "message": session.message, "offered": session.contents,
            "upload_bytes": session.upload_bytes, "taken": taken, "given": given })
}

fn words(session: &Session, taken: &[(&ProviderContent, Taken)], given: Option<&(String, u64)>) -> String {
    let mut text = format!("provider   {}\n", session.id);
    if let Some(message) = &session.message {
        text += &format!("says       {message}\n");
    }
    text += &format!("allowed    {}\n", if session.scope.is_empty() { "nothing" } else { &session.scope });
    for content in &session.contents {
        let about = content.description.as_ref().map_or_else(String::new, |description| format!(": {description}"));
        text += &format!("offered    {} for {}, {}{about}\n", content.name, content.title, units::bytes(content.length));
    }
    text += &match session.upload_bytes {
        Some(most) => format!("takes      files of {} at most\n", units::bytes(most)),
        None => "takes      nothing\n".to_owned(),
    };
    for (content, taken) in taken {
        let how = if taken.sealed { "sealed, " } else { "" };
        let fetched = if taken.fetched == 0 && content.length > 0 { "it was there".to_owned() } else { units::bytes(taken.fetched) };
        text += &format!("taken      {}: {how}{fetched}, {}\n", content.name, taken.path.display());
    }
    if let Some((name, bytes)) = given {
        text += &format!("given      {name}, {}\n", units::bytes(*bytes));
    }
    text
}

/// What was asked for by name is not there, or is there more than once.
pub fn not_there(name: &str) -> Failure {
    counterfoil_terminal::Error::from(PresentError::NotThere(name.to_owned())).into()
}
