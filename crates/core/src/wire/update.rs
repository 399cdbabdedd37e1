//! Updates (A5, A6, A8, A10, A12): what a terminal says it has, what the authority answers, and the keys for it.

use std::collections::BTreeMap;

use super::{GrantDocument, TitleOnMedium};
use crate::{
    CardId, Channel, ContentsServerId, DeviceId, DriveId, GrantId, JobId, MediumId, Refusal, ReleaseVersion, Rights, Timestamp, TitleId,
    UserId,
};
use serde::{Deserialize, Serialize};

/// What a program or a medium keeps of its own progress: names of 1 to 64 of `a–z 0–9 _ . -` with texts, numbers or truth values.
pub type Variables = BTreeMap<String, Variable>;

/// A value of a status variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// `true`, `false`.
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// Text, 1,024 bytes at most.
    Text(String),
}

impl Eq for Variable {}

/// A5, A6: what a device holds. Signed by the device where the entry has one, else by the holder; by a medium's claim secret where
/// it is a medium that is to be brought up to date (A12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// As received at registration; absent where a medium asks for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<UserId>,
    /// The device that asks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
    /// The medium whose own content area is asked for (A12), or that the status was kept under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// What its chunks are compressed by, such as `zstd 1.5.7`: patches made with another are of no use here.
    pub encoder: String,
    /// Title by title; [`Report::MOST`] at most.
    pub titles: Vec<Status>,
}

impl Report {
    /// Titles in one report; more take more reports.
    pub const MOST: usize = 200;
}

/// A6: the status of one title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of what.
    pub title: TitleId,
    /// By which grant the library holds it; absent on a medium.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grant_id: Option<GrantId>,
    /// The medium that it was copied from: the grant is recorded there. Absent where it was bought.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// The release that is complete and current.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// Chunks of it that are known to be damaged or missing, as ranges of the manifest's indices: first, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub damaged: Vec<(u32, u32)>,
    /// A release that was begun and is not complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub begun: Option<Begun>,
    /// The channel that is followed; `stable` where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub channel: Option<Channel>,
    /// The release that is wanted; the one that the channel offers where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted: Option<ReleaseVersion>,
    /// Sequence of the newest feed that is known here; 0 for none.
    #[serde(default)]
    pub feed: u64,
    /// Progress variables, as the program or the user set them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub variables: Variables,
}

/// A release that is half here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Which.
    pub release: ReleaseVersion,
    /// Sealed bytes of it that lie in the library already.
    pub have: u64,
    /// Bytes of patches for it that were fetched already.
    #[serde(default)]
    pub fetched: u64,
}

/// What the authority answers a report with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportResult {
    /// One for each title, in the order of the report.
    pub plans: Vec<Plan>,
    /// Supplementary titles that the status selects (A6, A10), and that the user did not have: to be installed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub selected: Vec<Selected>,
    /// Contents servers that select for themselves (A10), with what they are to be shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contents: Vec<ContentsServer>,
}

/// A5: what brings one title up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Of what.
    pub title: TitleId,
    /// Why there is none. Nothing of what follows is there then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<Refusal>,
    /// The release to go to; absent where what is there is what should be there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<ReleaseOnOffer>,
    /// The ways to it, cheapest first: the first is to be taken, the others are to be fallen back on.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub ways: Vec<Way>,
    /// The publisher's feed, a compact JWS; absent where the one that is known is the newest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub feed: Option<String>,
    /// The authority's word that this feed is the newest, a compact JWS; absent where the title has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fresh: Option<String>,
    /// What the release consists of, where it is to be brought onto a medium (A12): who does that need not have any key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content: Option<ContentOnOffer>,
}

/// A release as it lies at the contents servers and on media, sealed under the content key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentOnOffer {
    /// The release document, a compact JWS by the publisher.
    pub document: String,
    /// Manifest and packs; [`ContentOnOffer::MOST`] at most, or else nothing is said.
    pub objects: Vec<ObjectOnOffer>,
}

impl ContentOnOffer {
    /// Objects of one release that an answer has room for.
    pub const MOST: usize = 8000;
}

/// An object at the contents servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectOnOffer {
    /// Its name, 64 hexadecimal digits.
    pub object: String,
    /// In bytes.
    pub length: u64,
}

/// A release as it is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseOnOffer {
    /// Which.
    pub version: ReleaseVersion,
    /// For people: what is new.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub notes: String,
    /// It mends something dangerous.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub critical: bool,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of its packs and its manifest.
    pub packed: u64,
    /// What its chunks were compressed by, such as `zstd 1.5.7 level 3`.
    pub encoder: String,
    /// When it was published.
    pub published_at: Timestamp,
}

/// A way from what is there to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// What it does.
    pub kind: WayKind,
    /// Patches, to be applied in this order, each to a complete release of its own.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub patches: Vec<PatchOnOffer>,
    /// Bytes to fetch.
    pub fetch: u64,
    /// Sealed bytes of the release that are in the library already.
    pub reuse: u64,
    /// Bytes to write to the library.
    pub write: u64,
}

/// Ways, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayKind {
    /// Damaged chunks are fetched, nothing else.
    Heal,
    /// One patch, from what is there to what should be.
    Patch,
    /// Several patches, one after the other.
    Chain,
    /// Damaged chunks first, then one patch or several.
    HealAndPatch,
    /// The chunks that are missing.
    Chunks,
    /// Everything.
    Full,
}

/// A patch at the contents servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchOnOffer {
    /// The release that it is applied to.
    pub from: ReleaseVersion,
    /// The release that comes of it.
    pub to: ReleaseVersion,
    /// Its name as an object, 64 hexadecimal digits.
    pub object: String,
    /// In bytes.
    pub length: u64,
}

/// Supplementary contents that a status selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// What; the user has an entitlement to it now.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// The title whose status selected it.
    pub because_of: TitleId,
}

/// A contents server to be shown a status (A10): it is sent [`ShowStatus`], and answers with a compact JWS of [`SelectionClaims`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentsServer {
    /// Where it is reached, without a trailing slash; absent where only the authority reaches it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// Its ID at the authority.
    pub id: ContentsServerId,
    /// The title whose status it is to be shown.
    pub title: TitleId,
    /// The verdict token: a JWT by the authority, `typ: counterfoil-verdict+jwt`, for this contents server alone.
    pub verdict: String,
}

/// `typ` of [`VerdictClaims`].
pub const VERDICT_TYP: &str = "counterfoil-verdict+jwt";
/// `typ` of [`SelectionClaims`].
pub const SELECTION_TYP: &str = "counterfoil-selection+jwt";

/// What a contents server is told of whoever asks it, signed by the authority (EdDSA): that somebody has a title, not who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictClaims {
    /// The authority's name.
    pub iss: String,
    /// The contents server's ID: nobody else accepts it.
    pub aud: ContentsServerId,
    /// Always the same for one user at one contents server, and another at each.
    pub sub: String,
    /// The title that the user has.
    pub title: TitleId,
    /// The release that the device reports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// What the medium allows that the title came from.
    pub rights: Rights,
    /// Seconds since 1970 UTC.
    pub iat: i64,
    /// Seconds since 1970 UTC, ten minutes later.
    pub exp: i64,
    /// Names the question: one answer to it counts.
    pub jti: String,
}

/// What a contents server is asked with: `POST {url}/v1/select`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowStatus {
    /// A compact JWS of [`VerdictClaims`].
    pub verdict: String,
    /// The status, without anything that names user, device or medium.
    pub status: ShownStatus,
}

/// As much of a status as a contents server is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStatus {
    /// Of what.
    pub title: TitleId,
    /// The release that is complete and current.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// The channel that is followed.
    pub channel: Channel,
    /// Progress variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub variables: Variables,
}

impl From<&Status> for ShownStatus {
    fn from(status: &Status) -> Self {
        Self {
            title: status.title.clone(),
            release: status.release.clone(),
            channel: status.channel.clone().unwrap_or_default(),
            variables: status.variables.clone(),
        }
    }
}

/// What a contents server answers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// A compact JWS of [`SelectionClaims`].
    pub selection: String,
}

/// What a contents server has selected, signed by its key, `kid` its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionClaims {
    /// The contents server's ID.
    pub iss: ContentsServerId,
    /// The authority's name.
    pub aud: String,
    /// That of the verdict which was shown.
    pub jti: String,
    /// Seconds since 1970 UTC.
    pub exp: i64,
    /// Titles of its list; none where nothing fits.
    pub titles: Vec<TitleId>,
}

/// Hands in what a contents server has selected (A10). Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandIn {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
    /// The verdict that the contents server was shown.
    pub verdict: String,
    /// What it answered with, a compact JWS of [`SelectionClaims`].
    pub selection: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandInResult {
    /// As in [`ReportResult::selected`].
    pub selected: Vec<Selected>,
}

/// The keys to a release for a grant that stands (A5). Signed as `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskUpdate {
    /// As received at registration.
    pub user_id: UserId,
    /// The medium that was copied; absent where a license was installed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// The grant that the library holds the title by.
    pub grant_id: GrantId,
    /// The device that holds the library, where one is registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
    /// The drive of the library, where one is registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drive_id: Option<DriveId>,
    /// Which release.
    pub release: ReleaseVersion,
}

/// The same grant and the same library key, with the content key for as long as the update takes; it is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateResult {
    /// As at the claim or the installation: the same grant ID, sealed anew.
    pub grant: GrantDocument,
    /// The title with its release and its publisher.
    pub title: TitleOnMedium,
    /// The release document, a compact JWS by the publisher.
    pub release: String,
}

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
