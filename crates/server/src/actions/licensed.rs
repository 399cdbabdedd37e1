//! The license itself: the document that says what a device may run and until when, signed for anybody to verify (D6).

use counterfoil_core::license::{LICENSE_TYP, License, LicensedDevice};
use counterfoil_core::rules::license::Lease;
use counterfoil_core::title::Channel;
use counterfoil_core::wire::{PublisherOnMedium, TitleOnMedium};
use counterfoil_core::{GrantId, ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::encoding::to_base64url;

use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::license::LicenseRow;
use crate::store::title::Title;
use crate::store::{publisher, release};

/// The newest release of a title: on the channel for everybody, or where there is none, on any.
///
/// # Errors
/// A failure of the database.
pub async fn newest(tx: &mut Tx, title: &TitleId) -> Result<Option<ReleaseVersion>, DbError> {
    if let Some(stable) = release::newest(tx, title, &Channel::default()).await? {
        return Ok(Some(stable.version));
    }
    Ok(release::newest_of_all(tx, title).await?.map(|release| release.version))
}

/// A title with a release and whoever signs it, as a terminal keeps it.
///
/// # Errors
/// A failure of the database; a release without a publisher's key.
pub async fn on_medium(tx: &mut Tx, title: Title, release: &ReleaseVersion) -> Result<TitleOnMedium, Problem> {
    let owner = publisher::get(tx, &Scope::All, &title.publisher).await?;
    let key = owner.and_then(|owner| owner.key).ok_or_else(|| Problem::internal(format!("{} has a release and nobody's key", title.id)))?;
    let publisher = PublisherOnMedium { id: title.publisher.into(), key: key.to_string() };
    Ok(TitleOnMedium { title: title.id, name: title.name, kind: title.kind, release: release.clone(), publisher })
}

/// Signs the license of `row` as it is since `grant` was fetched. What `lease` promises must have been written down before.
///
/// # Errors
/// No signing key.
pub fn sign(
    app: &App,
    row: &LicenseRow,
    grant: GrantId,
    newest: &ReleaseVersion,
    lease: &Lease,
    now: Timestamp,
) -> Result<String, Problem> {
    let license = License {
        iss: app.name.clone(),
        sub: row.license,
        jti: to_base64url(&app.rng.bytes::<16>()),
        iat: now.seconds(),
        exp: lease.until.map(Timestamp::seconds),
        grace: Timestamp(lease.grace).seconds(),
        ends: lease.ends,
        cnf: LicensedDevice { kid: row.device },
        title: row.title.clone(),
        release: newest.clone(),
        grant,
        trial: row.trial,
        devices: row.policy.devices,
        control_program: row.policy.control_program,
        attributes: row.policy.attributes.clone(),
    };
    Ok(app.keys.sign(LICENSE_TYP, &license, now)?)
}
