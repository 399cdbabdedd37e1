//! Runs every vector of `tests/vectors/content`, good and hostile.
//!
//! Each set runs against a function that stands for the implementation. Besides the real one, each set is run against variants
//! with a planted bug (the name of a chunk is not checked, bytes behind the end are not noticed, …), which it must catch: a set
//! that passes on a broken implementation tests nothing. `write_vectors` makes the files anew after a change of the format.
mod deltas;
mod make;

use std::fs;
use std::path::PathBuf;

use crate::content_support::hostile::open_by_tag_alone;
use crate::content_support::*;
use counterfoil_format::content::*;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use serde_json::{Value, json};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/content").join(name)
}

fn load(name: &str, at_least: usize) -> Vec<Value> {
    let set: Value = serde_json::from_slice(&fs::read(file(name)).unwrap()).unwrap();
    let cases = set["cases"].as_array().unwrap().clone();
    assert!(cases.len() >= at_least, "{name} has only {} cases", cases.len());
    cases
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn secret(value: &Value) -> [u8; 32] {
    unhex(value).try_into().unwrap()
}

/// Runs each case and compares what came out with what the vector says; returns the names of those that differ.
fn failures(cases: &[Value], run: impl Fn(&Value) -> String) -> Vec<String> {
    let differs = |case: &&Value| run(case) != case["expect"].as_str().unwrap();
    cases.iter().filter(differs).map(|case| case["name"].as_str().unwrap().to_owned()).collect()
}

// --- chunks ---

fn chunk_keys(case: &Value) -> ChunkKeys {
    let content = ContentKey::new(Secret::new(secret(&case["content_key"])));
    match case["library_key"].as_str() {
        None => content.chunk_keys(),
        Some(_) => LibraryKey::new(Secret::new(secret(&case["library_key"]))).chunk_keys(&content.chunk_id_key()),
    }
}

fn open_chunk(case: &Value) -> String {
    let id: ChunkId = case["id"].as_str().unwrap().parse().unwrap();
    let mut sealed = unhex(&case["sealed"]);
    let mut plain = vec![0; case["plain_len"].as_u64().unwrap() as usize];
    let opened = chunk_keys(case).open_in_place(&id, &mut sealed).and_then(|body| Decoder::new().unwrap().decode(body, &mut plain));
    match opened {
        Ok(()) => format!("plain {}", hex(&plain)),
        Err(error) => error.to_string(),
    }
}

/// The chunk's own key, by SPEC.md §1 and §2 alone.
fn chunk_key_by_hand(case: &Value) -> [u8; 32] {
    let seal = match case["library_key"].as_str() {
        None => blake3::derive_key("counterfoil 2026 content v1 chunk seal", &secret(&case["content_key"])),
        Some(_) => blake3::derive_key("counterfoil 2026 library v1 chunk seal", &secret(&case["library_key"])),
    };
    *blake3::keyed_hash(&seal, &unhex(&case["id"])).as_bytes()
}

/// An implementation that forgets the name: the tag alone decides.
fn open_chunk_without_id(case: &Value) -> String {
    let mut plain = vec![0; case["plain_len"].as_u64().unwrap() as usize];
    match open_by_tag_alone(&chunk_key_by_hand(case), &unhex(&case["sealed"])) {
        None => ChunkError::Tag.to_string(),
        Some(body) => match Decoder::new().unwrap().decode(&body, &mut plain) {
            Ok(()) => format!("plain {}", hex(&plain)),
            Err(error) => error.to_string(),
        },
    }
}

#[test]
fn chunks() {
    let cases = load("chunks.json", 14);
    assert_eq!(failures(&cases, open_chunk), [""; 0]);
    let caught = failures(&cases, open_chunk_without_id);
    assert!(caught.iter().any(|name| name.contains("two keys")), "planted bug not caught: {caught:?}");
    assert!(caught.iter().any(|name| name.contains("another name")), "planted bug not caught: {caught:?}");
}

#[test]
fn chunks_open_by_the_words_of_the_specification() {
    let mut opened = 0;
    for case in load("chunks.json", 14).iter().filter(|case| case["expect"].as_str().unwrap().starts_with("plain")) {
        let body = open_by_tag_alone(&chunk_key_by_hand(case), &unhex(&case["sealed"])).unwrap();
        let id_key = blake3::derive_key("counterfoil 2026 content v1 chunk id", &secret(&case["content_key"]));
        assert_eq!(hex(blake3::keyed_hash(&id_key, &body).as_bytes()), case["id"].as_str().unwrap());
        let plain = match body[0] {
            0 => body[1..].to_vec(),
            _ => zstd::stream::decode_all(&body[1..]).unwrap(),
        };
        assert_eq!(format!("plain {}", hex(&plain)), case["expect"].as_str().unwrap());
        opened += 1;
    }
    assert!(opened >= 4);
}

#[test]
fn id_keys_are_wrapped_under_one_library_key() {
    let content = content_key(1);
    let wrapped = library_key(2).wrap_id_key(&content.chunk_id_key());
    let id = content.chunk_id_key().id_of(b"\0body");
    assert_eq!(library_key(2).unwrap_id_key(&wrapped).unwrap().id_of(b"\0body"), id);
    assert!(library_key(3).unwrap_id_key(&wrapped).is_none());
    for at in 0..wrapped.len() {
        let mut flipped = wrapped;
        flipped[at] ^= 1;
        assert!(library_key(2).unwrap_id_key(&flipped).is_none(), "byte {at}");
    }
}

// --- manifests ---

fn parse_manifest(case: &Value) -> String {
    let bytes = unhex(&case["bytes"]);
    match Manifest::parse(&bytes) {
        Ok(manifest) => {
            assert_eq!(manifest.encode(), bytes, "what is accepted has one encoding");
            format!("{} entries, {} chunks, {} bytes", manifest.len(), manifest.chunks().len(), manifest.size())
        }
        Err(error) => error.to_string(),
    }
}

/// An implementation that reads what it needs and does not notice more.
fn parse_manifest_without_tail_check(case: &Value) -> String {
    let mut bytes = unhex(&case["bytes"]);
    loop {
        match Manifest::parse(&bytes) {
            Err(ManifestError::TrailingBytes) => drop(bytes.pop()),
            Ok(manifest) => return format!("{} entries, {} chunks, {} bytes", manifest.len(), manifest.chunks().len(), manifest.size()),
            Err(error) => return error.to_string(),
        }
    }
}

/// An implementation that trusts a signed manifest's paths.
fn parse_manifest_without_path_rules(case: &Value) -> String {
    match Manifest::parse(&unhex(&case["bytes"])) {
        Err(ManifestError::Path(_)) => "accepted".to_owned(),
        _ => parse_manifest(case),
    }
}

#[test]
fn manifests() {
    let cases = load("manifests.json", 45);
    assert_eq!(failures(&cases, parse_manifest), [""; 0]);
    assert_eq!(failures(&cases, parse_manifest_without_tail_check), ["a byte behind the end"]);
    assert!(failures(&cases, parse_manifest_without_path_rules).len() > 20);
}

#[test]
fn every_cut_of_a_good_manifest_is_refused() {
    for case in load("manifests.json", 45).iter().filter(|case| case["expect"].as_str().unwrap().contains("entries, ")) {
        let bytes = unhex(&case["bytes"]);
        for length in 0..bytes.len() {
            assert!(Manifest::parse(&bytes[..length]).is_err(), "{} cut to {length}", case["name"]);
        }
    }
}

// --- packs ---

/// Transcrypts a pack and verifies it; what was written must be a good beginning of the good result whatever happens.
fn transcrypt(case: &Value) -> String {
    let manifest = Manifest::parse(&unhex(&case["manifest"])).unwrap();
    let from = ContentKey::new(Secret::new(secret(&case["content_key"])));
    let to = LibraryKey::new(Secret::new(secret(&case["library_key"]))).chunk_keys(&from.chunk_id_key());
    let source = unhex(&case["pack"]);
    let mut target = Vec::new();
    let outcome = Transcrypter::new(&from.chunk_keys(), &to).pack(&manifest, 0, 0, &source[..], &mut target, |_| {});
    let report = verify_pack(&manifest, 0, &from.chunk_keys(), Some(&source), |_| {});
    assert!(unhex(&case["result"]).starts_with(&target));
    let good = good_prefix(&manifest, 0, &to, &target[..]).unwrap();
    assert_eq!(good.bytes, target.len() as u64);
    let damaged: Vec<u32> = report.damaged.iter().map(|damage| damage.chunk).collect();
    let named = check_object(&source[..], &manifest.packs()[0].name, manifest.packs()[0].length).is_ok();
    let outcome = match outcome {
        Ok(()) => "whole".to_owned(),
        Err(TranscryptError::Chunk { offset, source, .. }) => format!("at {offset}: {source}"),
        Err(TranscryptError::Read { offset, source, .. }) => format!("at {offset}: {:?}", source.kind()),
        Err(error) => error.to_string(),
    };
    format!("{outcome}; damaged {damaged:?}; surplus {}; name fits: {named}", report.surplus)
}

/// An implementation that looks at the chunks that it expects and not behind them.
fn transcrypt_without_tail_check(case: &Value) -> String {
    let mut cut = case.clone();
    let manifest = Manifest::parse(&unhex(&case["manifest"])).unwrap();
    let mut pack = unhex(&case["pack"]);
    pack.truncate(manifest.packs()[0].length as usize);
    cut["pack"] = json!(hex(&pack));
    transcrypt(&cut)
}

#[test]
fn packs() {
    let cases = load("packs.json", 8);
    assert_eq!(failures(&cases, transcrypt), [""; 0]);
    assert_eq!(
        failures(&cases, transcrypt_without_tail_check),
        ["a chunk doubled in the middle", "a chunk doubled at the end", "a byte appended"]
    );
}

// --- releases ---

fn open_release(case: &Value) -> String {
    let publisher = SigningKey::from_seed(&Secret::new([0x51; 32]));
    let opened = Release::verify(case["token"].as_str().unwrap(), |kid| (kid == "pub-1").then(|| publisher.verifying_key()));
    let mut sealed = unhex(&case["manifest"]);
    let keys = ContentKey::new(Secret::new(secret(&case["content_key"]))).chunk_keys();
    let opened = opened.and_then(|release| {
        release.check_manifest_object(&sealed)?;
        release.open_manifest(&keys, &mut sealed)
    });
    match opened {
        Ok(manifest) => format!("{} entries", manifest.len()),
        Err(error) => error.to_string(),
    }
}

/// An implementation that takes the manifest that it is given for the one that was signed.
fn open_release_of_any_manifest(case: &Value) -> String {
    match open_release(case).as_str() {
        error if error.starts_with("sealed manifest is object") => "1 entries".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
fn releases() {
    let cases = load("releases.json", 12);
    assert_eq!(failures(&cases, open_release), [""; 0]);
    assert!(!failures(&cases, open_release_of_any_manifest).is_empty());
}

// --- patches ---

fn open_patch(case: &Value) -> String {
    let key = ContentKey::new(Secret::new(secret(&case["content_key"]))).patch_key();
    let opened = SealedPatch::open(key, unhex(&case["patch"])).and_then(|patch| {
        let mut text = vec![0; patch.size()? as usize];
        patch.read_exact_at(&mut text, 0)?;
        Ok((patch.header().clone(), text))
    });
    match opened {
        Ok((header, text)) => format!(
            "{} to {}, {} level {}, {:?} to {:?}, text {}",
            header.from,
            header.to,
            header.encoder,
            header.level,
            header.old,
            header.new,
            hex(&text)
        ),
        Err(error) => error.to_string(),
    }
}

/// An implementation that does not look whether a segment is the last one: what was cut at a boundary is whole to it.
fn open_patch_without_its_end(case: &Value) -> String {
    let patch = unhex(&case["patch"]);
    let Some((salt, sealed)) = patch.split_first_chunk::<32>() else { return open_patch(case) };
    let seal = blake3::derive_key("counterfoil 2026 content v1 patch seal", &secret(&case["content_key"]));
    let opens = |last: u8| {
        let framed = [&[0, 0, 0, 32], &salt[..], &[0, 0, 0, 8], &[0; 8], &[0, 0, 0, 1], &[last]].concat();
        open_by_tag_alone(blake3::keyed_hash(&seal, &framed).as_bytes(), sealed).is_some()
    };
    if opens(0) { "accepted".to_owned() } else { open_patch(case) }
}

#[test]
fn patches() {
    let cases = load("patches.json", 12);
    assert_eq!(failures(&cases, open_patch), [""; 0]);
    assert_eq!(failures(&cases, open_patch_without_its_end), ["cut at a boundary"]);
}

#[test]
fn patches_open_by_the_words_of_the_specification() {
    let case = &load("patches.json", 12)[0];
    let patch = unhex(&case["patch"]);
    let seal = blake3::derive_key("counterfoil 2026 content v1 patch seal", &secret(&case["content_key"]));
    let framed = [&[0, 0, 0, 32], &patch[..32], &[0, 0, 0, 8], &[0; 8], &[0, 0, 0, 1], &[1]].concat();
    let plain = open_by_tag_alone(blake3::keyed_hash(&seal, &framed).as_bytes(), &patch[32..]).unwrap();
    let header = u32::from_le_bytes(plain[..4].try_into().unwrap()) as usize;
    assert!(plain[4..].starts_with(b"CFPATCH1"));
    assert!(case["expect"].as_str().unwrap().ends_with(&format!("text {}", hex(&plain[4 + header..]))));
}
