//! `publisher login`: which authority, which token, which publisher; makes the signing key where there is none.

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::TitleId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
use super::profile::{self, Profile};
use crate::context::Context;
use crate::failure::Failure;
use crate::files;

/// Remember the authority and the token, and make the publisher's signing key
///
/// With a publisher's token the publisher is known from it. With an operator's token give --publisher, and --name to create it.
/// The signing key is made on this machine if there is none, and stays here; the authority gets its public half.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil publisher login --server https://counterfoil.example --token-file token.txt
  counterfoil publisher login --server http://127.0.0.1:7480 --token cft_… --publisher moonlight --name 'Moonlight Games'")]
pub struct Login {
    /// The token; better given by --token-file or COUNTERFOIL_TOKEN, where no other user of the machine can see it
    #[arg(long, env = "COUNTERFOIL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Which publisher to act for, by name (a-z, 0-9 and hyphens)
    #[arg(long, value_name = "ID", value_parser = publisher_id)]
    publisher: Option<String>,
    /// What people call the publisher, where it is created now
    #[arg(long)]
    name: Option<String>,
}

/// Publishers are named as titles are.
fn publisher_id(text: &str) -> Result<String, &'static str> {
    let named = text
        .parse::<TitleId>()
        .map_err(|_| "a publisher's ID is 1 to 64 of a-z, 0-9 and inner hyphens, such as `blue-fox`; --name is for people")?;
    Ok(named.to_string())
}

#[derive(Deserialize)]
struct WhoAmI {
    role: String,
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Deserialize)]
struct Publisher {
    #[serde(default)]
    key: Option<String>,
}

#[derive(Serialize)]
struct LoggedIn {
    server: String,
    role: String,
    publisher: Option<String>,
    key: Option<String>,
    key_made: bool,
    created: bool,
}

impl Login {
    /// Asks the authority who the token is, and writes the profile.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let known = Profile::load(&context.home)?;
        let server = context.server.clone().or_else(|| known.as_ref().map(|profile| profile.server.clone()));
        let server = server.ok_or_else(|| Failure::usage("the address of the authority is missing").hint("Give `--server URL`."))?;
        let missing = || Failure::usage("the token is missing").hint("Give `--token-file FILE` or COUNTERFOIL_TOKEN.");
        let token = match self.token()? {
            Some(token) => token,
            None => known.as_ref().ok_or_else(missing)?.token_for(&server)?,
        };
        let ca = context.absolute_ca()?;
        let api = Api::new(&server, &token, ca.as_deref())?;

        let me: WhoAmI = api.get("/v1/whoami")?;
        // Where none is named, it is the one that was named before.
        let before = known.filter(|known| known.server == api.server()).and_then(|known| known.publisher.clone());
        let publisher = self.publisher(&me, before)?;
        let mut done =
            LoggedIn { server: api.server().to_owned(), role: me.role.clone(), publisher, key: None, key_made: false, created: false };
        if let Some(publisher) = done.publisher.clone() {
            let (keys, made) = profile::signing_key(&context.home)?;
            let key = keys.signing_key().verifying_key().to_string();
            (done.key, done.key_made) = (Some(key.clone()), made);
            done.created = self.register(&api, &me, &publisher, &key)?;
        }
        Profile { server: done.server.clone(), token, publisher: done.publisher.clone(), ca }.save(&context.home)?;
        context.output.result(&done, || words(&done, context))
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        match &self.token_file {
            Some(path) => files::read_token(path).map(Some),
            None => Ok(self.token.clone()),
        }
    }

    fn publisher(&self, me: &WhoAmI, before: Option<String>) -> Result<Option<String>, Failure> {
        match (me.role.as_str(), &me.tenant, &self.publisher) {
            ("publisher", Some(tenant), Some(asked)) if tenant != asked => {
                Err(Failure::refused("forbidden", format!("this token is for the publisher {tenant}, not {asked}")))
            }
            ("publisher", Some(tenant), _) => Ok(Some(tenant.clone())),
            ("operator", _, asked) => Ok(asked.clone().or(before)),
            (role, ..) => Err(Failure::refused("forbidden", format!("a token of role {role} publishes nothing"))
                .hint("Ask the operator for a token of role publisher.")),
        }
    }

    /// Creates the publisher where it is new, and gives the authority its key. Says whether it was created.
    fn register(&self, api: &Api, me: &WhoAmI, publisher: &str, key: &str) -> Result<bool, Failure> {
        let path = format!("/v1/publishers/{publisher}");
        match api.find::<Publisher>(&path)? {
            Some(found) if found.key.as_deref().is_some_and(|found| found != key) => {
                Err(Failure::refused("other_key", format!("the publisher {publisher} signs with another key than the one on this machine"))
                    .hint("Put the publisher's own key file into this home, or use another --home."))
            }
            Some(found) if found.key.is_some() => Ok(false),
            Some(_) => api.put::<serde_json::Value>(&format!("{path}/key"), &json!({ "key": key })).map(|_| false),
            None if me.role == "operator" => {
                let name = self.name.clone().unwrap_or_else(|| publisher.to_owned());
                let body = json!({ "id": publisher, "name": name, "key": key });
                api.post::<serde_json::Value>("/v1/publishers", None, &body).map(|_| true)
            }
            None => Err(Failure::refused("not_found", format!("the authority knows no publisher {publisher}"))),
        }
    }
}

fn words(done: &LoggedIn, context: &Context) -> String {
    let mut text = format!("logged in at {} as {}\n", done.server, done.role);
    if let Some(publisher) = &done.publisher {
        let created = if done.created { " (created)" } else { "" };
        text += &format!("publisher   {publisher}{created}\n");
    } else {
        text += "no publisher: give --publisher ID to publish\n";
    }
    if let Some(key) = &done.key {
        let home = context.home.join("publisher.key");
        let made = if done.key_made { "made now; keep a copy of it in a safe place" } else { "was there" };
        text += &format!("signing key {key}\n            {} ({made})\n", home.display());
    }
    text
}
