//! What the authority has to do for a device, and what came of it (A2, D9).

use super::JobProgress;
use crate::{DeviceId, JobId, LicenseId, ReleaseVersion, Timestamp, TitleId, TransactionId, UserId};
use serde::{Deserialize, Serialize};

/// Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Jobs that have come to their end since.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub done: Vec<JobDone>,
    /// Jobs that are under way.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub progress: Vec<JobProgress>,
}

impl Inbox {
    /// Jobs in one answer, and ends in one request; more take more requests.
    pub const MOST: usize = 100;
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDone {
    /// Which.
    pub job_id: JobId,
    /// Nothing where it was done; else the stable code of what went wrong for good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxResult {
    /// Oldest first, [`super::Inbox::MOST`] at most.
    pub jobs: Vec<Job>,
}

/// Something for a device to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub job_id: JobId,
    /// Since when it waits.
    pub since: Timestamp,
    /// What.
    #[serde(flatten)]
    pub work: Work,
}

/// What a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// D9: install a title that was bought for, or moved to, this device.
    Install {
        /// What.
        title: TitleId,
        /// By which license.
        license_id: LicenseId,
        /// The transaction ID of the license, where one was issued already.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        transaction_id: Option<TransactionId>,
        /// Which release; the newest where none is named.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        release: Option<ReleaseVersion>,
    },
    /// A license has ended on this device: it was moved, given back or taken back.
    End {
        /// Of what.
        title: TitleId,
        /// Which.
        license_id: LicenseId,
    },
    /// A2, A5: bring a title up to date, or to the release that is named.
    Update {
        /// What.
        title: TitleId,
        /// Which release; the one that its channel offers where none is named.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        release: Option<ReleaseVersion>,
    },
}
