//! What is known of what a report names: by what right it is held, and what has been published of it.

use std::collections::HashMap;
use std::sync::Arc;

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::rules::{license as license_rules, rights as rules};
use counterfoil_core::wire::{Report, Status};
use counterfoil_core::{BatchId, Code, DeviceId, GrantId, MediumId, Refusal, Rights, Timestamp, TitleId, UserId};

use super::Asking;
use crate::app::App;
use crate::catalogue::Catalogue;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::feed::{self, Feed};
use crate::store::grant::{self, GrantRow};
use crate::store::license::{self, LicenseRow};
use crate::store::medium::{self, Known};
use crate::store::status::{self, StatusRow};

/// Everything that plans are made of.
pub(super) struct Facts {
    /// In the order of the report.
    pub titles: Vec<Held>,
    /// What the device said before.
    pub before: HashMap<TitleId, StatusRow>,
}

/// One title of a report.
pub(super) struct Held {
    /// By what right, or why not.
    pub found: Result<Found, Refusal>,
    feed: Option<Feed>,
}

impl Held {
    /// The newest feed of the title.
    pub fn feed(&self) -> Option<Feed> {
        self.feed.clone()
    }
}

/// A title that is held by right.
pub(super) struct Found {
    /// What has been published of it.
    pub catalogue: Arc<Catalogue>,
    /// The batch of the medium that it was copied from, or lies on.
    pub batch: Option<BatchId>,
    /// What the medium allows; everything, where it was bought.
    pub rights: Rights,
    /// Whether it lies on a medium, in packs that are whole.
    pub on_medium: bool,
}

impl Found {
    /// The number of the release that is held; 0 for none that is known.
    pub fn number(&self, status: &Status) -> i64 {
        let index = status.release.as_ref().and_then(|version| self.catalogue.find(version));
        index.map_or(0, |index| self.catalogue.candidates[index].number)
    }
}

/// Reads all of it in one transaction.
pub(super) async fn load(app: &App, asking: &Asking, ask: &Report, now: Timestamp) -> Result<Facts, Problem> {
    let (parts, ask) = (app.clone(), ask.clone());
    let (user, device, medium) = (asking.user, asking.device, asking.medium.clone());
    app.db
        .read("report facts", async move |tx: &mut Tx| -> Result<Facts, Problem> {
            let mut holdings =
                Holdings { now, user, device, medium: medium.clone(), grants: HashMap::new(), known: HashMap::new(), licenses: None };
            let mut titles = vec![];
            for reported in &ask.titles {
                let found = match holdings.right(tx, reported).await? {
                    Ok((batch, rights)) => match parts.catalogues.of(tx, &reported.title).await? {
                        Some(catalogue) => Ok(Found { catalogue, batch, rights, on_medium: reported.grant_id.is_none() }),
                        None => Err(Code::NotEntitled.into()),
                    },
                    Err(refusal) => Err(refusal),
                };
                let feed = if found.is_ok() { feed::get(tx, &reported.title).await? } else { None };
                titles.push(Held { found, feed });
            }
            let before = match user {
                Some(user) => status::of_device(tx, user, device).await?,
                None => vec![],
            };
            Ok(Facts { titles, before: before.into_iter().map(|row| (row.title.clone(), row)).collect() })
        })
        .await
}

/// What the user, or the medium, has; read once, however many titles are reported.
struct Holdings {
    now: Timestamp,
    user: Option<UserId>,
    device: Option<DeviceId>,
    medium: Option<(MediumId, Known)>,
    grants: HashMap<MediumId, Vec<GrantRow>>,
    known: HashMap<MediumId, Option<Known>>,
    licenses: Option<Vec<LicenseRow>>,
}

/// The batch of the medium, where there is one, and what is allowed.
type Right = (Option<BatchId>, Rights);

impl Holdings {
    async fn right(&mut self, tx: &mut Tx, reported: &Status) -> Result<Result<Right, Refusal>, Problem> {
        let right = match (reported.grant_id, &reported.medium_id, self.user) {
            (Some(grant), Some(medium), Some(user)) => self.copied(tx, user, grant, medium, &reported.title).await?,
            (Some(grant), None, Some(user)) => self.installed(tx, user, grant, &reported.title).await?,
            _ => self.on_medium(tx, &reported.title).await?,
        };
        Ok(right.and_then(|(batch, rights)| rules::plan(&rights).map(|()| (batch, rights))))
    }

    async fn copied(
        &mut self,
        tx: &mut Tx,
        user: UserId,
        grant: GrantId,
        medium: &MediumId,
        title: &TitleId,
    ) -> Result<Result<Right, Refusal>, Problem> {
        if !self.grants.contains_key(medium) {
            self.grants.insert(medium.clone(), grant::of_user(tx, medium, &user.to_string()).await?);
            self.known.insert(medium.clone(), medium::known(tx, medium).await?);
        }
        let rows = self.grants.get(medium).map_or(&[][..], Vec::as_slice);
        let stands = |row: &&GrantRow| {
            row.grant == grant
                && row.title == *title
                && row.device == self.device
                && matches!(row.state, GrantState::Delivered | GrantState::Settled)
        };
        let known = self.known.get(medium).and_then(Option::as_ref);
        Ok(match (rows.iter().find(stands), known) {
            (Some(_), Some(known)) => Ok((Some(known.batch), known.rights.clone())),
            _ => Err(Code::GrantUnknown.into()),
        })
    }

    async fn installed(&mut self, tx: &mut Tx, user: UserId, grant: GrantId, title: &TitleId) -> Result<Result<Right, Refusal>, Problem> {
        let Some(device) = self.device else { return Ok(Err(Code::GrantUnknown.into())) };
        if self.licenses.is_none() {
            self.licenses = Some(license::at_device(tx, user, device).await?);
        }
        let rows = self.licenses.as_deref().unwrap_or_default();
        let row = rows.iter().find(|row| row.title == *title && row.grant.as_ref().is_some_and(|of| of.grant == grant));
        let good = license_rules::renew(row.map(LicenseRow::facts).as_ref(), device, self.now);
        Ok(good.map(|_| (None, Rights::default())))
    }

    async fn on_medium(&self, tx: &mut Tx, title: &TitleId) -> Result<Result<Right, Refusal>, Problem> {
        let Some((_, known)) = &self.medium else { return Ok(Err(Code::GrantUnknown.into())) };
        let is_on_it = medium::titles(tx, known.batch).await?.iter().any(|pressed| pressed.title == *title);
        Ok(if is_on_it { Ok((Some(known.batch), known.rights.clone())) } else { Err(Code::NotEntitled.into()) })
    }
}
