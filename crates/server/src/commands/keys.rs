//! `counterfoild keys`

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global};
use crate::clock::rfc3339;
use crate::db::DbError;
use crate::gateways::issuer::Issuers;
use crate::keys::{Purpose, rotate};
use crate::store::gateway::issuer;
use crate::store::key;

/// What to do with keys.
#[derive(Subcommand)]
pub enum Command {
    /// List the keys in the database: names, versions, ages; never the keys
    #[command(after_help = "Example:\n  counterfoild keys list --data ./data")]
    List,
    /// Make new keys and wrap anew what lies under the old ones; running servers go on
    #[command(after_help = "Examples:\n  counterfoild keys rotate --what signing\n  counterfoild keys rotate")]
    Rotate {
        /// Which; all of them where absent
        #[arg(long, value_enum)]
        what: Option<What>,
    },
}

/// What can be rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The root key, in its file
    Root,
    /// The key-encryption keys, and everything wrapped under them
    Kek,
    /// The key that licenses and answers are signed with; the old one stays listed
    Signing,
    /// The key that envelopes are sealed to; the old one opens for another seven days
    Sealing,
    /// What certificates for gateways are signed with; the old one signs for another 30 days
    Gateways,
}

#[derive(Serialize)]
struct Listed {
    what: String,
    name: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<String>,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::List => list(global).await,
            Self::Rotate { what } => rotate(global, what).await,
        }
    }
}

async fn list(global: &Global) -> Result<(), Failure> {
    let (_, db) = global.database().await?;
    let (keks, keys, issuers) = db
        .read("keys", async |tx| Ok::<_, DbError>((key::keks(tx).await?, key::authority_keys(tx).await?, issuer::all(tx).await?)))
        .await?;
    let mut all: Vec<Listed> = keks
        .into_iter()
        .map(|row| Listed {
            what: "kek".into(),
            name: format!("{} {}", row.purpose, row.version),
            created_at: rfc3339(row.created_at),
            retired_at: None,
        })
        .collect();
    all.extend(keys.into_iter().map(|row| Listed {
        what: row.purpose,
        name: row.kid,
        created_at: rfc3339(row.created_at),
        retired_at: row.retired_at.map(rfc3339),
    }));
    all.extend(issuers.into_iter().map(|row| Listed {
        what: "gateways".into(),
        name: row.id,
        created_at: rfc3339(row.created_at),
        retired_at: row.retired_at.map(rfc3339),
    }));
    global.print(&all, |all| {
        let line = |key: &Listed| {
            let retired = key.retired_at.as_ref().map(|at| format!("retired {at}")).unwrap_or_default();
            format!("{:<8} {:<22} {}  {retired}", key.what, key.name, key.created_at).trim_end().to_owned()
        };
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

async fn rotate(global: &Global, what: Option<What>) -> Result<(), Failure> {
    let app = global.app().await?;
    let (now, source) = (app.clock.now(), app.config.root_source());
    let wanted = |one: What| what.is_none_or(|what| what == one);
    let mut done = vec![];
    if wanted(What::Kek) {
        for purpose in Purpose::ALL {
            let (version, rows) = rotate::kek(&app.db, &source, &app.keys, purpose, now, &app.rng).await?;
            done.push(json!({ "what": "kek", "name": format!("{} {version}", purpose.as_str()), "rewrapped": rows }));
        }
    }
    for (one, kind) in [(What::Signing, rotate::Kind::Signing), (What::Sealing, rotate::Kind::Sealing)] {
        if wanted(one) {
            let kid = rotate::authority_key(&app.db, &app.keys, &app.name, kind, now, &app.rng).await?;
            done.push(json!({ "what": kind.as_str(), "name": kid }));
        }
    }
    // Where there are none, nobody needs one.
    let gateways = app.db.read("gateway issuers", async |tx| issuer::all(tx).await).await?;
    if what == Some(What::Gateways) || (what.is_none() && !gateways.is_empty()) {
        let name = Issuers::rotate(&app.db, &app.keys, &app.name, now, &app.rng).await?;
        done.push(json!({ "what": "gateways", "name": name }));
    }
    if wanted(What::Root) {
        let version = rotate::root(&app.db, &source, now, &app.rng).await?;
        done.push(json!({ "what": "root", "name": format!("version {version}") }));
    }
    app.db.close().await;
    global.print(&done, |done| {
        let line = |one: &serde_json::Value| {
            let rows = one["rewrapped"].as_u64().map(|rows| format!("  ({rows} secrets wrapped anew)")).unwrap_or_default();
            format!("new {} key: {}{rows}", one["what"].as_str().unwrap_or_default(), one["name"].as_str().unwrap_or_default())
        };
        done.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}
