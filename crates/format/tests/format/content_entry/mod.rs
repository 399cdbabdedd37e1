//! What the fuzz targets of content do with their input. Also run on the corpus by `content_corpus.rs`.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use std::sync::Arc;

use counterfoil_format::content::{
    ContentKey, Decoder, DeltaFront, DeltaIndex, DeltaSealer, EntryKind, FEED_TYP, Feed, MAX_PLAIN, Manifest, Reader, Release, TAG_LEN,
    check_link, check_path, fold_name,
};
use counterfoil_format::jws::sign_compact_bytes;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;

/// Bytes as a manifest. What is accepted has one encoding, and can be walked in every way.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else { return };
    assert_eq!(manifest.encode(), data);
    let below: usize = (0..manifest.len()).map(|index| manifest.children(Some(index)).count()).sum();
    assert_eq!(below + manifest.children(None).count(), manifest.len());
    assert_eq!(manifest.packs().iter().map(|pack| pack.chunks.len()).sum::<usize>(), manifest.chunks().len());
    let mut size = 0;
    for (index, entry) in manifest.entries().enumerate() {
        assert_eq!(manifest.find(entry.path), Some(index));
        check_path(entry.path).expect("a manifest holds good paths only");
        if let EntryKind::File { size: this, .. } = entry.kind {
            size += this;
        }
    }
    assert_eq!(size, manifest.size());
    let keys = ContentKey::new(Secret::new([1; 32])).chunk_keys();
    let reader = Reader::new(Arc::new(manifest), keys, 1 << 16, |_| Err(std::io::ErrorKind::NotFound.into()));
    for index in 0..reader.manifest().len() {
        if let Some(file) = reader.file(index) {
            let end = reader.read_at(&file, file.size(), &mut [0; 16]).expect("nothing is read at the end");
            assert_eq!(end, 0);
            assert_eq!(reader.read_at(&file, 0, &mut [0; 16]).is_err(), file.size() > 0, "there are no packs");
        }
    }
}

/// Bytes as a sealed chunk, and as the body of one that was sealed properly; the first three bytes say how long it should be.
pub fn chunk(data: &[u8]) {
    let Some((length, data)) = data.split_first_chunk::<3>() else { return };
    let plain_len = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize % (MAX_PLAIN + 1);
    let keys = ContentKey::new(Secret::new([1; 32])).chunk_keys();
    let id = keys.id_key().id_of(data);
    assert!(keys.open_in_place(&id, &mut data.to_vec()).is_err(), "nobody guesses a tag");
    if data.is_empty() {
        return;
    }
    let mut sealed = [data, &[0; TAG_LEN]].concat();
    keys.seal_in_place(&id, &mut sealed);
    let body = keys.open_in_place(&id, &mut sealed).expect("it was just sealed");
    assert_eq!(body, data);
    let mut plain = vec![0; plain_len];
    let decoded = Decoder::new().expect("there is memory for a decoder").decode(body, &mut plain);
    if decoded.is_ok() && body[0] == 0 {
        assert_eq!(plain, body[1..]);
    }
}

/// Bytes as a release document, and as the payload of one that is signed properly.
pub fn release(data: &[u8]) {
    let publisher = SigningKey::from_seed(&Secret::new([0x51; 32]));
    let verify = |token: &str| Release::verify(token, |_| Some(publisher.verifying_key()));
    if let Ok(token) = std::str::from_utf8(data) {
        // The vectors are signed by this key, so that a seed may be accepted.
        if let Ok(release) = verify(token) {
            release.check().expect("a verified release has been checked");
        }
    }
    let token = sign_compact_bytes("counterfoil-release+jwt", "pub-1", data, &publisher);
    if let Ok(release) = verify(&token) {
        let again = verify(&release.sign("pub-1", &publisher)).expect("what was accepted is accepted again");
        assert_eq!(again, release);
    }
}

/// Bytes as a feed, and as the payload of one that is signed properly.
pub fn feed(data: &[u8]) {
    let publisher = SigningKey::from_seed(&Secret::new([0x51; 32]));
    let verify = |token: &str| Feed::verify(token, |_| Some(publisher.verifying_key()));
    if let Ok(Ok(feed)) = std::str::from_utf8(data).map(verify) {
        feed.check().expect("a verified feed has been checked");
    }
    let token = sign_compact_bytes(FEED_TYP, "blue-fox", data, &publisher);
    if let Ok(feed) = verify(&token)
        // Written out, what was left out and what is escaped take room.
        && let Ok(again) = feed.sign("blue-fox", &publisher)
    {
        assert_eq!(verify(&again).expect("what was accepted is accepted again"), feed);
        let versions: std::collections::HashSet<_> = feed.releases.iter().map(|listed| &listed.version).collect();
        assert_eq!(versions.len(), feed.releases.len());
        assert!(feed.sequence > 0 && feed.expires_at > feed.issued_at);
    }
}

/// Bytes as the index of a delta. What is accepted has one encoding, and comes out of an object as it went in.
pub fn delta(data: &[u8]) {
    let Ok(index) = DeltaIndex::parse(data) else { return };
    assert!(index.encode() == data);
    let key = || ContentKey::new(Secret::new([1; 32])).delta_key();
    let front = DeltaSealer::new(key(), &mut SystemRandom).front(&index).expect("what was read rises");
    let pieces = u64::from(index.manifest) + index.groups.iter().map(|group| u64::from(group.sealed)).sum::<u64>();
    let length = front.len() as u64 + pieces;
    let opened = DeltaFront::open(key(), &front, length).expect("it was just sealed");
    assert_eq!(opened.index(), &index);
    assert!(DeltaFront::open(key(), &front, length + 1).is_err(), "its pieces make up the object");
    let mut end = opened.manifest().end;
    for at in 0..index.groups.len() {
        let piece = opened.group(at);
        assert!(piece.start == end && !piece.is_empty());
        end = piece.end;
    }
    assert_eq!(end, length);
}

/// Text as a path, and, when a line feed is in it, as a link's path and target.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, target) = text.split_once('\n').unwrap_or((text, "."));
    if check_path(path).is_err() {
        return;
    }
    assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.ends_with(['.', ' '])));
    assert!(!path.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) && !path.chars().any(char::is_control));
    // Folding what is folded changes nothing, or two names could be told apart by folding them again.
    assert_eq!(fold_name(&fold_name(path)), fold_name(path));
    // Without other links, a link that is accepted does not climb above the root when its text is followed.
    if check_link(path, target, |_| None).is_ok() {
        let mut depth = path.matches('/').count() as i64;
        for component in target.split('/') {
            depth += match component {
                "" | "." => 0,
                ".." => -1,
                _ => 1,
            };
            assert!(depth >= 0);
        }
    }
    // With a link to itself everywhere, following ends.
    let _ = check_link(path, target, |_| Some("a/../a/b"));
}
