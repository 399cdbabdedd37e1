//! `counterfoild audit`

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::{Failure, Global, at, say};
use crate::auditor::{self, Audited, CHECKPOINT_TYP, Violation};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::keys::Keys;
use crate::store::audit::{self, Checkpoint};

/// What to do with the audit log.
#[derive(Subcommand)]
pub enum Command {
    /// Check every row, head and checkpoint, and every invariant of the database
    #[command(
        after_help = "Examples:\n  counterfoild audit verify --data ./data\n  counterfoild audit verify --checkpoint /mnt/elsewhere/checkpoint-2026-03-01"
    )]
    Verify {
        /// A checkpoint that was kept elsewhere; may be repeated
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
    },
    /// Sign what the log has come to, to be kept elsewhere
    #[command(after_help = "Example:\n  counterfoild audit checkpoint --out /mnt/elsewhere/checkpoint-2026-03-01")]
    Checkpoint {
        /// Write it to this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the records of one family, such as med-…, usr-… or /tokens
    #[command(
        after_help = "Examples:\n  counterfoild audit show /tokens\n  counterfoild audit show med-4FFM-N5NS-GWKD-WG00-0000-0000-01PB"
    )]
    Show {
        /// Which
        family: String,
        /// Only records after this number
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
}

#[derive(Serialize)]
struct Verified {
    clean: bool,
    rows: u64,
    families: u64,
    checkpoints: u64,
    findings: Vec<String>,
    violations: Vec<Violation>,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Verify { checkpoint } => verify(global, checkpoint).await,
            Self::Checkpoint { out } => checkpoint(global, out).await,
            Self::Show { family, after } => show(global, family, after).await,
        }
    }
}

async fn verify(global: &Global, files: Vec<PathBuf>) -> Result<(), Failure> {
    let (config, db) = global.database().await?;
    let keys = Keys::load(&db, config.root_source()).await?;
    let mut kept = vec![];
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(at(&file))?;
        kept.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let audited = auditor::everything(&db, &keys, kept).await?;
    let Audited { report, violations } = audited;
    let verified = Verified {
        clean: report.is_clean() && violations.is_empty(),
        rows: report.rows,
        families: report.families,
        checkpoints: report.checkpoints,
        findings: report.findings.iter().map(|finding| format!("{finding:?}")).collect(),
        violations,
    };
    let clean = verified.clean;
    global.print(&verified, |verified| {
        let mut lines = vec![format!("{} records in {} families, {} checkpoints", verified.rows, verified.families, verified.checkpoints)];
        lines.extend(verified.findings.iter().cloned());
        lines.extend(verified.violations.iter().map(|violation| format!("{}: {}", violation.invariant, violation.subject)));
        lines.push(if verified.clean { "clean" } else { "NOT CLEAN" }.to_owned());
        lines.join("\n")
    })?;
    if clean {
        return Ok(());
    }
    Err(Failure::refused("the audit log or the database was changed behind the server's back")
        .hint("Keep the database as it is for whoever looks into it, and restore a backup whose log is clean."))
}

async fn checkpoint(global: &Global, out: Option<PathBuf>) -> Result<(), Failure> {
    let app = global.app().await?;
    let now = app.clock.now();
    let sign = |checkpoint: &Checkpoint| app.keys.sign(CHECKPOINT_TYP, checkpoint, now).map_err(|error| error.to_string());
    let made = audit::checkpoint(&app.db, now.0, sign).await?;
    app.db.close().await;
    let Some((checkpoint, signature)) = made else {
        return say(&if global.json {
            json!({ "number": null }).to_string()
        } else {
            "nothing was recorded since the last checkpoint".to_owned()
        });
    };
    if let Some(path) = &out {
        std::fs::write(path, format!("{signature}\n")).map_err(at(path))?;
    }
    global.print(&json!({ "number": checkpoint.number, "entries": checkpoint.entries, "signature": signature }), |_| match &out {
        Some(path) => format!("checkpoint {} over {} families: {}", checkpoint.number, checkpoint.entries, path.display()),
        None => signature.clone(),
    })
}

#[derive(Serialize)]
struct Shown {
    seq: i64,
    at: String,
    actor: String,
    event: String,
    detail: serde_json::Value,
}

async fn show(global: &Global, family: String, mut after: i64) -> Result<(), Failure> {
    let (_, db) = global.database().await?;
    let mut any = false;
    loop {
        let named = family.clone();
        let rows: Vec<(i64, i64, String, String, String)> = db
            .read("audit rows", async move |tx: &mut Tx| -> Result<_, DbError> {
                tx.query("SELECT seq, at, actor, event, detail FROM audit WHERE family = $1 AND seq > $2 ORDER BY seq LIMIT 500")
                    .bind(&named)
                    .bind(after)
                    .all()
                    .await
            })
            .await?;
        let Some(last) = rows.last() else { break };
        (after, any) = (last.0, true);
        for (seq, at, actor, event, detail) in rows {
            let at = rfc3339(counterfoil_core::Timestamp(at));
            if global.json {
                let detail = serde_json::from_str(&detail).unwrap_or(serde_json::Value::String(detail));
                say(&serde_json::to_string(&Shown { seq, at, actor, event, detail }).map_err(Failure::operation)?)?;
            } else {
                say(&format!("{seq:>6}  {at}  {actor}  {event}  {detail}"))?;
            }
        }
    }
    if any {
        Ok(())
    } else {
        Err(Failure::refused(format!("nothing is recorded of {family}"))
            .hint("Families look like med-…, usr-…, key-…, /tokens, /authority, /stranger/0."))
    }
}
