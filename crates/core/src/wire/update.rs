//! Updates (A5, A6, A12): what a terminal says it has, what the authority answers, and the keys for it.

use std::collections::BTreeMap;

use super::{ContentsServer, GrantDocument, Selected, TitleOnMedium};
use crate::{Channel, DeviceId, DriveId, GrantId, MediumId, Refusal, ReleaseVersion, Timestamp, TitleId, UserId};
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
    /// Whether it knows [`WayKind::Deltas`]: who does not is not offered it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deltas: bool,
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
    /// Patches, to be applied in this order, each to a complete release of its own; of [`WayKind::Deltas`], the one object of deltas.
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
    /// The chunks that are missing, as far as they were prepared so: written against what is there.
    Deltas,
    /// The chunks that are missing.
    Chunks,
    /// Everything.
    Full,
}

/// A patch, or an object of deltas, at the contents servers.
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
