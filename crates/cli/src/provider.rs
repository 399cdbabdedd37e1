//! `provider`: third parties that offer services to media, which the authority judges for them (B4).

use clap::{Args, Subcommand};
use counterfoil_core::ProviderId;
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;

/// For operators: providers, third parties that offer services to media
#[derive(Subcommand, Debug)]
pub enum ProviderCommand {
    Add(Add),
    List(List),
    Remove(Remove),
}

impl ProviderCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ProviderCommand::Add(command) => command.run(context),
            ProviderCommand::List(command) => command.run(context),
            ProviderCommand::Remove(command) => command.run(context),
        }
    }
}

/// Register a provider: it may have media of these publishers judged
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil provider add https://arcade.example --name 'North Arcade' --publisher acme
  counterfoil provider add https://arcade.example --name 'North Arcade' --publisher acme --token   # and its token, shown once")]
pub struct Add {
    /// Where terminals reach it; they ask it with POST URL/v1/challenge
    #[arg(value_name = "URL")]
    url: String,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Whose media it may have judged; may be given several times
    #[arg(long = "publisher", value_name = "PUBLISHER", required = true)]
    publishers: Vec<String>,
    /// Make a token for it as well, and show it this once
    #[arg(long)]
    token: bool,
}

/// List the providers that are registered
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil provider list")]
pub struct List {}

/// End a provider: its tokens are good for nothing from then on
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil provider remove prv-…")]
pub struct Remove {
    /// Its ID
    #[arg(value_name = "ID")]
    provider: ProviderId,
}

#[derive(Deserialize, Serialize)]
struct Providers {
    items: Vec<Provider>,
}

#[derive(Deserialize, Serialize)]
struct Provider {
    provider: ProviderId,
    name: String,
    url: String,
    publishers: Vec<String>,
    created_at: String,
    /// As it was made with the provider.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    token: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

impl Add {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let body = json!({ "name": self.name, "url": self.url, "publishers": self.publishers });
        let mut provider: Provider = api.post("/v1/providers", Some(&key()), &body)?;
        if self.token {
            let name: String = self.name.trim().chars().take(100).collect();
            let new = json!({ "role": "provider", "tenant": provider.provider, "name": name });
            let made: Made = api.post("/v1/tokens", Some(&key()), &new).map_err(|failure| {
                let id = provider.provider;
                failure.hint(format!(
                    "{id} is registered, and has no token yet: `counterfoild token new --role provider --tenant {id} --name NAME`."
                ))
            })?;
            provider.token = Some(made.token);
        }
        context.output.result(&provider, || words(&provider))
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let providers: Providers = api.get("/v1/providers")?;
        context.output.result(&providers, || match providers.items.is_empty() {
            true => "no providers are registered\n".to_owned(),
            false => providers.items.iter().map(words).collect(),
        })
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        api.remove(&format!("/v1/providers/{}", self.provider))?;
        context.output.result(&json!({ "provider": self.provider, "removed": true }), || format!("{} is ended\n", self.provider))
    }
}

fn key() -> String {
    to_base64url(Secret::<16>::random(&mut SystemRandom).expose())
}

fn words(provider: &Provider) -> String {
    let mut text = format!(
        "{}  {}  {}\n    may have media judged of {}\n",
        provider.provider,
        provider.name,
        provider.url,
        provider.publishers.join(", ")
    );
    if let Some(token) = &provider.token {
        text += &format!("    token, shown this once: {token}\n");
    }
    text
}
