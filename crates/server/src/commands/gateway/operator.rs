//! `counterfoild gateway operator`: the way into the operator's pages.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Global, open};
use crate::clock::rfc3339;
use crate::db::Tx;
use crate::gateway::server::OPERATOR_URL;
use crate::gateway::store::entry::{self, FAMILY, Link, OPERATOR_LINK};
use crate::store::setting;
use counterfoil_core::Timestamp;

/// What to do about the operator's pages.
#[derive(Subcommand)]
pub enum Command {
    /// Print a link that leads in: good once, for ten minutes
    #[command(after_help = "Example:\n  counterfoild gateway operator link --data ./gateway")]
    Link,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let Self::Link = self;
        let app = open(global).await?;
        let config = &app.config.operator;
        if !config.pages {
            return Err(Failure::refused("this gateway has no pages for its operator").hint("Say `pages = true` in [operator]."));
        }
        let base = match config.url.is_empty() {
            false => config.url.clone(),
            // Where it listens now, or did last.
            true => app
                .db
                .read("operator's address", async |tx: &mut Tx| setting::find(tx, OPERATOR_URL).await)
                .await?
                .ok_or_else(|| Failure::refused("this gateway has not served yet").hint("`counterfoild gateway serve`, then again."))?,
        };
        let (link, now) = (Link::generate(&mut app.rng.clone()), app.clock.now());
        let kept = link.clone();
        app.db.write("link for the operator", FAMILY, async move |tx: &mut Tx| entry::insert_link(tx, &kept, None, now).await).await?;
        app.db.close().await;
        let (link, until) = (format!("{base}/enter?link={}", link.reveal()), rfc3339(Timestamp(now.0 + OPERATOR_LINK)));
        global.print(&json!({ "link": link, "until": until }), |_| link.clone())
    }
}
