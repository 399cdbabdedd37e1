//! Contents servers of others (A8, A10): the operator registers them, with what they may select.

use counterfoil_core::{ContentsServerId, TitleId};
use serde_json::json;

use super::checks::{check_name, check_url};
use crate::api::contents_servers::{ContentsServerDocument, ContentsServersDocument, NewContentsServer};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::contents_server::{self, ContentsServer, MOST};
use crate::store::{audit, pseudonym, setting, title};

pub mod hand_in;
pub mod relay;
pub mod verdict;

/// Titles on the list of one contents server.
const MOST_TITLES: usize = 1000;

/// Registers a contents server.
///
/// # Errors
/// `unprocessable`.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewContentsServer) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    let now = app.clock.now().0;
    let server = ContentsServer {
        id: ContentsServerId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes())),
        name: new.name.trim().to_owned(),
        url: check_url(&new.url)?,
        relayed: new.relayed,
        key: new.key.parse().map_err(|_| wrong("`key` is an Ed25519 public key, 32 bytes as base64url"))?,
        created_at: now,
    };
    let titles: Vec<(TitleId, TitleId)> = new.titles.into_iter().map(|listed| (listed.title, listed.supplement)).collect();
    if titles.is_empty() || titles.len() > MOST_TITLES {
        return Err(wrong(format!("`titles` has 1 to {MOST_TITLES} entries")));
    }
    let (actor, pseudonym_key) = (caller.actor(), app.rng.bytes());
    once.write(app, "add_contents_server", setting::FAMILY.to_owned(), async move |tx: &mut Tx| {
        if contents_server::list(tx).await?.len() as i64 >= MOST {
            return Err(wrong(format!("{MOST} contents servers are the most")));
        }
        for (of, supplement) in &titles {
            for one in [of, supplement] {
                title::get(tx, &Scope::All, one).await?.ok_or_else(|| wrong(format!("there is no title `{one}`")))?;
            }
        }
        pseudonym::settle_key(tx, pseudonym_key).await?;
        contents_server::insert(tx, &server, &titles).await?;
        let detail = json!({
            "server": server.id, "name": server.name, "url": server.url, "relayed": server.relayed, "key": server.key, "titles": titles,
        });
        audit::append(tx, setting::FAMILY, now, &actor, "contents_server.added", &detail).await?;
        Ok(Reply::created(&ContentsServerDocument::of(server.clone(), &titles)))
    })
    .await
}

/// Those that are registered, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App) -> Result<ContentsServersDocument, Problem> {
    let items = app
        .db
        .read("contents_servers", async move |tx: &mut Tx| -> Result<Vec<ContentsServerDocument>, Problem> {
            let mut items = vec![];
            for server in contents_server::list(tx).await? {
                let titles = contents_server::titles(tx, server.id).await?;
                items.push(ContentsServerDocument::of(server, &titles));
            }
            Ok(items)
        })
        .await?;
    Ok(ContentsServersDocument { items })
}

/// Ends one: it is asked no more, and nothing that it signed is accepted. What it has selected before stays.
///
/// # Errors
/// `not_found`.
pub async fn end(app: &App, caller: &Caller, once: &Once, id: ContentsServerId) -> Result<Reply, Problem> {
    let (now, actor) = (app.clock.now().0, caller.actor());
    once.write(app, "end_contents_server", setting::FAMILY.to_owned(), async move |tx: &mut Tx| {
        if !contents_server::end(tx, id, now).await? {
            return Err(ApiCode::NotFound.into());
        }
        audit::append(tx, setting::FAMILY, now, &actor, "contents_server.ended", &json!({ "server": id })).await?;
        Ok(Reply::no_content())
    })
    .await
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}
