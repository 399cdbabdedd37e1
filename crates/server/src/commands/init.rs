//! `counterfoild init`: everything a new authority needs, made once and never overwritten.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::served::Served;
use super::{Failure, Global, at, staff};
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
    /// Name of the authority, stable for its life [default: made up]
    #[arg(long)]
    name: Option<String>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    #[command(flatten)]
    served: Served,
    /// What the first operator token is called
    #[arg(long, value_name = "NAME", default_value = "first operator")]
    token_name: String,
    /// Write that token into a new file, mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
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
    #[serde(flatten)]
    token: Token,
    /// To the console, once.
    console_link: String,
}

/// Where the operator token is.
#[derive(Serialize)]
enum Token {
    #[serde(rename = "token")]
    Shown(String),
    #[serde(rename = "token_file")]
    In(PathBuf),
}

impl Init {
    /// Makes it. The configuration is written last: cut before that, the command can be repeated.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let path = global.config_path();
        if path.exists() {
            return Err(Failure::refused(format!("{} is there already", path.display()))
                .hint("Nothing was changed. For another authority, choose another --data DIR."));
        }
        if let Some(file) = self.token_file.as_ref().filter(|file| file.exists()) {
            return Err(
                Failure::refused(format!("{} is there already", file.display())).hint("Nothing was made. Name a new file for the token.")
            );
        }
        let data = path.parent().unwrap_or(Path::new("")).to_owned();
        make_directory(&data)?;
        let ca_file = self.served.make_tls(self.listen, &data)?;
        let text = self.configuration(&data)?;
        // Read as `serve` will read it, before anything is made.
        let staged = data.join(".counterfoild.toml.partial");
        fs::write(&staged, &text).map_err(at(&staged))?;
        let config = Config::load(&staged)?;
        let (authority, token, link) = self.make_authority(&config).await?;
        let token = match &self.token_file {
            Some(file) => {
                write_private(file, &token).map_err(at(file))?;
                Token::In(file.clone())
            }
            None => Token::Shown(token),
        };
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

    fn configuration(&self, data: &Path) -> Result<String, Failure> {
        let text = EXAMPLE.replace("listen = \"127.0.0.1:7480\"", &format!("listen = \"{}\"", self.listen));
        self.served.configure(&text, data)
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
        db.write("make token", tokens::FAMILY, async move |tx| token::keep(tx, &row, "operator").await).await?;
        let link = console::first_link(&db, &rng, now).await?;
        db.close().await;
        Ok((name, prepared.token, link))
    }
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
    text += &match &made.token {
        Token::Shown(token) => format!("\nOperator token, shown this once:\n\n  {token}\n"),
        Token::In(file) => format!("\nOperator token: in {}\n", file.display()),
    };
    text += &format!("\nLink to the console, good once, for 24 hours, while the server runs:\n\n  {}\n\nNext:\n", made.console_link);
    text += "  1. Keep a copy of the root key apart from the database: without it no key in the database can be opened.\n";
    text += &format!("  2. counterfoild serve --data {data}\n");
    let token = match &made.token {
        Token::Shown(_) => "     (asks for a token)".to_owned(),
        Token::In(file) => format!(" --token-file {}", file.display()),
    };
    text += &format!("  3. counterfoil publisher login --server {}{trust}{token}\n", made.url);
    text += &format!("  4. counterfoild doctor --data {data}               (checks all of it)");
    text
}
