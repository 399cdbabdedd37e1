//! What `counterfoild init` and `counterfoild gateway init` are told alike, and how it gets into the configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::init::make_directory;
use super::{Failure, at, tls};
use crate::clock::Clock;
use crate::keys::root::write_private;

/// Where things are kept, and how it is reached.
#[derive(Args)]
pub struct Served {
    /// Database to use instead of SQLite in the data directory: postgres://…
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// How terminals will reach it; may be repeated, best first
    #[arg(long, value_name = "URL")]
    public_url: Vec<String>,
    /// Make a certificate authority and a certificate, and serve HTTPS with it
    #[arg(long)]
    tls_self_signed: bool,
    /// Name or address that the certificate is for, besides localhost; may be repeated
    #[arg(long, value_name = "NAME", requires = "tls_self_signed")]
    tls_name: Vec<String>,
}

impl Served {
    /// The file of the certificate authority, where one is asked for.
    pub fn make_tls(&self, listen: SocketAddr, data: &Path) -> Result<Option<PathBuf>, Failure> {
        if !self.tls_self_signed {
            return Ok(None);
        }
        let directory = data.join("tls");
        make_directory(&directory)?;
        tls::make(&directory, tls::names(listen, &self.tls_name), Clock::System.now()).map(Some)
    }

    /// The example with the lines changed that were asked for.
    pub fn configure(&self, example: &str, data: &Path) -> Result<String, Failure> {
        let mut text = example.to_owned();
        if !self.public_url.is_empty() {
            text = text.replace("public_urls = []", &format!("public_urls = {}", json!(self.public_url)));
        }
        if self.tls_self_signed {
            text = text.replace("# cert_file =", "cert_file =").replace("# key_file =", "key_file =");
        }
        if let Some(url) = &self.database {
            // It may hold a password: in a file of its own, which nobody else can read.
            let file = data.join("database.url");
            write_private(&file, url).or_else(|error| again(&file, url, error)).map_err(at(&file))?;
            text = text.replace("# url_file =", "url_file =");
        }
        Ok(text)
    }
}

/// The same file, left by an `init` that was cut short, is as good as a new one.
fn again(file: &Path, text: &str, error: std::io::Error) -> std::io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|there| there == text) { Ok(()) } else { Err(error) }
}
