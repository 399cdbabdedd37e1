//! `counterfoild gateway enrol`: mutual TLS set up by one command.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use counterfoil_core::wire::EnrolToken;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Global, config};
use crate::clock::{Clock, rfc3339};
use crate::db::{Db, Tx};
use crate::gateway::client::{self, EnrolError, Failed};
use crate::store::setting;

/// Which of the authority's gateways this one's exchanges belong to.
const GATEWAY: &str = "gateway";
/// Family of the gateway's settings.
const FAMILY: &str = "/gateway";

/// Longest file of a token that is read, in bytes.
const LONGEST: u64 = 4096;

/// By which token.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Enrol {
    /// `cge_…`, as the authority's operator handed it over, or `-` to read it from standard input; better not written out here, where other users of
    /// the machine can see it while it is good
    #[arg(value_name = "TOKEN")]
    token: Option<Zeroizing<String>>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Enrol {
    /// Gets the certificate and writes the identity; a gateway that serves takes it up within seconds.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let config = config(global)?;
        let token = EnrolToken::parse(&self.given()?)
            .ok_or_else(|| Failure::usage("this is no token of enrolment").hint("It begins with `cge_` and is one word, copied whole."))?;
        let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
        let own = token.gateway.to_string();
        is_it(&db, &own).await?;
        let enrolled =
            client::enrol(&config.authority, &token, &Clock::System).await.map_err(|error| told(error, &config.authority.url))?;
        db.write("which gateway it is", FAMILY, async move |tx: &mut Tx| setting::settle(tx, GATEWAY, &own).await).await?;
        db.close().await;
        let made = json!({
            "gateway": enrolled.gateway,
            "not_after": rfc3339(enrolled.not_after),
            "identity_file": config.authority.identity_file,
        });
        global.print(&made, |_| {
            format!(
                "enrolled as {}; the certificate is good until {}, and renews itself before that while the gateway serves",
                enrolled.gateway,
                rfc3339(enrolled.not_after)
            )
        })
    }
}

/// Whatever was sold under one name at the authority is looked for under that name: it knows nothing of it under another, and what is under way would be
/// voided although it was carried out.
async fn is_it(db: &Db, gateway: &str) -> Result<(), Failure> {
    match db.read("which gateway it is", async |tx: &mut Tx| setting::find(tx, GATEWAY).await).await? {
        Some(kept) if kept != gateway => {
            Err(Failure::refused(format!("this gateway is {kept} at the authority, and the token is for {gateway}")).hint(format!(
                "Have the authority's operator make a token for {kept}: it lets it in again, also where it was ended. For another gateway, make one: `counterfoild gateway init --data DIR`."
            )))
        }
        _ => Ok(()),
    }
}

impl Enrol {
    fn given(&self) -> Result<Zeroizing<String>, Failure> {
        let read = |source: &mut dyn Read, name: &str| {
            let mut text = Zeroizing::new(String::new());
            let unread = |error| {
                Failure::operation(format!("{name}: {error}")).hint("It holds the token, which is one line that begins with `cge_`.")
            };
            source.take(LONGEST).read_to_string(&mut text).map_err(unread)?;
            Ok(text)
        };
        match (&self.token_file, &self.token) {
            (Some(path), _) => read(&mut File::open(path).map_err(super::at(path))?, &path.display().to_string()),
            (None, Some(token)) if token.as_str() == "-" => read(&mut std::io::stdin().lock(), "standard input"),
            (None, Some(token)) => Ok(token.clone()),
            // One of them is required.
            (None, None) => Err(Failure::usage("there is no token").hint("Give it with --token-file FILE, or `-` for standard input.")),
        }
    }
}

fn told(error: EnrolError, url: &str) -> Failure {
    match error {
        EnrolError::Failed(failed @ Failed::Away(_)) => Failure::operation(failed).hint(format!(
            "Check [authority] url ({url}) and that the authority has [gateways] listen; then repeat the command: the token is still good."
        )),
        EnrolError::Failed(failed) => {
            Failure::refused(failed).hint("A token is good once, for a while: ask the authority's operator for a new one.")
        }
        error => Failure::operation(error).hint("Check that identity_file in section [authority] can be written."),
    }
}
