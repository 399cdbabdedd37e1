//! Publishing a release: the publisher's signature is right, and everything that it names is in the contents store.

use std::collections::BTreeSet;

use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::{self as format, ObjectName};
use serde_json::json;

use super::release::{check_notes, check_rollout};
use crate::api::releases::{NewRelease, ReleaseDocument};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::blobs::Blobs;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::release::{self, Release, ReleaseObject, Said};
use crate::store::{audit, content_key, publisher, title};

/// Objects that one release may have: 3 TiB of packs.
const MAX_OBJECTS: usize = 100_000;
/// Missing objects that are named in an answer.
const NAMED: usize = 20;
/// Longest name of a compressor with its level, in characters.
const MAX_ENCODER: usize = 64;

/// Adds a release to a title; the same again changes nothing.
///
/// # Errors
/// `not_found`; `unprocessable` for a document or objects that are not right; `release_exists` for another document of this version.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: TitleId, new: NewRelease) -> Result<Reply, Problem> {
    let now = app.clock.now().0;
    let said = said(&new, now)?;
    let (scope, name, document) = (caller.scope(), id.clone(), new.document);
    let signed = app
        .db
        .read("publish_check", {
            let document = document.clone();
            async move |tx: &mut Tx| signed(tx, &scope, &name, &document).await
        })
        .await?;
    let version: ReleaseVersion = signed.version.parse().map_err(wrong)?;
    check_objects(&app.blobs, &signed, &new.objects).await?;

    let (actor, family) = (caller.actor(), title::family(&id));
    let (objects, channel, encoder) = (new.objects, new.channel, new.encoder);
    once.write(app, "publish_release", family.clone(), async move |tx: &mut Tx| {
        if let Some(there) = release::get(tx, &id, &version).await? {
            if there.document != document || there.channel != channel {
                return Err(ApiCode::ReleaseExists.into());
            }
            let objects = release::objects(tx, &id, &version).await?;
            return Ok(Reply::ok(&ReleaseDocument::of(&id, there, objects)));
        }
        let number = release::last_number(tx, &id).await? + 1;
        let row = Release {
            version: version.clone(),
            channel: channel.clone(),
            number,
            document: document.clone(),
            generation: signed.generation,
            created_at: now,
            said: said.clone(),
            encoder: encoder.clone(),
        };
        if !release::insert(tx, &id, &row).await? {
            return Err(tx.conflict("the list of releases").into());
        }
        for object in &objects {
            release::insert_object(tx, &id, &version, object).await?;
        }
        let detail = json!({ "version": version, "channel": row.channel, "number": number, "objects": objects.len(), "manifest": signed.manifest.object,
                             "critical": said.critical, "rollout": said.rollout, "held": said.held_at.is_some() });
        audit::append(tx, &family, now, &actor, "release.published", &detail).await?;
        Ok(Reply::created(&ReleaseDocument::of(&id, row, objects.clone())))
    })
    .await
}

/// What the document says, which its publisher has signed and which is of this title.
async fn signed(tx: &mut Tx, scope: &Scope, name: &TitleId, document: &str) -> Result<format::Release, Problem> {
    let title = title::get(tx, scope, name).await?.ok_or(ApiCode::NotFound)?;
    let owner = publisher::get(tx, scope, &title.publisher).await?.ok_or(ApiCode::NotFound)?;
    let key = owner.key.ok_or_else(|| wrong("the publisher has handed in no key; PUT it to /v1/publishers/{publisher}/key"))?;
    let signed = format::Release::verify(document, |kid| (kid == owner.id.as_str()).then_some(key)).map_err(wrong)?;
    if signed.title != name.as_str() {
        return Err(wrong(format_args!("the document is of title {:?}", signed.title)));
    }
    if content_key::get(tx, name, signed.generation).await?.is_none() {
        return Err(wrong(format_args!("the title has no content key of generation {}", signed.generation)));
    }
    if json!(signed.kind) != json!(title.kind) {
        return Err(wrong(format_args!("the title is a {}, the document says otherwise", title.kind)));
    }
    Ok(signed)
}

/// What is said with it from the start.
fn said(new: &NewRelease, now: i64) -> Result<Said, Problem> {
    check_notes(&new.notes)?;
    check_rollout(new.rollout)?;
    if new.encoder.len() > MAX_ENCODER || new.encoder.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(wrong(format_args!("`encoder` is at most {MAX_ENCODER} printable ASCII characters, such as `zstd 1.5.7 level 3`")));
    }
    let (notes, critical, rollout) = (new.notes.clone(), new.critical, new.rollout);
    Ok(Said { notes, critical, rollout, held_at: new.held.then_some(now), ..Said::default() })
}

/// The manifest is among the objects, no object is named twice, and each lies in the store with the length that it should have.
async fn check_objects(blobs: &Blobs, signed: &format::Release, objects: &[ReleaseObject]) -> Result<(), Problem> {
    if objects.len() > MAX_OBJECTS {
        return Err(wrong(format_args!("a release has at most {MAX_OBJECTS} objects")));
    }
    if !objects.iter().any(|object| object.object == signed.manifest.object && object.length == signed.manifest.length) {
        return Err(wrong("the manifest that the document names is not among the objects"));
    }
    let mut names = BTreeSet::new();
    let mut missing: Vec<ObjectName> = vec![];
    for object in objects {
        if !names.insert(object.object) {
            return Err(wrong(format_args!("object {} is named twice", object.object)));
        }
        match blobs.length(object.object).await? {
            Some(length) if length == object.length => {}
            Some(length) => return Err(wrong(format_args!("object {} has {length} bytes, not {}", object.object, object.length))),
            None => missing.push(object.object),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = missing.iter().take(NAMED).map(ToString::to_string).collect();
    Err(wrong(format_args!("{} objects are not in the contents store; upload them first: {}", missing.len(), named.join(", "))))
}

fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, what.to_string())
}
