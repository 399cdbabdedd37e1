//! `counterfoild gateway migrate`

use serde_json::json;

use super::{Failure, Global, config};
use crate::db::Db;

/// Brings the database to the schema of this version.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let config = config(global)?;
    let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
    let (before, after) = (db.migration_status().await?, db.migrate().await?);
    db.close().await;
    global.print(&json!({ "from": before.database, "to": after.database, "applied": before.pending }), |_| {
        match before.pending.is_empty() {
            true => format!("the database has schema {} already", after.database),
            false => format!("from schema {} to {}: {}", before.database, after.database, before.pending.join(", ")),
        }
    })
}
