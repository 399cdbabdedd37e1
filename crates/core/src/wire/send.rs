//! Sending (A2): a title to another of the user's devices, and how far that one is.

use crate::{CardId, DeviceId, JobId, ReleaseVersion, Timestamp, TitleId, UserId};
use serde::{Deserialize, Serialize};

/// A2: has another of the user's devices install or update a title. Signed by the device, and by the card where the entry has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// As received at registration.
    pub user_id: UserId,
    /// The card, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that asks.
    pub device_id: DeviceId,
    /// The device that is to have it.
    pub to: DeviceId,
    /// What.
    pub title: TitleId,
    /// Which release; the one that its channel offers where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
}

/// The other device has a job now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendResult {
    /// Which.
    pub job_id: JobId,
}

/// How far jobs are that this device has sent to others. Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Which; all of the last days where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job_id: Option<JobId>,
}

/// Newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentResult {
    /// Job by job.
    pub jobs: Vec<SentJob>,
}

/// A job at another device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentJob {
    /// Which.
    pub job_id: JobId,
    /// What.
    pub title: TitleId,
    /// Where.
    pub device_id: DeviceId,
    /// Since when.
    pub since: Timestamp,
    /// How far it is, as the device last said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<JobProgress>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub done_at: Option<Timestamp>,
    /// What went wrong for good: a stable code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
}

/// How far a device is with a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Which.
    pub job_id: JobId,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}
