//! Puts what stands into boxes for the card that asks.

use counterfoil_core::wire::CollectedGrant;
use counterfoil_core::{DeviceId, UserId};
use counterfoil_format::secret::Secret;

use super::page::{Page, Source, Standing};
use crate::actions::seal::{Boxes, Recipient};
use crate::app::App;
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::user::{DeviceRow, EntryRow};

/// All of a page.
pub(super) async fn seal_all(app: &App, user: UserId, entry: &EntryRow, page: Page) -> Result<Vec<CollectedGrant>, Problem> {
    let mut sealed = Vec::with_capacity(page.standing.len());
    for standing in page.standing {
        let device = match standing.device {
            Some(id) => page.devices.get(&id).map(|row| (id, row)),
            None => None,
        };
        sealed.push(seal(app, user, entry, device, standing).await?);
    }
    Ok(sealed)
}

async fn seal(
    app: &App,
    user: UserId,
    entry: &EntryRow,
    device: Option<(DeviceId, &DeviceRow)>,
    standing: Standing,
) -> Result<CollectedGrant, Problem> {
    let (user, grant) = (user.to_string(), standing.grant.to_string());
    let device = match device {
        Some((id, row)) => {
            let place = Place::DeviceSecret { user: &user, device: &id.to_string() };
            Some((id, app.keys.open(&app.db, &place, &row.secret).await?))
        }
        None => None,
    };
    let to = Recipient { holder: entry.holder, kind: entry.holder_kind, seal: entry.keys.seal, device, drive: standing.drive };
    let place = match &standing.source {
        Source::Medium(medium) => Place::LibraryKey { medium: medium.as_str(), grant: &grant },
        Source::License(_) => Place::LicenseKey { user: &user, grant: &grant },
    };
    let library_key: Secret<32> = app.keys.open(&app.db, &place, &standing.library_key).await?;
    let content_key: Option<Secret<32>> = match &standing.content_key {
        Some(wrapped) => {
            let place = Place::ContentKey { title: standing.title.as_str(), generation: standing.generation };
            Some(app.keys.open(&app.db, &place, wrapped).await?)
        }
        None => None,
    };
    let boxes = Boxes { title: &standing.title, generation: standing.generation, content_key: content_key.as_ref() };
    let grant = boxes.seal(app, &to, standing.grant, &library_key, standing.issued_at)?;
    let (medium_id, license_id) = match standing.source {
        Source::Medium(medium) => (Some(medium), None),
        Source::License(license) => (None, Some(license)),
    };
    Ok(CollectedGrant { grant, medium_id, license_id, device_id: standing.device })
}
