//! What a release consists of, for whoever brings it onto a medium (A12).

use counterfoil_core::wire::{ContentOnOffer, ObjectOnOffer};
use counterfoil_core::{ReleaseVersion, TitleId};

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::release::{self, ReleaseObject};

/// The release document and its objects; nothing where they are more than an answer has room for.
pub(super) async fn of(app: &App, title: &TitleId, version: &ReleaseVersion) -> Result<Option<ContentOnOffer>, DbError> {
    let (title, version) = (title.clone(), version.clone());
    app.db
        .read("content for a medium", async move |tx: &mut Tx| {
            let Some(release) = release::get(tx, &title, &version).await? else { return Ok(None) };
            let objects = release::objects(tx, &title, &version).await?;
            let told = |object: ReleaseObject| ObjectOnOffer { object: object.object.to_string(), length: object.length };
            let few = objects.len() <= ContentOnOffer::MOST;
            Ok(few.then(|| ContentOnOffer { document: release.document, objects: objects.into_iter().map(told).collect() }))
        })
        .await
}
