//! The keys to another release for a grant that stands (A5): the same grant and library key, sealed anew with the content key.
//!
//! Nothing of it is kept: a repeat has the keys sealed once more, as long as grant, rights and release still say so. Each time is recorded
//! before any key leaves.

use counterfoil_core::rules::confirm::{GrantFacts, GrantState};
use counterfoil_core::rules::license::{self as license_rules, LicenseState};
use counterfoil_core::rules::update::{self as rules, UpdateFacts, Withdrawn};
use counterfoil_core::wire::{AskUpdate, TitleOnMedium, UpdateResult};
use counterfoil_core::{DeviceId, GrantId, Refusal, ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::secret::Secret;
use serde_json::{Value, json};

use super::asked::{Asked, Decided};
use super::{licensed, seal};
use crate::app::App;
use crate::auth::Scope;
use crate::db::Tx;
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::grant::GrantRow;
use crate::store::license::LicenseRow;
use crate::store::medium::PressedTitle;
use crate::store::release::{self, Release};
use crate::store::{content_key, title};

mod copied;
mod installed;

/// Decides the request and answers with the keys.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &AskUpdate, now: Timestamp) -> Result<Decided, Problem> {
    match (&ask.medium_id, ask.device_id) {
        (Some(medium), _) => copied::run(app, asked, ask, medium, now).await,
        (None, Some(device)) => installed::run(app, asked, ask, device, now).await,
        // A license is always at a device.
        (None, None) => {
            super::asked::refuse(app, stranger(ask), "update", "terminal", counterfoil_core::Code::GrantUnknown.into(), now).await
        }
    }
}

fn stranger(ask: &AskUpdate) -> String {
    super::asked::stranger(&ask.user_id.to_string())
}

/// A release with everything that its keys are made of.
struct Wanted {
    title: PressedTitle,
    on_medium: TitleOnMedium,
    release: Release,
}

impl Wanted {
    /// Nothing where there is no such release.
    async fn load(tx: &mut Tx, id: &TitleId, version: &ReleaseVersion) -> Result<Option<Self>, Problem> {
        let Some(release) = release::get(tx, id, version).await? else { return Ok(None) };
        let gone = || Problem::internal(format!("release {version} of {id} without its title or key"));
        let row = title::get(tx, &Scope::All, id).await?.ok_or_else(gone)?;
        let content_key = content_key::get(tx, id, release.generation).await?.ok_or_else(gone)?;
        let title =
            PressedTitle { title: row.id.clone(), name: row.name.clone(), kind: row.kind, generation: release.generation, content_key };
        Ok(Some(Self { title, on_medium: licensed::on_medium(tx, row, version).await?, release }))
    }

    /// The grant's keys in new boxes, with all that the terminal needs beside them.
    async fn seal(
        self,
        app: &App,
        to: &seal::Recipient,
        grant: GrantId,
        (place, wrapped): (Place<'_>, &[u8]),
        issued_at: Timestamp,
    ) -> Result<Value, Problem> {
        let library_key: Secret<32> = app.keys.open(&app.db, &place, wrapped).await?;
        let sealing = seal::Sealing { grant, title: &self.title, library_key: &library_key, issued_at };
        let grant = seal::grant(app, to, &sealing).await?;
        let result = UpdateResult { grant, title: self.on_medium, release: self.release.document };
        serde_json::to_value(result).map_err(Problem::internal)
    }
}

/// Whether a release is there, for the rule.
async fn withdrawn(tx: &mut Tx, title: &TitleId, version: &ReleaseVersion) -> Result<Option<Withdrawn>, Problem> {
    Ok(release::get(tx, title, version).await?.map(|release| Withdrawn(release.said.withdrawn_at.is_some())))
}

/// Each time that keys leave is recorded, and what was asked for once more is told apart.
fn event(repeated: bool) -> &'static str {
    if repeated { "update.repeated" } else { "update.keys" }
}

/// What the audit log keeps.
fn detail(ask: &AskUpdate, title: &TitleId) -> Value {
    json!({ "grant": ask.grant_id, "title": title, "release": ask.release, "device": ask.device_id })
}
