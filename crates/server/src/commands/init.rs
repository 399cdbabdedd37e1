//! `counterfoild init`: everything a new authority needs, made once and never overwritten.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Failure, Global, at, staff, tls};
use crate::actions::{staff as console, token};
use crate::auth::Role;
use crate::clock::{Clock, Rng};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::keys::root::{RootKey, write_private};
use crate::keys::{RootSource, rotate};
use crate::store::{audit, setting, token as tokens};

/// What the example says; `init` writes it with a few lines changed.
const EXAMPLE: &str = include_str!("../../counterfoild.example.toml");

/// What to make.
#[derive(Args)]
pub struct Init {
    /// Database to use instead of SQLite in the data directory: postgres://…
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Name of the authority, stable for its life [default: made up]
    #[arg(long)]
    name: Option<String>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    /// How terminals will reach it; may be repeated, best first
    #[arg(long, value_name = "URL")]
    public_url: Vec<String>,
    /// Make a certificate authority and a certificate, and serve HTTPS with it
    #[arg(long)]
    tls_self_signed: bool,
    /// Name or address that the certificate is for, besides localhost; may be repeated
    #[arg(long, value_name = "NAME", requires = "tls_self_signed")]
    tls_name: Vec<String>,
    /// What the first operator token is called
    #[arg(long, value_name = "NAME", default_value = "first operator")]
    token_name: String,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    authority: String,
    config: PathBuf,
    database: String,
    root_key_file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    url: String,
    token: String,
    /// To the console, once.
    console_link: String,
}

impl Init {
    /// Makes it. The configuration is written last: cut before that, the command can be repeated.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let path = global.config_path();
        if path.exists() {
            return Err(Failure::refused(format!("{} is there already", path.display()))
                .hint("Nothing was changed. For another authority, choose another --data DIR."));
        }
        let data = path.parent().unwrap_or(Path::new("")).to_owned();
        make_directory(&data)?;
        let ca_file = self.make_tls(&data)?;
        let text = self.configuration(&data)?;
        // Read as `serve` will read it, before anything is made.
        let staged = data.join(".counterfoild.toml.partial");
        fs::write(&staged, &text).map_err(at(&staged))?;
        let config = Config::load(&staged)?;
        let (authority, token, link) = self.make_authority(&config).await?;
        fs::create_dir_all(&config.contents.dir).map_err(at(&config.contents.dir))?;
        fs::rename(&staged, &path).map_err(at(&path))?;
        let url = staff::address(&config);
        let made = Made {
            authority,
            database: config.database_url()?.to_string(),
            root_key_file: config.root_key.file.clone(),
            ca_file,
            console_link: link.reveal(&url),
            url,
            config: path,
            token,
        };
        global.print(&made, told)
    }

    fn make_tls(&self, data: &Path) -> Result<Option<PathBuf>, Failure> {
        if !self.tls_self_signed {
            return Ok(None);
        }
        let directory = data.join("tls");
        make_directory(&directory)?;
        tls::make(&directory, tls::names(self.listen, &self.tls_name), Clock::System.now()).map(Some)
    }

    /// The example with the lines changed that were asked for.
    fn configuration(&self, data: &Path) -> Result<String, Failure> {
        let mut text = EXAMPLE.replace("listen = \"127.0.0.1:7480\"", &format!("listen = \"{}\"", self.listen));
        if !self.public_url.is_empty() {
            text = text.replace("public_urls = []", &format!("public_urls = {}", serde_json::json!(self.public_url)));
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

    async fn make_authority(&self, config: &Config) -> Result<(String, String, console::Link), Failure> {
        let (now, rng) = (Clock::System.now(), Rng::System);
        let url = config.database_url()?;
        let db = Db::open_with(&url, config.database_options()?).await?;
        let root_file = &config.root_key.file;
        let fresh = !root_file.exists();
        db.migrate().await?;
        let taken = db.read("authority name", async |tx| setting::find(tx, setting::AUTHORITY_NAME).await).await?;
        if let (Some(name), true) = (&taken, fresh) {
            return Err(Failure::refused(format!("the database {url} belongs to the authority {name} already"))
                .hint("Nothing was changed. For another process of that authority, copy its configuration and root key here."));
        }
        if fresh {
            write_private(root_file, &RootKey::generate(1, &mut rng.clone()).reveal()).map_err(at(root_file))?;
        }
        rotate::create_all(&db, &RootSource::File(root_file.clone()), now, &rng).await?;
        let name = self.name.clone().unwrap_or_else(|| made_up(&rng));
        let new = token::New { role: Role::Operator, tenant: None, name: self.token_name.clone(), expires_in_days: None };
        let prepared = new.prepare(now, &rng)?;
        let row = prepared.row.clone();
        let name = db
            .write("name authority", setting::FAMILY, async move |tx| {
                let name = setting::settle(tx, setting::AUTHORITY_NAME, &name).await?;
                audit::append(tx, setting::FAMILY, now.0, "operator", "authority.made", &serde_json::json!({ "name": name })).await?;
                Ok::<_, DbError>(name)
            })
            .await?;
        db.write("make token", tokens::FAMILY, async move |tx| token::make(tx, &row, "operator").await).await??;
        let link = console::first_link(&db, &rng, now).await?;
        db.close().await;
        Ok((name, prepared.token, link))
    }
}

/// The same file, left by an `init` that was cut short, is as good as a new one.
fn again(file: &Path, text: &str, error: std::io::Error) -> std::io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|there| there == text) { Ok(()) } else { Err(error) }
}

fn made_up(rng: &Rng) -> String {
    let bits: [u8; 6] = rng.bytes();
    format!("counterfoil-{}", bits.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A directory that nobody else can look into.
pub(super) fn make_directory(path: &Path) -> Result<(), Failure> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(at(path))
}

fn told(made: &Made) -> String {
    let data = made.config.parent().unwrap_or(Path::new("")).display().to_string();
    let mut text = format!(
        "Made the authority {}.\n\n  configuration  {}\n  database       {}\n  root key       {}\n",
        made.authority,
        made.config.display(),
        made.database,
        made.root_key_file.display()
    );
    if let Some(ca) = &made.ca_file {
        text += &format!("  certificate    signed by {}\n", ca.display());
    }
    let trust = made.ca_file.as_ref().map(|ca| format!(" --ca {}", ca.display())).unwrap_or_default();
    text += &format!("\nOperator token, shown this once:\n\n  {}\n", made.token);
    text += &format!("\nLink to the console, good once, for 24 hours, while the server runs:\n\n  {}\n\nNext:\n", made.console_link);
    text += "  1. Keep a copy of the root key apart from the database: without it no key in the database can be opened.\n";
    text += &format!("  2. counterfoild serve --data {data}\n");
    text += &format!("  3. counterfoil publisher login --server {}{trust}     (asks for a token)\n", made.url);
    text += &format!("  4. counterfoild doctor --data {data}               (checks all of it)");
    text
}
