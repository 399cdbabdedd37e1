//! What publishing asks of the authority: the title, its content key, the place of the release.

use counterfoil_core::{Channel, Kind, TitleId};
use counterfoil_format::content::{self, ContentKey, Encoder, ListedRelease, Published, Release};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::{SealedBox, purpose};
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey};
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::Deserialize;
use serde_json::json;

use super::Saying;
use crate::failure::Failure;
use crate::publisher::api::Api;

#[derive(Deserialize)]
struct Title {
    kind: Kind,
}

#[derive(Deserialize)]
struct KeyAnswer {
    generation: u32,
    #[serde(rename = "box")]
    sealed: SealedBox,
}

/// A release as the authority has it now: what is said of it may have been changed since it was published.
#[derive(Deserialize)]
pub struct Registered {
    notes: String,
    critical: bool,
    withdrawn: bool,
    allow_back: bool,
}

impl Registered {
    /// As the feed lists it.
    pub fn listed(self, release: &Release, channel: &Channel, document: &str) -> ListedRelease {
        let Self { notes, critical, withdrawn, allow_back } = self;
        ListedRelease {
            version: release.version.clone(),
            document: content::ObjectName::of(document.as_bytes()),
            channel: channel.to_string(),
            critical,
            notes,
            withdrawn,
            allow_back,
        }
    }
}

/// The kind of a title that is there; nothing where it is new.
pub fn find_title(api: &Api, title: &TitleId, kind: Option<Kind>) -> Result<Option<Kind>, Failure> {
    let Some(found) = api.find::<Title>(&format!("/v1/titles/{title}"))? else { return Ok(None) };
    match kind {
        Some(kind) if kind != found.kind => {
            Err(Failure::usage(format!("{title} is of kind {} at the authority, not {kind}", found.kind)).hint("Leave `--kind` out."))
        }
        _ => Ok(Some(found.kind)),
    }
}

/// Makes a title.
pub fn make_title(api: &Api, title: &TitleId, name: Option<&str>, kind: Kind, publisher: &str) -> Result<(), Failure> {
    let body = json!({ "title": title, "name": name.unwrap_or(title.as_str()), "kind": kind, "publisher": publisher });
    api.post::<serde_json::Value>("/v1/titles", None, &body).map(|_| ())
}

/// The title's content key with its generation, sealed on its way to a key made for this one answer.
pub fn content_key(api: &Api, title: &TitleId) -> Result<(ContentKey, u32), Failure> {
    let recipient = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let body = json!({ "recipient": to_base64url(recipient.public_key().as_bytes()) });
    let answer: KeyAnswer = api.post(&format!("/v1/titles/{title}/content-key"), None, &body)?;
    let sealed_for = [purpose::CONTENT_KEY, title.as_str(), &answer.generation.to_string()];
    let opened = answer.sealed.open(&recipient, &sealed_for).ok().and_then(|key| Secret::from_slice(&key));
    let secret = opened.ok_or_else(|| Failure::operation("answer_invalid", "the content key that the authority sent does not open"))?;
    Ok((ContentKey::new(secret), answer.generation))
}

/// Registers a release whose objects have been sent.
pub fn register(
    api: &Api,
    release: &Release,
    channel: &Channel,
    saying: &Saying,
    level: i32,
    published: &Published,
    document: &str,
) -> Result<Registered, Failure> {
    let packs = published.manifest.packs().iter().map(|pack| json!({ "object": pack.name, "length": pack.length }));
    let manifest = json!({ "object": release.manifest.object, "length": release.manifest.length });
    let objects: Vec<_> = std::iter::once(manifest).chain(packs).collect();
    let body = json!({
        "document": document,
        "objects": objects,
        "channel": channel,
        "notes": saying.notes.as_deref().unwrap_or_default(),
        "critical": saying.critical,
        "rollout": saying.rollout,
        "held": saying.hold,
        "encoder": Encoder::name_at(level),
    });
    api.post(&format!("/v1/titles/{}/releases", release.title), None, &body)
}

/// Kinds as release documents name them.
pub fn format_kind(kind: Kind) -> content::Kind {
    match kind {
        Kind::Game => content::Kind::Game,
        Kind::Music => content::Kind::Music,
        Kind::Movie => content::Kind::Movie,
        Kind::App => content::Kind::App,
    }
}
