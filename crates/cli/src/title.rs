//! `title`: how a publisher puts a title into the store: description, prices, terms, pictures (D2).

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use counterfoil_core::{Channel, Money, Policy, ReleaseVersion, TitleId};
use counterfoil_terminal::store::escaped;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::store::prices;

/// Longest description or policy that is read, in bytes.
const MOST_TEXT: u64 = 256 * 1024;
/// Largest picture, in bytes.
const MOST_PICTURE: u64 = 4 << 20;

/// Below `title`.
#[derive(Subcommand, Debug)]
pub enum TitleCommand {
    Show(Show),
    Edit(Edit),
}

/// Show how a title of yours is listed in the store
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil title show sky-raider")]
pub struct Show {
    /// The title, by name
    title: TitleId,
}

/// Change how a title of yours is listed in the store; what is not named stays as it is
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil title edit sky-raider --summary 'Fly far' --price '19.99 EUR' --price '21.99 USD' --on-sale
  counterfoil title edit sky-raider --description-file sky-raider.txt --policy-file terms.toml
  counterfoil title edit sky-raider --picture valley.png --alt 'A valley in the evening' --picture sea.jpg --alt 'The sea'

A policy file is TOML or JSON; what it leaves out has the default shown here:
  devices = 1          transfers = 3        transfer_days = 30    lease_days = 30     grace_days = 7
  refund_days = 14     trial_days = 0       source = 'kept'       control_program = false
  term_days: how long what was bought lasts (left out: for good); [attributes]: flags for the program")]
pub struct Edit {
    /// The title, by name
    title: TitleId,
    /// One line about it
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// The description: plain text, a blank line between paragraphs
    #[arg(long, value_name = "FILE")]
    description_file: Option<PathBuf>,
    /// What it costs, such as '19.99 EUR'; one a currency, all of them together
    #[arg(long = "price", value_name = "PRICE")]
    prices: Vec<Money>,
    /// Put it into the store
    #[arg(long, conflicts_with = "off_sale")]
    on_sale: bool,
    /// Take it out of the store; who has bought it keeps it
    #[arg(long)]
    off_sale: bool,
    /// The terms, a TOML or JSON file
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// A picture: PNG, JPEG, WebP or AVIF of at most 4 MiB; all of them together, in order
    #[arg(long = "picture", value_name = "FILE", requires = "alts")]
    pictures: Vec<PathBuf>,
    /// What the picture shows, for people who do not see it; one for each
    #[arg(long = "alt", value_name = "TEXT", id = "alts", requires = "pictures")]
    alts: Vec<String>,
}

/// As the API has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Listing {
    title: TitleId,
    summary: String,
    description: String,
    on_sale: bool,
    prices: Vec<Money>,
    policy: Policy,
    pictures: Vec<Picture>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Picture {
    position: u32,
    path: String,
    media_type: String,
    alt: String,
}

/// A picture to be sent.
struct Given<'a> {
    kind: &'static str,
    bytes: Vec<u8>,
    alt: &'a str,
}

#[derive(Deserialize)]
struct Releases {
    items: Vec<Release>,
}

#[derive(Serialize, Deserialize)]
struct Release {
    version: ReleaseVersion,
    channel: Channel,
    created_at: String,
}

impl Release {
    /// The day on which it was published, as the store shows it.
    fn day(&self) -> &str {
        self.created_at.split('T').next().unwrap_or_default()
    }
}

impl TitleCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            TitleCommand::Show(show) => show.run(context),
            TitleCommand::Edit(edit) => edit.run(context),
        }
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let listing: Listing = api.get(&listing_of(&self.title))?;
        let releases: Releases = api.get(&format!("/v1/titles/{}/releases?limit=10", self.title))?;
        let mut value = json!(listing);
        value["releases"] = json!(releases.items);
        context.output.result(&value, || {
            let mut text = words(&listing);
            for (number, release) in releases.items.iter().enumerate() {
                let head = if number == 0 { "releases" } else { "" };
                text += &format!("{head:<12}{} ({}), {}\n", release.version, release.channel, release.day());
            }
            if listing.on_sale && releases.items.is_empty() {
                text += "It is seen in the store as soon as it has a release: `counterfoil publish`.\n";
            }
            text
        })
    }
}

impl Edit {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let pictures = self.read_pictures()?;
        let (api, _) = Api::connect(context)?;
        let before: Listing = api.get(&listing_of(&self.title))?;
        let held = before.pictures.len();
        let changed = self.changed(before)?;
        let body = json!({
            "summary": changed.summary, "description": changed.description, "on_sale": changed.on_sale,
            "prices": changed.prices, "policy": changed.policy,
        });
        // Pictures first: nobody shall see the title without them.
        for (position, Given { kind, bytes, alt }) in (1..).zip(&pictures) {
            api.put_bytes(&format!("{}?alt={}", picture_of(&self.title, position), escaped(alt)), kind, bytes)?;
        }
        if !pictures.is_empty() {
            for position in pictures.len() + 1..=held {
                api.remove(&picture_of(&self.title, position))?;
            }
        }
        let listing: Listing = api.put(&listing_of(&self.title), &body)?;
        context.output.result(&listing, || words(&listing))
    }

    /// With what was named on the command line.
    fn changed(&self, before: Listing) -> Result<Listing, Failure> {
        let mut listing = before;
        if let Some(summary) = &self.summary {
            listing.summary.clone_from(summary);
        }
        if let Some(file) = &self.description_file {
            listing.description = text(file)?;
        }
        if !self.prices.is_empty() {
            listing.prices.clone_from(&self.prices);
        }
        if let Some(file) = &self.policy_file {
            listing.policy = policy(file)?;
        }
        listing.on_sale = (listing.on_sale || self.on_sale) && !self.off_sale;
        if listing.on_sale && listing.prices.is_empty() {
            return Err(Failure::usage(format!("{} has no price", self.title))
                .hint("Name one: `--price '19.99 EUR'`, or `--price '0 EUR'` where it is free."));
        }
        Ok(listing)
    }

    /// Read before anything is sent, so that a path that was mistyped changes nothing.
    fn read_pictures(&self) -> Result<Vec<Given<'_>>, Failure> {
        if self.pictures.len() != self.alts.len() {
            return Err(Failure::usage(format!(
                "{} pictures and {} texts: `--alt` says of each what it shows",
                self.pictures.len(),
                self.alts.len()
            )));
        }
        let read = |path: &PathBuf| {
            let kind = match path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
                Some("png") => "image/png",
                Some("jpg" | "jpeg") => "image/jpeg",
                Some("webp") => "image/webp",
                Some("avif") => "image/avif",
                _ => return Err(Failure::usage(format!("{} is not named .png, .jpg, .webp or .avif", path.display()))),
            };
            Ok((kind, limited(path, MOST_PICTURE)?))
        };
        self.pictures.iter().zip(&self.alts).map(|(path, alt)| read(path).map(|(kind, bytes)| Given { kind, bytes, alt })).collect()
    }
}

fn listing_of(title: &TitleId) -> String {
    format!("/v1/titles/{title}/listing")
}

fn picture_of(title: &TitleId, position: usize) -> String {
    format!("/v1/titles/{title}/pictures/{position}")
}

fn limited(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::file("read", path, &error);
    let mut bytes = vec![];
    let file = std::fs::File::open(path).map_err(failed)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, most + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(Failure::usage(format!("{} has more than {most} bytes", path.display())));
    }
    Ok(bytes)
}

/// A file of text.
pub fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(limited(path, MOST_TEXT)?).map_err(|_| Failure::usage(format!("{} is no text in UTF-8", path.display())))
}

/// Terms from TOML, or from JSON where the file is named so.
fn policy(path: &Path) -> Result<Policy, Failure> {
    let text = text(path)?;
    let read = match path.extension().is_some_and(|ending| ending == "json") {
        true => serde_json::from_str::<Policy>(&text).map_err(|error| error.to_string()),
        false => toml::from_str::<Policy>(&text).map_err(|error| error.message().to_owned()),
    };
    let checked = read.and_then(|policy| policy.check().map(|()| policy));
    checked.map_err(|what| Failure::usage(format!("{}: {what}", path.display())).hint("`counterfoil title edit --help` names the terms."))
}

fn words(listing: &Listing) -> String {
    let price = if listing.prices.is_empty() { "none".to_owned() } else { prices(&listing.prices) };
    let mut text = format!(
        "{:<12}{}\n{:<12}{}\n{:<12}{price}\n",
        "title",
        listing.title,
        "on sale",
        if listing.on_sale { "yes" } else { "no" },
        "price"
    );
    if !listing.summary.is_empty() {
        text += &format!("{:<12}{}\n", "summary", listing.summary);
    }
    for (number, term) in listing.policy.in_words().iter().enumerate() {
        text += &format!("{:<12}{term}\n", if number == 0 { "terms" } else { "" });
    }
    for (number, picture) in listing.pictures.iter().enumerate() {
        text += &format!("{:<12}{}: {}\n", if number == 0 { "pictures" } else { "" }, picture.position, picture.alt);
    }
    if !listing.description.is_empty() {
        text += &format!("{:<12}{} characters\n", "description", listing.description.chars().count());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_from_toml_and_from_json() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let expected = Policy { devices: 2, attributes: [("edition".to_owned(), "pro".to_owned())].into(), ..Policy::default() };
        assert_eq!(policy(&write("a.toml", "devices = 2\n[attributes]\nedition = 'pro'\n")).expect("terms"), expected);
        assert_eq!(policy(&write("a.json", r#"{"devices":2,"attributes":{"edition":"pro"}}"#)).expect("terms"), expected);
        for (name, wrong) in [("b.toml", "device = 2"), ("b.json", "{"), ("c.toml", "devices = 0")] {
            assert_eq!(policy(&write(name, wrong)).expect_err(wrong).code, "usage");
        }
    }
}
