//! What every run stands on: a publisher, a published title, pressed media.

use crate::{
    authority::{Authority, Failure, TITLE},
    random::Dice,
    terminal::Medium,
};
use counterfoil_format::{
    content::{ContentKey, DirectorySink, Kind, PublishOptions, Release, publish},
    grant::{SealedBox, purpose},
    hpke::{DiffieHellman as _, SealingKey},
    secret::{Random as _, Secret, SystemRandom},
    sign::SigningKey,
};
use serde_json::json;
use std::path::Path;

/// Presses `count` media of a small real title, which is published when it is not there yet.
///
/// # Errors
/// What the server refused.
pub fn prepare(authority: &Authority, token: &str, count: u64) -> Result<Vec<Medium>, Failure> {
    if !authority.knows_title(token, TITLE)? {
        publish_title(authority, token, TITLE)?;
    }
    press(authority, token, count)
}

/// Presses `count` media of the title.
///
/// # Errors
/// What the server refused.
pub fn press(authority: &Authority, token: &str, count: u64) -> Result<Vec<Medium>, Failure> {
    let areas = authority.press(token, count)?;
    let media: Vec<Medium> = areas.iter().filter_map(Medium::read).collect();
    if media.len() as u64 == count { Ok(media) } else { Err(Failure::Broken(format!("{} of {count} media pressed", media.len()))) }
}

/// Publishes a title; returns its sealed objects.
///
/// # Errors
/// What the server refused.
pub fn publish_title(authority: &Authority, token: &str, title: &str) -> Result<Objects, Failure> {
    let signing = SigningKey::from_seed(&Secret::random(&mut SystemRandom));
    authority.post(token, "/v1/publishers", json!({ "id": title, "name": "Harness", "key": signing.verifying_key().to_string() }))?;
    authority.post(token, "/v1/titles", json!({ "title": title, "name": "Harness", "kind": "app", "publisher": title }))?;
    let (key, generation) = content_key(authority, token, title)?;
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let (document, objects) = release(directory.path(), title, &key, generation, &signing)?;
    for (name, bytes) in &objects {
        authority.put(token, name, bytes)?;
    }
    let listed: Vec<_> = objects.iter().map(|(name, bytes)| json!({ "object": name, "length": bytes.len() })).collect();
    authority.post(token, &format!("/v1/titles/{title}/releases"), json!({ "document": document, "objects": listed }))?;
    Ok(objects)
}

fn content_key(authority: &Authority, token: &str, title: &str) -> Result<(ContentKey, u32), Failure> {
    let recipient = SealingKey::from_seed(&Secret::random(&mut SystemRandom));
    let path = format!("/v1/titles/{title}/content-key");
    let answer = authority.post(token, &path, json!({ "recipient": recipient.public_key().to_string() }))?;
    let broken = |what: &str| Failure::Broken(format!("content key: {what}"));
    let generation = answer["generation"].as_u64().and_then(|number| u32::try_from(number).ok()).ok_or_else(|| broken("no generation"))?;
    let sealed: SealedBox = serde_json::from_value(answer["box"].clone()).map_err(|error| broken(&error.to_string()))?;
    let opened =
        sealed.open(&recipient, &[purpose::CONTENT_KEY, title, &generation.to_string()]).map_err(|error| broken(&error.to_string()))?;
    let secret = Secret::from_slice(&opened).ok_or_else(|| broken("not 32 bytes"))?;
    Ok((ContentKey::new(secret), generation))
}

/// Name and bytes of each.
pub type Objects = Vec<(String, Vec<u8>)>;

fn release(directory: &Path, title: &str, key: &ContentKey, generation: u32, signing: &SigningKey) -> Result<(String, Objects), Failure> {
    let (tree, store) = (directory.join("tree"), directory.join("store"));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&tree)?;
        std::fs::create_dir_all(&store)?;
        std::fs::write(tree.join("read.me"), "one file is enough for claims")?;
        // Some that does not shrink, so that there are ranges to fetch.
        let mut noise = vec![0; 1 << 20];
        Dice::new(0, 0).fill(&mut noise);
        std::fs::write(tree.join("noise"), noise)
    };
    write().map_err(|error| Failure::Io("writing a title", error))?;
    let mut sink = DirectorySink::new(&store);
    let published = publish(&tree, key, &PublishOptions::default(), &mut sink, &mut |_| {})
        .map_err(|error| Failure::Broken(format!("publishing: {error}")))?;
    let mut objects = vec![(published.reference.object.to_string(), published.sealed_manifest.clone())];
    for pack in &published.packs {
        let bytes = std::fs::read(sink.path(&pack.name)).map_err(|error| Failure::Io("reading a pack", error))?;
        objects.push((pack.name.to_string(), bytes));
    }
    let release = Release {
        title: title.into(),
        version: "1".into(),
        kind: Kind::App,
        entry: None,
        control: None,
        generation,
        size: published.progress.bytes_total,
        files: published.progress.files_total,
        manifest: published.reference,
    };
    Ok((release.sign(title, signing), objects))
}
