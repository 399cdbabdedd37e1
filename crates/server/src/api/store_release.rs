//! `/v1/store/titles/{title}/releases/{version}`: what a release consists of, for whoever carries it to where there is no network (D4, C18).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderName;
use counterfoil_core::{Kind, ReleaseVersion, TitleId};
use serde::Serialize;
use utoipa::ToSchema;

use super::store::A_MINUTE;
use crate::app::App;
use crate::auth::Scope;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::release::{self, ReleaseObject};
use crate::store::{listing, publisher, title};

/// Who signs a release.
#[derive(Serialize, ToSchema)]
pub struct ReleasePublisher {
    /// By name; also the `kid` of the signature.
    pub id: String,
    /// Ed25519, 32 bytes base64url.
    pub key: String,
}

/// A release of a title that is sold. What it names is at the contents servers, sealed.
#[derive(Serialize, ToSchema)]
pub struct ReleaseOnSale {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `game`, `music`, `movie` or `app`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// Who signs it.
    pub publisher: ReleasePublisher,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// The manifest and the packs, by name.
    #[schema(value_type = Vec<super::releases::ReleaseObjectDocument>)]
    pub objects: Vec<ReleaseObject>,
}

/// One release of a title that is sold.
#[utoipa::path(
    get, path = "/v1/store/titles/{title}/releases/{version}", tag = "store", operation_id = "get_store_release",
    params(("title" = String, Path, description = "Its name"), ("version" = String, Path, description = "Which")),
    responses((status = 200, body = ReleaseOnSale), (status = 404)),
)]
pub async fn get(
    State(app): State<App>,
    Path((id, version)): Path<(String, String)>,
) -> Result<([(HeaderName, &'static str); 1], Json<ReleaseOnSale>), Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let version: ReleaseVersion = version.parse().map_err(|_| ApiCode::NotFound)?;
    let found = app
        .db
        .read_lagging("store_release", async move |tx: &mut Tx| -> Result<ReleaseOnSale, Problem> {
            let listed = listing::get(tx, &id).await?;
            listed.filter(|(listing, _)| listing.on_sale).ok_or(ApiCode::NotFound)?;
            let title = title::get(tx, &Scope::All, &id).await?.ok_or(ApiCode::NotFound)?;
            let row = release::get(tx, &id, &version).await?.ok_or(ApiCode::NotFound)?;
            if row.said.withdrawn_at.is_some() {
                return Err(ApiCode::NotFound.into());
            }
            let owner = publisher::get(tx, &Scope::All, &title.publisher).await?;
            let key = owner.and_then(|owner| owner.key).ok_or_else(|| Problem::internal(format!("{id} has a release and nobody's key")))?;
            let publisher = ReleasePublisher { id: title.publisher.into(), key: key.to_string() };
            let objects = release::objects(tx, &id, &version).await?;
            let version = version.clone();
            Ok(ReleaseOnSale { title: id.clone(), name: title.name, kind: title.kind, version, publisher, document: row.document, objects })
        })
        .await?;
    Ok((A_MINUTE, Json(found)))
}
