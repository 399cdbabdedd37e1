//! `counterfoild migrate`

use serde_json::json;

use super::{Failure, Global};

/// Brings the database to the schema of this version.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let (_, db) = global.database().await?;
    let before = db.migration_status().await?;
    let after = db.migrate().await?;
    db.close().await;
    global.print(&json!({ "from": before.database, "to": after.database, "applied": before.pending }), |_| {
        if before.pending.is_empty() {
            format!("the database has schema {} already", after.database)
        } else {
            format!("from schema {} to {}: {}", before.database, after.database, before.pending.join(", "))
        }
    })
}
