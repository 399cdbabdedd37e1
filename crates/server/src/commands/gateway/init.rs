//! `counterfoild gateway init`: configuration and database, made once and never overwritten.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, at, config_path};
use crate::commands::init::make_directory;
use crate::commands::served::Served;
use crate::db::Db;
use crate::gateway::config::{Config, EXAMPLE};

/// What to make.
#[derive(Args)]
pub struct Init {
    /// Private listener of the authority: https://…
    #[arg(long, value_name = "URL")]
    authority: String,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7490")]
    listen: SocketAddr,
    #[command(flatten)]
    served: Served,
}

#[derive(Serialize)]
struct Made {
    config: PathBuf,
    database: String,
    authority: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

impl Init {
    /// Makes it. The configuration is written last: cut before that, the command can be repeated.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let path = config_path(global);
        if path.exists() {
            return Err(Failure::refused(format!("{} is there already", path.display()))
                .hint("Nothing was changed. For another gateway, choose another --data DIR."));
        }
        let data = path.parent().unwrap_or(Path::new("")).to_owned();
        make_directory(&data)?;
        let ca_file = self.served.make_tls(self.listen, &data)?;
        let text = self.configuration(&data)?;
        // Read as `serve` will read it, before anything is made.
        let staged = data.join(".gateway.toml.partial");
        fs::write(&staged, &text).map_err(at(&staged))?;
        let config = Config::load(&staged)?;
        let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
        db.migrate().await?;
        db.close().await;
        fs::rename(&staged, &path).map_err(at(&path))?;
        let made = Made { database: config.database_url()?.to_string(), authority: config.authority.url, ca_file, config: path };
        global.print(&made, |made| {
            let ca = made.ca_file.as_ref().map(|path| format!("\nterminals trust {}", path.display())).unwrap_or_default();
            format!(
                "configuration  {}\ndatabase       {}\nauthority      {}{ca}\n\nNext: `counterfoild gateway enrol TOKEN`, with the token that the authority's operator has made; then `counterfoild gateway serve`.",
                made.config.display(),
                made.database,
                made.authority
            )
        })
    }

    fn configuration(&self, data: &Path) -> Result<String, Failure> {
        let authority = format!("url = {}", json!(self.authority.trim_end_matches('/')));
        let text = EXAMPLE
            .replace("listen = \"127.0.0.1:7490\"", &format!("listen = \"{}\"", self.listen))
            .replace("url = \"https://127.0.0.1:7444\"", &authority);
        self.served.configure(&text, data)
    }
}
