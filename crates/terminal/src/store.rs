//! Looking around in the store (D2): what is sold, what it costs, under which terms. Nothing here is signed or binding: an order names the price
//! that the buyer has seen, and is refused where it is another.

use counterfoil_core::{Channel, Code, Kind, Money, Policy, Refusal, ReleaseVersion, TitleId};
use counterfoil_format::encoding::parse_strict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::terminal::Terminal;
use crate::transport::TransportError;

/// Titles in one answer.
const PAGE: usize = 100;

/// A title in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// Its name in commands.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Name of its publisher, for people.
    pub publisher: String,
    /// One line.
    pub summary: String,
    /// One a currency.
    pub prices: Vec<Money>,
}

/// A release that can be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRelease {
    /// Which.
    pub version: ReleaseVersion,
    /// For whom.
    pub channel: Channel,
    /// RFC 3339.
    pub created_at: String,
    /// What an installation from nothing fetches, in bytes.
    pub size: u64,
}

/// All that the store says of a title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its name in commands.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Name of its publisher, for people.
    pub publisher: String,
    /// One line.
    pub summary: String,
    /// Paragraphs, with a blank line between.
    pub description: String,
    /// One a currency.
    pub prices: Vec<Money>,
    /// The terms.
    pub policy: Policy,
    /// The terms in words, a sentence each.
    pub terms: Vec<String>,
    /// Newest first.
    pub releases: Vec<ShownRelease>,
}

/// Titles with `words` in name, summary or publisher; all of them where there are no words. Up to `most`, and whether there are more.
///
/// # Errors
/// [`TransportError`].
pub fn search(terminal: &Terminal, words: &str, most: usize) -> Result<(Vec<Shelved>, bool)> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Shelved>,
        next: Option<TitleId>,
    }
    let words = escaped(words);
    let (mut found, mut after) = (vec![], String::new());
    loop {
        let limit = PAGE.min(most - found.len());
        let page: Page = ask(terminal, &format!("/v1/store/titles?q={words}&limit={limit}{after}"))?;
        let nothing = page.items.is_empty();
        found.extend(page.items.into_iter().take(limit));
        match page.next {
            Some(next) if !nothing && found.len() < most => after = format!("&after={next}"),
            next => return Ok((found, next.is_some() && !nothing)),
        }
    }
}

/// One title on sale.
///
/// # Errors
/// [`Code::NotForSale`]; [`TransportError`].
pub fn show(terminal: &Terminal, title: &TitleId) -> Result<Shown> {
    ask(terminal, &format!("/v1/store/titles/{title}")).map_err(|error| match error {
        crate::Error::Transport(TransportError::Status { status: 404, .. }) => Refusal::with(Code::NotForSale, title.to_string()).into(),
        error => error,
    })
}

fn ask<T: DeserializeOwned>(terminal: &Terminal, path: &str) -> Result<T> {
    // Whoever only looks is bound to no authority.
    let urls = terminal.authority()?.map(|authority| authority.document.urls).unwrap_or_default();
    let bytes = terminal.transport(&urls)?.get(path)?;
    parse_strict(&bytes).map_err(|error| TransportError::NotAnAuthority { url: "the store".into(), reason: error.to_string() }.into())
}

/// As a part of an address (RFC 3986 §2.1).
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_leave_their_place_in_the_address() {
        assert_eq!(escaped("Sky Raider"), "Sky%20Raider");
        assert_eq!(escaped("A & B?"), "A%20%26%20B%3F");
        assert_eq!(escaped("a&limit=1#é"), "a%26limit%3D1%23%C3%A9");
    }
}
