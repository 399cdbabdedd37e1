//! `contents-server`: contents servers of others, which select supplements for themselves (A8, A10).

use clap::{Args, Subcommand};
use counterfoil_core::{ContentsServerId, TitleId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;

/// For operators: contents servers of others, that select what fits a status
#[derive(Subcommand, Debug)]
pub enum ContentsServerCommand {
    Add(Add),
    List(List),
    Remove(Remove),
}

impl ContentsServerCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ContentsServerCommand::Add(command) => command.run(context),
            ContentsServerCommand::List(command) => command.run(context),
            ContentsServerCommand::Remove(command) => command.run(context),
        }
    }
}

/// Register a contents server: devices show it the status of these titles, and it may give these supplements
#[derive(Args, Debug)]
#[command(after_help = "Example:
  counterfoil contents-server add https://contents.example --name 'Studio North' --key KEY --title sky-raider=chapter-4")]
pub struct Add {
    /// Where it is reached; it is asked with POST URL/v1/select
    #[arg(value_name = "URL")]
    url: String,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it signs with: an Ed25519 public key, base64url
    // It may begin with a hyphen, as one in 64 does.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// A title whose status it is shown, and a supplement that it may select for it
    #[arg(long = "title", value_name = "TITLE=SUPPLEMENT", required = true, value_parser = pair)]
    titles: Vec<(TitleId, TitleId)>,
    /// Devices do not reach it: the authority asks it for them
    #[arg(long)]
    relayed: bool,
}

/// List the contents servers that are registered
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil contents-server list")]
pub struct List {}

/// End a contents server: nothing that it selects is accepted any more
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil contents-server remove cts-…")]
pub struct Remove {
    /// Its ID
    #[arg(value_name = "ID")]
    server: ContentsServerId,
}

#[derive(Deserialize, Serialize)]
struct Servers {
    items: Vec<Server>,
}

#[derive(Deserialize, Serialize)]
struct Server {
    server: ContentsServerId,
    name: String,
    url: String,
    relayed: bool,
    key: String,
    titles: Vec<Listed>,
    created_at: String,
}

#[derive(Deserialize, Serialize)]
struct Listed {
    title: TitleId,
    supplement: TitleId,
}

impl Add {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let titles: Vec<Listed> = self.titles.into_iter().map(|(title, supplement)| Listed { title, supplement }).collect();
        let body = json!({ "name": self.name, "url": self.url, "relayed": self.relayed, "key": self.key, "titles": titles });
        let key = to_base64url(Secret::<16>::random(&mut SystemRandom).expose());
        let server: Server = api.post("/v1/contents-servers", Some(&key), &body)?;
        context.output.result(&server, || words(&server))
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let servers: Servers = api.get("/v1/contents-servers")?;
        context.output.result(&servers, || match servers.items.is_empty() {
            true => "no contents servers of others are registered\n".to_owned(),
            false => servers.items.iter().map(words).collect(),
        })
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        api.remove(&format!("/v1/contents-servers/{}", self.server))?;
        context.output.result(&json!({ "server": self.server, "removed": true }), || format!("{} is ended\n", self.server))
    }
}

fn words(server: &Server) -> String {
    let relayed = if server.relayed { ", asked by the authority" } else { "" };
    let mut text = format!("{}  {}  {}{relayed}\n", server.server, server.name, server.url);
    for listed in &server.titles {
        text += &format!("    {} may select {}\n", listed.title, listed.supplement);
    }
    text
}

fn pair(text: &str) -> Result<(TitleId, TitleId), String> {
    let (title, supplement) = text.split_once('=').ok_or("it is not of the form TITLE=SUPPLEMENT")?;
    let parse = |text: &str| text.parse::<TitleId>().map_err(|error| error.to_string());
    Ok((parse(title)?, parse(supplement)?))
}
