//! One page of what stands: copies of media first, then licenses, each in the order of their IDs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::rules::license::{LicenseState, is_over};
use counterfoil_core::rules::reissue::{Carried, Held, carried};
use counterfoil_core::{DeviceId, DriveId, GrantId, LicenseId, MediumId, Timestamp, TitleId, UserId};

use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::grant::{self, GrantRow};
use crate::store::license::{self, LicenseRow};
use crate::store::medium::{self, MediumRow};
use crate::store::user::DeviceRow;
use crate::store::{content_key, entitlement};

/// Grants of a page, at most.
const PAGE: i64 = 100;

/// Where a page begins: after this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Nothing.
    Begin,
    /// This copy.
    Copy(MediumId, GrantId),
    /// All copies, and this license.
    License(Option<LicenseId>),
}

/// What stands for all copies being done with, where no license is.
const COPIES_DONE: &str = "licenses";

impl Cursor {
    /// From the request; `None` for what no answer has said.
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::Begin) };
        if text == COPIES_DONE {
            return Some(Self::License(None));
        }
        match text.rsplit_once('/') {
            Some((medium, grant)) => Some(Self::Copy(medium.parse().ok()?, grant.parse().ok()?)),
            None => Some(Self::License(Some(text.parse().ok()?))),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => Ok(()),
            Self::Copy(medium, grant) => write!(f, "{medium}/{grant}"),
            Self::License(None) => f.write_str(COPIES_DONE),
            Self::License(Some(license)) => write!(f, "{license}"),
        }
    }
}

/// Where a grant came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A copy of a medium.
    Medium(MediumId),
    /// A license.
    License(LicenseId),
}

/// A grant that stands, as it is kept.
pub(super) struct Standing {
    pub(super) source: Source,
    pub(super) grant: GrantId,
    pub(super) title: TitleId,
    pub(super) generation: u32,
    pub(super) device: Option<DeviceId>,
    pub(super) drive: Option<DriveId>,
    /// Wrapped.
    pub(super) library_key: Vec<u8>,
    /// Wrapped; where the copy or installation may be under way.
    pub(super) content_key: Option<Vec<u8>>,
    pub(super) issued_at: Timestamp,
}

/// A page.
pub(super) struct Page {
    pub(super) standing: Vec<Standing>,
    /// The devices of the entry.
    pub(super) devices: BTreeMap<DeviceId, DeviceRow>,
    /// Where the next one begins.
    pub(super) more: Option<Cursor>,
    drives: BTreeSet<DriveId>,
    now: Timestamp,
}

impl Page {
    pub(super) async fn load(
        tx: &mut Tx,
        user: UserId,
        cursor: &Cursor,
        (devices, drives): (Vec<DeviceRow>, Vec<DriveId>),
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let devices = devices.into_iter().map(|row| (row.device, row)).collect();
        let mut page = Self { standing: vec![], devices, more: None, drives: drives.into_iter().collect(), now };
        let after = match cursor {
            Cursor::Begin => page.copies(tx, user, None).await?,
            Cursor::Copy(medium, grant) => page.copies(tx, user, Some((medium.clone(), *grant))).await?,
            Cursor::License(after) => Some(*after),
        };
        if let Some(after) = after {
            page.licenses(tx, user, after).await?;
        }
        Ok(page)
    }

    /// Copies; answers with where licenses begin, where there is room for any.
    async fn copies(
        &mut self,
        tx: &mut Tx,
        user: UserId,
        after: Option<(MediumId, GrantId)>,
    ) -> Result<Option<Option<LicenseId>>, Problem> {
        let mut rows = entitlement::of_media(tx, user, after.as_ref(), PAGE + 1).await?;
        let more = rows.len() > PAGE as usize;
        rows.truncate(PAGE as usize);
        for (medium, id) in &rows {
            if let Some(row) = grant::find(tx, medium, *id).await?
                && row.user == user
            {
                self.copy(tx, medium, row).await?;
            }
        }
        self.more = match rows.pop() {
            Some((medium, grant)) if more => Some(Cursor::Copy(medium, grant)),
            _ if self.is_full() => Some(Cursor::License(None)),
            _ => return Ok(Some(None)),
        };
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.standing.len() >= PAGE as usize
    }

    async fn copy(&mut self, tx: &mut Tx, medium: &MediumId, row: GrantRow) -> Result<(), Problem> {
        let bound_here = row.device.is_none_or(|device| self.devices.contains_key(&device))
            && row.drive.is_none_or(|drive| self.drives.contains(&drive));
        // Whether it was taken out of use matters to copies under way alone.
        let under_way = matches!(row.state, GrantState::Issued | GrantState::Delivered);
        let retired = under_way && medium::find(tx, medium).await?.as_ref().is_some_and(MediumRow::is_retired);
        let Some(carried) = carried(Held { state: row.state, active: true, bound_here, retired }) else { return Ok(()) };
        let content_key = content_key_of(tx, carried, &row.title, row.generation).await?;
        self.standing.push(Standing {
            source: Source::Medium(medium.clone()),
            grant: row.grant,
            title: row.title,
            generation: row.generation,
            device: row.device,
            drive: row.drive,
            library_key: row.library_key,
            content_key,
            issued_at: row.issued_at,
        });
        Ok(())
    }

    async fn licenses(&mut self, tx: &mut Tx, user: UserId, after: Option<LicenseId>) -> Result<(), Problem> {
        let room = PAGE - self.standing.len() as i64;
        let mut rows = license::fetched(tx, user, after, room + 1).await?;
        let more = rows.len() as i64 > room;
        rows.truncate(room as usize);
        self.more = rows.last().filter(|_| more).map(|row| Cursor::License(Some(row.license)));
        for row in rows {
            self.license(tx, row).await?;
        }
        Ok(())
    }

    async fn license(&mut self, tx: &mut Tx, row: LicenseRow) -> Result<(), Problem> {
        let state = match row.state {
            LicenseState::Delivered => GrantState::Delivered,
            LicenseState::Settled => GrantState::Settled,
            LicenseState::Registered | LicenseState::Issued | LicenseState::Ended => return Ok(()),
        };
        let (Some(grant), Some(generation)) = (row.grant, row.generation) else { return Ok(()) };
        let bound_here = self.devices.contains_key(&row.device) && grant.drive.is_none_or(|drive| self.drives.contains(&drive));
        let active = row.active && !is_over(row.expires_at, self.now);
        let Some(carried) = carried(Held { state, active, bound_here, retired: false }) else { return Ok(()) };
        let content_key = content_key_of(tx, carried, &row.title, generation).await?;
        self.standing.push(Standing {
            source: Source::License(row.license),
            grant: grant.grant,
            title: row.title,
            generation,
            device: Some(row.device),
            drive: grant.drive,
            library_key: grant.library_key,
            content_key,
            issued_at: grant.issued_at,
        });
        Ok(())
    }
}

async fn content_key_of(tx: &mut Tx, carried: Carried, title: &TitleId, generation: u32) -> Result<Option<Vec<u8>>, Problem> {
    if carried == Carried::Library {
        return Ok(None);
    }
    let key: Result<_, DbError> = content_key::get(tx, title, generation).await;
    key?.map(Some).ok_or_else(|| Problem::internal(format!("a grant of {title} without its content key")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let medium = MediumId::pressed(counterfoil_core::BatchId([1; 8]), 7);
        let (grant, license) = (GrantId::from_bytes([2; 16]), LicenseId::from_bytes([3; 16]));
        for cursor in [Cursor::Copy(medium, grant), Cursor::License(None), Cursor::License(Some(license))] {
            assert_eq!(Cursor::parse(Some(&cursor.to_string())), Some(cursor));
        }
        assert_eq!(Cursor::parse(None), Some(Cursor::Begin));
        for wrong in ["", "/", "x", "med/grt", &grant.to_string()] {
            assert_eq!(Cursor::parse(Some(wrong)), None, "{wrong}");
        }
    }
}
