//! `counterfoild migrate-store`: moves the database or the contents of a running authority to another place.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Global, at};

mod contents;
mod database;
mod postgres;

/// From where to where.
#[derive(Args)]
pub struct MigrateStore {
    /// What is moved: `sqlite:PATH`; or contents: `dir:PATH`, `s3://BUCKET/PREFIX`, `gs://…`, `az://…`
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// Where to: `postgres://…`; or contents, as above
    #[arg(long, value_name = "ADDRESS", required_unless_present = "to_file")]
    to: Option<String>,
    /// A file that holds the address, where it has a password in it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
}

impl MigrateStore {
    /// Moves it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let to = match (&self.to, &self.to_file) {
            (Some(to), _) => to.clone(),
            (None, Some(file)) => std::fs::read_to_string(file).map_err(at(file))?.trim().to_owned(),
            (None, None) => return Err(Failure::usage("--to or --to-file says where to move it")),
        };
        let scheme = |address: &str| address.split(':').next().unwrap_or_default().to_owned();
        match (scheme(&self.from).as_str(), scheme(&to).as_str()) {
            ("sqlite", "postgres" | "postgresql") => database::run(&self.from, &to, self.to_file.as_deref(), global).await,
            ("postgres" | "postgresql", "postgres" | "postgresql") => Err(Failure::usage("PostgreSQL moves its databases itself").hint(
                "Use pg_dump and pg_restore with the servers stopped, or logical replication while they run; then change [database] url.",
            )),
            (_, "sqlite") => Err(Failure::usage("a database is moved to PostgreSQL, not to SQLite")
                .hint("SQLite is for one machine; whoever must go back restores a backup made before the move.")),
            (from, target) if contents::is_place(from) && contents::is_place(target) => contents::run(&self.from, &to, global).await,
            (from, to) => Err(Failure::usage(format!("cannot move from {from}: to {to}:"))
                .hint("--from sqlite:PATH --to postgres://HOST/NAME; contents: --from dir:PATH --to s3://BUCKET/PREFIX")),
        }
    }
}
