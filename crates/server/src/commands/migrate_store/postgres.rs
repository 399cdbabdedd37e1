//! What only PostgreSQL can be asked, before something is moved to it.

use crate::db::{Db, DbError};

/// A table in a database that no version of this program was in before.
pub async fn foreign_table(db: &Db) -> Result<Option<String>, DbError> {
    if db.migration_status().await?.database > 0 {
        return Ok(None);
    }
    let sql = "SELECT min(tablename::text) FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'refinery_schema_history'";
    let found = db.read("look for tables", async move |tx| tx.query(sql).opt::<(Option<String>,)>().await).await?;
    Ok(found.and_then(|(table,)| table))
}
