//! Where things lie on a medium, be it a directory, a drive or an image (B9): the identity area, then the content area.

use counterfoil_core::TitleId;
use counterfoil_format::content::ObjectName;

/// The identity area, the first of the two: JSON, at most 64 KiB ([`counterfoil_core::wire::IdentityArea`]).
pub const IDENTITY: &str = "identity.json";
/// What stands on a medium without an identity in place of it: JSON, at most 64 KiB ([`counterfoil_core::wire::Notice`]).
pub const NOTICE: &str = "notice.json";
/// A new identity area on its way to the first one's place (B7).
pub const NEXT_IDENTITY: &str = "identity.next.json";
/// The content area, the second: a directory for each title.
pub const CONTENT: &str = "content";
/// Release document of a title, signed by its publisher.
pub const RELEASE: &str = "release.jws";
/// The publisher's list of releases, beside the release document of a title on a medium that was brought up to date (A12).
pub const FEED: &str = "feed.jws";
/// Keys to that release for copies of it, sealed as at the claim, likewise.
pub const UPDATES: &str = "updates.json";
/// What is noted of a title on a medium that can be written (A6, A12). Nothing that is signed or sealed covers it.
pub const STATUS: &str = "status.json";
/// Launcher for people (C20).
pub const START: &str = "START";
/// What this is, for people.
pub const README: &str = "README.txt";
/// Where a client lies, if one was put on the medium (C20).
pub const CLIENT_DIR: &str = "client";
/// The client for this kind of computer.
pub const CLIENT: &str = "client/counterfoil";

/// Directory of a title.
pub fn title(title: &TitleId) -> String {
    format!("{CONTENT}/{title}")
}

/// Release document of a title.
pub fn release(title: &TitleId) -> String {
    format!("{CONTENT}/{title}/{RELEASE}")
}

/// Sealed manifest of a release.
pub fn manifest(title: &TitleId, object: &ObjectName) -> String {
    format!("{CONTENT}/{title}/{object}.manifest")
}

/// One pack of a release.
pub fn pack(title: &TitleId, object: &ObjectName) -> String {
    format!("{CONTENT}/{title}/{object}.pack")
}
