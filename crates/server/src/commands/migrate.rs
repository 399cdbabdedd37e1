//! `counterfoild migrate`

use clap::Args;
use serde_json::json;

use super::{Failure, Global};
use crate::db::{Db, DbError};
use crate::jobs::words;

/// What to do besides.
#[derive(Args)]
pub struct Migrate {
    /// Place every table on the nodes of a Citus cluster; may be repeated, what is placed stays where it is
    #[arg(long, conflicts_with = "partitions")]
    distributed: bool,
    /// With --distributed: print the statements, and run none
    #[arg(long, requires = "distributed")]
    dry_run: bool,
    /// Cut each table that grows with users and media into so many partitions; only while they are empty
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
}

impl Migrate {
    /// Brings the database to the schema of this version, and its tables to where they are wanted.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let (_, db) = global.database().await?;
        let done = match self.partitions {
            _ if self.distributed => distribute(&db, self.dry_run, global).await,
            Some(partitions) => partition(&db, partitions, global).await,
            None => migrate(&db, global).await,
        };
        db.close().await;
        done
    }
}

async fn migrate(db: &Db, global: &Global) -> Result<(), Failure> {
    let before = db.migration_status().await?;
    let after = db.migrate().await?;
    // In steps, so that whoever uses the database meanwhile waits for none of it.
    words::mend(db).await?;
    global.print(&json!({ "from": before.database, "to": after.database, "applied": before.pending }), |_| {
        if before.pending.is_empty() {
            format!("the database has schema {} already", after.database)
        } else {
            format!("from schema {} to {}: {}", before.database, after.database, before.pending.join(", "))
        }
    })
}

async fn distribute(db: &Db, dry_run: bool, global: &Global) -> Result<(), Failure> {
    if dry_run {
        db.migration_status().await?.check()?;
    } else {
        db.migrate().await?;
    }
    let distribution = db.distribute(dry_run).await.map_err(|error| match error {
        DbError::Migration(fact) => Failure::refused(fact).hint(
            "On every node: put citus into shared_preload_libraries, restart, CREATE EXTENSION citus in this database; on the coordinator, \
             SELECT citus_add_node(…) for each worker. Versions 11 to 14 are known. Then repeat the command: what is placed already stays.",
        ),
        error => error.into(),
    })?;
    global.print(&distribution, |distribution| match (&distribution.statements[..], dry_run) {
        ([], _) => format!("all {} tables are placed already", distribution.already.len()),
        (statements, true) => format!("{};", statements.join(";\n")),
        (statements, false) => format!("{};\n\nThe tables are placed.", statements.join(";\n")),
    })
}

async fn partition(db: &Db, partitions: u32, global: &Global) -> Result<(), Failure> {
    db.migrate().await?;
    let tables = db.partition(partitions).await.map_err(|error| match error {
        DbError::Migration(fact) => Failure::refused(fact).hint(
            "Make an empty PostgreSQL database, run `counterfoild migrate --partitions` with a configuration that names it, and then move the \
             authority into it: `counterfoild migrate-store`.",
        ),
        error => error.into(),
    })?;
    global.print(&json!({ "partitions": partitions, "tables": tables }), |_| match tables.is_empty() {
        true => "all tables are partitioned already".to_owned(),
        false => format!("{partitions} partitions each: {}", tables.join(", ")),
    })
}
