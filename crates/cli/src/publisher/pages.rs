//! Lists of the authority's API, page by page as they are read.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api::Api;
use crate::failure::Failure;

/// Entries that are asked for at once.
const PAGE: usize = 100;

/// What a list holds. After a failure it is over.
pub struct Pages<'a, T> {
    api: &'a Api,
    path: String,
    /// Whether no list at all is an empty one.
    may_lack: bool,
    items: std::vec::IntoIter<T>,
    /// Where the next page begins; nothing behind the last one.
    after: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    #[serde(default)]
    next: Option<String>,
}

impl Api {
    /// All of a list that is at a path, asked for as it is read.
    pub fn all<T: DeserializeOwned>(&self, path: &str) -> Pages<'_, T> {
        Pages { api: self, path: path.to_owned(), may_lack: false, items: vec![].into_iter(), after: Some(String::new()) }
    }

    /// The same of a list that may not exist, and is empty then.
    pub fn find_all<T: DeserializeOwned>(&self, path: &str) -> Pages<'_, T> {
        Pages { may_lack: true, ..self.all(path) }
    }
}

impl<T: DeserializeOwned> Iterator for Pages<'_, T> {
    type Item = Result<T, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(Ok(item));
            }
            let path = format!("{}?limit={PAGE}&after={}", self.path, self.after.take()?);
            let page = if self.may_lack { self.api.find::<Page<T>>(&path) } else { self.api.get(&path).map(Some) };
            match page {
                Ok(page) => {
                    let Page { items, next } = page?;
                    (self.items, self.after) = (items.into_iter(), next);
                }
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}
