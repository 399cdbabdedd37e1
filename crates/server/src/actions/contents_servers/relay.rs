//! Asking a contents server that only the authority reaches, in the terminal's place (A10). It may be slow, lie and send without end.

use std::sync::LazyLock;
use std::time::Duration;

use counterfoil_core::wire::{Selection, ShowStatus, ShownStatus};
use reqwest::{Client, redirect};

use crate::store::contents_server::ContentsServer;

/// How long a whole answer is waited for: a terminal waits for it, too.
const PATIENCE: Duration = Duration::from_secs(4);
/// Longest answer, in bytes.
const LONGEST: usize = 16 * 1024;

static CLIENT: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    let client = Client::builder().timeout(PATIENCE).connect_timeout(Duration::from_secs(2)).redirect(redirect::Policy::none()).no_proxy();
    client.build().map_err(|error| error.to_string())
});

/// Shows a contents server a status; answers with the selection as it signed it.
///
/// # Errors
/// What went wrong, for the log.
pub async fn ask(server: &ContentsServer, verdict: &str, status: ShownStatus) -> Result<String, String> {
    let client = CLIENT.as_ref().map_err(Clone::clone)?;
    let shown = ShowStatus { verdict: verdict.to_owned(), status };
    let words = |error: reqwest::Error| error.without_url().to_string();
    let mut response = client.post(format!("{}/v1/select", server.url)).json(&shown).send().await.map_err(words)?;
    if !response.status().is_success() {
        return Err(format!("it answers with {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(words)? {
        if body.len() + chunk.len() > LONGEST {
            return Err(format!("its answer is longer than {LONGEST} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Selection = serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    Ok(answer.selection)
}
