//! Makes the vector files: good cases, and what an attacker or a bad drive makes of them.

mod manifests;

use std::fs;
use std::io::Write as _;

use counterfoil_format::content::*;
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::sign::SigningKey;
use serde_json::{Value, json};

use crate::content_support::hostile::{open_by_tag_alone, seal_by_key, two_key_ciphertext};
use crate::content_support::*;
use crate::content_vectors::{file, hex, open_chunk, open_patch, open_release, parse_manifest, transcrypt};

fn seal(keys: &ChunkKeys, body: &[u8]) -> (ChunkId, Vec<u8>) {
    let id = keys.id_key().id_of(body);
    (id, seal_as(keys, &id, body))
}

fn seal_as(keys: &ChunkKeys, id: &ChunkId, body: &[u8]) -> Vec<u8> {
    let mut sealed = [body, &[0; TAG_LEN]].concat();
    keys.seal_in_place(id, &mut sealed);
    sealed
}

fn body(plain: &[u8]) -> Vec<u8> {
    let mut body = vec![0; plain.len() + 1];
    let length = Encoder::new(3).unwrap().encode(plain, &mut body);
    body.truncate(length);
    body
}

#[test]
#[ignore = "writes the vector files anew: look at the difference before it is committed"]
fn write_vectors() {
    let write = |name: &str, about: &str, mut cases: Vec<Value>, run: &dyn Fn(&Value) -> String| {
        for case in &mut cases {
            case["expect"] = json!(run(case));
        }
        let set = json!({ "about": about, "cases": cases });
        fs::write(file(name), serde_json::to_string_pretty(&set).unwrap() + "\n").unwrap();
    };
    write(
        "chunks.json",
        "A sealed chunk, its name and its keys (SPEC.md §1, §2); expect: its plaintext, or why it is refused.",
        chunk_cases(),
        &open_chunk,
    );
    write(
        "manifests.json",
        "An encoded manifest (SPEC.md §3); expect: what it holds, or why it is refused.",
        manifests::cases(),
        &parse_manifest,
    );
    write(
        "packs.json",
        "A pack brought under a library key (SPEC.md §4); result: the good pack's; expect: how far it came, what verify says.",
        pack_cases(),
        &transcrypt,
    );
    write(
        "releases.json",
        "A release document and the manifest beside it (SPEC.md §5); publisher `pub-1` has the seed 51…51.",
        release_cases(),
        &open_release,
    );
    write(
        "patches.json",
        "A sealed patch of one segment (SPEC.md §10); expect: its header and what the engine wrote, or why it is refused.",
        patch_cases(),
        &open_patch,
    );
}

fn chunk_cases() -> Vec<Value> {
    let (content, library) = ([0x11_u8; 32], [0x22_u8; 32]);
    let content_keys = || ContentKey::new(Secret::new(content));
    let keys = content_keys().chunk_keys();
    let library_keys = LibraryKey::new(Secret::new(library)).chunk_keys(&content_keys().chunk_id_key());
    let text = b"counterfoil ".repeat(20);
    let (stored, packed) = (body(b"\x00\x01\x02 short"), body(&text));
    let case = |name: &str, id: ChunkId, sealed: &[u8], plain_len: usize| json!({ "name": name, "content_key": hex(&content), "id": id, "sealed": hex(sealed), "plain_len": plain_len });
    let in_library = |mut case: Value, key: [u8; 32]| {
        case["library_key"] = json!(hex(&key));
        case
    };
    let (id, sealed) = seal(&keys, &stored);
    let (packed_id, packed_sealed) = seal(&keys, &packed);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = packed_sealed.clone();
        change(&mut changed);
        changed
    };
    let other = ContentKey::new(Secret::new([0x12; 32])).chunk_keys();
    let seal_base = blake3::derive_key("counterfoil 2026 content v1 chunk seal", &content);
    let (one, two) = (ChunkId([0xaa; 32]), ChunkId([0xbb; 32]));
    let chunk_key = |id: &ChunkId| *blake3::keyed_hash(&seal_base, &id.0).as_bytes();
    let two_key = two_key_ciphertext(&chunk_key(&one), &chunk_key(&two));
    assert!(open_by_tag_alone(&chunk_key(&one), &two_key).is_some() && open_by_tag_alone(&chunk_key(&two), &two_key).is_some());
    let (unknown_id, unknown) = seal(&keys, b"\x07what codec is this");
    let (no_frame_id, no_frame) = seal(&keys, b"\x01not a frame of zstd");
    let bomb_body = [&[1], &zstd::bulk::compress(&vec![0; 1 << 20], 19).unwrap()[..]].concat();
    let (bomb_id, bomb) = seal(&keys, &bomb_body);
    let (frames_id, frames) = seal(&keys, &[&packed[..], &packed[1..]].concat());
    vec![
        case("stored", id, &sealed, 9),
        case("compressed", packed_id, &packed_sealed, text.len()),
        in_library(case("stored, in a library", id, &seal_as(&library_keys, &id, &stored), 9), library),
        in_library(case("compressed, in a library", packed_id, &seal_as(&library_keys, &packed_id, &packed), text.len()), library),
        case("a bit flipped in the ciphertext", packed_id, &changed(&|sealed| sealed[5] ^= 0x10), text.len()),
        case("a bit flipped in the tag", packed_id, &changed(&|sealed| *sealed.last_mut().unwrap() ^= 1), text.len()),
        case("cut by a byte", packed_id, &changed(&|sealed| sealed.truncate(sealed.len() - 1)), text.len()),
        case("cut to less than a tag", packed_id, &changed(&|sealed| sealed.truncate(15)), text.len()),
        case("cut to a tag", packed_id, &changed(&|sealed| sealed.truncate(16)), text.len()),
        case("a byte appended", packed_id, &changed(&|sealed| sealed.push(0)), text.len()),
        case("doubled", packed_id, &packed_sealed.repeat(2), text.len()),
        case("another chunk in its place", packed_id, &sealed, text.len()),
        case("under the key of another title", packed_id, &seal_as(&other, &packed_id, &packed), text.len()),
        in_library(case("under another library's key", packed_id, &seal_as(&library_keys, &packed_id, &packed), text.len()), [0x23; 32]),
        in_library(case("as in the store, in a library", packed_id, &packed_sealed, text.len()), library),
        case("sealed properly under another name", packed_id, &seal_as(&keys, &packed_id, &stored), 9),
        case("opens under two keys, as the one", one, &two_key, 47),
        case("opens under two keys, as the other", two, &two_key, 47),
        case("unknown codec", unknown_id, &unknown, 18),
        case("not compressed, though it says so", no_frame_id, &no_frame, 40),
        case("decompresses to more than declared", bomb_id, &bomb, 1000),
        case("decompresses to less than declared", packed_id, &packed_sealed, text.len() + 1),
        case("two frames where one was declared", frames_id, &frames, text.len()),
        case("stored, of another size than declared", id, &sealed, 10),
    ]
}

fn pack_cases() -> Vec<Value> {
    let content = content_key(0x11);
    let keys = content.chunk_keys();
    let chunks: Vec<(ChunkId, Vec<u8>)> = [&b"first"[..], b"second", b"third"].iter().map(|plain| seal(&keys, &body(plain))).collect();
    let pack: Vec<u8> = chunks.iter().flat_map(|(_, sealed)| sealed.clone()).collect();
    let mut builder = ManifestBuilder::new();
    for ((id, sealed), plain_len) in chunks.iter().zip([5, 6, 5]) {
        builder.chunk(*id, sealed.len() as u32, plain_len).unwrap();
    }
    builder.end_pack(ObjectName::of(&pack)).unwrap();
    builder.file("a", false, &[Run { first: 0, count: 3 }]).unwrap();
    let manifest = builder.finish().unwrap();
    let library_keys = library_key(0x22).chunk_keys(&content.chunk_id_key());
    let mut result = Vec::new();
    Transcrypter::new(&keys, &library_keys).pack(&manifest, 0, 0, &pack[..], &mut result, |_| {}).unwrap();
    let case = |name: &str, pack: Vec<u8>| json!({ "name": name, "content_key": hex(&[0x11; 32]), "library_key": hex(&[0x22; 32]), "manifest": hex(&manifest.encode()), "pack": hex(&pack), "result": hex(&result) });
    let part = |index: usize| chunks[index].1.clone();
    let flipped = |at: usize| {
        let mut pack = pack.clone();
        pack[at] ^= 0x80;
        pack
    };
    vec![
        case("good", pack.clone()),
        case("cut inside the last chunk", pack[..pack.len() - 3].to_vec()),
        case("cut between chunks", pack[..part(0).len()].to_vec()),
        case("nothing of it", vec![]),
        case("first chunk flipped", flipped(0)),
        case("second chunk flipped", flipped(part(0).len() + 2)),
        case("last byte flipped", flipped(pack.len() - 1)),
        case("chunks swapped", [part(2), part(1), part(0)].concat()),
        case("a chunk left out", [part(0), part(2)].concat()),
        case("a chunk doubled in the middle", [part(0), part(0), part(1), part(2)].concat()),
        case("a chunk doubled at the end", [part(0), part(1), part(2), part(2)].concat()),
        case("a byte appended", [&pack[..], &[0]].concat()),
    ]
}

fn release_cases() -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    write_file(dir.path(), "game", b"what is played");
    let (published, _) = publish_to_memory(dir.path(), &content_key(0x11), &PublishOptions::default());
    let (elsewhere, _) = publish_to_memory(dir.path(), &content_key(0x12), &PublishOptions::default());
    write_file(dir.path(), "game", b"another version");
    let (later, _) = publish_to_memory(dir.path(), &content_key(0x11), &PublishOptions::default());
    let good = Release {
        title: "sky-raider".into(),
        version: "1.0.0".into(),
        kind: Kind::Game,
        entry: Some("game".into()),
        control: None,
        generation: 1,
        size: published.manifest.size(),
        files: 1,
        manifest: published.reference,
    };
    let publisher = SigningKey::from_seed(&Secret::new([0x51; 32]));
    let case = |name: &str, token: String, sealed: &[u8]| json!({ "name": name, "token": token, "manifest": hex(sealed), "content_key": hex(&[0x11; 32]) });
    let changed = |name: &str, change: &dyn Fn(&mut Release)| {
        let mut release = good.clone();
        change(&mut release);
        case(name, release.sign("pub-1", &publisher), &published.sealed_manifest)
    };
    let token = good.sign("pub-1", &publisher);
    let mut flipped = published.sealed_manifest.clone();
    flipped[3] ^= 1;
    let stranger = SigningKey::from_seed(&Secret::new([0x52; 32]));
    let other_typ = counterfoil_format::jws::sign_compact("counterfoil-answer+jwt", "pub-1", &good, &publisher);
    vec![
        case("good", token.clone(), &published.sealed_manifest),
        case("signed by another publisher", good.sign("pub-2", &stranger), &published.sealed_manifest),
        case("signed by another under the publisher's name", good.sign("pub-1", &stranger), &published.sealed_manifest),
        case("a document of another kind", other_typ, &published.sealed_manifest),
        case("a document cut short", token[..token.len() - 1].to_owned(), &published.sealed_manifest),
        case("manifest with a bit flipped", token.clone(), &flipped),
        case("manifest cut", token.clone(), &published.sealed_manifest[1..]),
        case("manifest of another release", token.clone(), &later.sealed_manifest),
        case("manifest of another title", token, &elsewhere.sealed_manifest),
        changed("a title with a slash", &|release| release.title = "../sky".into()),
        changed("a title in capitals", &|release| release.title = "Sky".into()),
        changed("a version with a slash", &|release| release.version = "1/2".into()),
        changed("an entry that climbs", &|release| release.entry = Some("../game".into())),
        changed("an entry that is not there", &|release| release.entry = Some("music".into())),
        changed("a manifest of a terabyte", &|release| release.manifest.size = 1 << 40),
        changed("another manifest name", &|release| release.manifest.id.0[0] ^= 1),
        changed("another object name", &|release| release.manifest.object.0[0] ^= 1),
        changed("another opened length", &|release| release.manifest.size += 1),
        changed("another size", &|release| release.size += 1),
        changed("another number of files", &|release| release.files += 1),
    ]
}

/// Salts made by hand, so that the file is the same each time.
struct FixedSalt;

impl Random for FixedSalt {
    fn fill(&mut self, into: &mut [u8]) {
        into.fill(0x5a);
    }
}

fn patch_cases() -> Vec<Value> {
    let header = PatchHeader {
        from: ChunkId([0xaa; 32]),
        to: ChunkId([0xbb; 32]),
        encoder: "zstd 1.5.7".into(),
        level: 3,
        old: vec![1, 2, 200],
        new: vec![1, 3],
    };
    let sealed = |header: &PatchHeader, text: &[u8]| {
        let mut writer = PatchWriter::new(content_key(0x11).patch_key(), header, &mut FixedSalt, Vec::new()).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap().0
    };
    let case = |name: &str, patch: &[u8]| json!({ "name": name, "content_key": hex(&[0x11; 32]), "patch": hex(patch) });
    let good = sealed(&header, b"what the engine wrote");
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = good.clone();
        change(&mut changed);
        case(name, &changed)
    };
    let mut other_title = case("of another title", &good);
    other_title["content_key"] = json!(hex(&[0x12; 32]));
    // By its own hand: a header that no writer makes, and a segment that was not the last one.
    let forged = |plain: &[u8], last: u8| {
        let seal = blake3::derive_key("counterfoil 2026 content v1 patch seal", &[0x11; 32]);
        let framed = [&[0, 0, 0, 32], &[0x5a; 32][..], &[0, 0, 0, 8], &[0; 8], &[0, 0, 0, 1], &[last]].concat();
        [&[0x5a; 32], &seal_by_key(blake3::keyed_hash(&seal, &framed).as_bytes(), plain)[..]].concat()
    };
    let plain = |header: &[u8]| [&(header.len() as u32).to_le_bytes()[..], header, b"text"].concat();
    let bytes = [&b"CFPATCH1"[..], &[0xaa; 32], &[0xbb; 32], b"\x04zstd", &[6, 1, 0, 1, 0]].concat();
    vec![
        case("good", &good),
        case("no files, no text, a negative level", &sealed(&PatchHeader { old: vec![], new: vec![], level: -5, ..header.clone() }, b"")),
        case("made by hand", &forged(&plain(&bytes), 1)),
        other_title,
        changed("a bit of the salt flipped", &|patch| patch[0] ^= 1),
        changed("a bit flipped", &|patch| patch[40] ^= 1),
        changed("a bit of the tag flipped", &|patch| *patch.last_mut().unwrap() ^= 1),
        changed("cut", &|patch| patch.truncate(patch.len() - 1)),
        changed("a byte appended", &|patch| patch.push(0)),
        changed("nothing but salt and tag", &|patch| patch.truncate(48)),
        case("cut at a boundary", &forged(&plain(&bytes), 0)),
        case("a header of another version", &forged(&plain(&[b"CFPATCH2", &bytes[8..]].concat()), 1)),
        case("a header with a byte behind its end", &forged(&plain(&[&bytes[..], &[0]].concat()), 1)),
        case("a header that is cut off", &forged(&plain(&bytes[..bytes.len() - 1]), 1)),
        case("a header longer than the patch", &forged(&[200, 0, 0, 0, b'C'], 1)),
        case("a header of 4 GiB", &forged(&[0xff; 90], 1)),
        case("entries above all limits", &forged(&plain(&[&bytes[..bytes.len() - 1], &[0xff, 0xff, 0xff, 0x0f]].concat()), 1)),
    ]
}
