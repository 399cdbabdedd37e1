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
                    // A page with nothing on it is the last, whatever it says: nobody is sent on and on.
                    (self.after, self.items) = (next.filter(|_| !items.is_empty()), items.into_iter());
                }
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_list_that_has_nothing_and_more_of_it_is_asked_for_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let body = r#"{"items":[],"next":"x"}"#;
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            // Whoever asks once more finds nobody.
            drop(listener);
            stream.write_all(format!("{head}{body}").as_bytes()).expect("still there");
        });
        let api = Api::new(&url, "token", None).expect("an address");
        assert_eq!(api.all::<u8>("/v1/titles").map(|item| item.map_err(|failure| failure.code)).collect::<Vec<_>>(), []);
        asked.join().expect("asked");
    }
}
