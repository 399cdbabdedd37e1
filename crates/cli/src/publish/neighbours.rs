//! Which chunks of an earlier release a text is most like: the neighbourhood that it is written against.
//!
//! Some of all stretches of 16 bytes are known by a hash, chosen by what they hold, so that the same ones are chosen wherever they lie. The
//! chunks that have most of a text's in them are its neighbourhood, whatever file they belong to.

use std::collections::HashMap;
use std::io;

use counterfoil_format::content::{DELTA_OLD, Manifest};

/// Length of a stretch in bytes.
const STRETCH: usize = 16;
/// One in so many stretches is known, as a power of two, where the release is small.
const LEAST_RARE: u32 = 5;
/// Most of them are known, of 8 bytes each.
const MOST: u64 = 8 << 20;
/// What is in more chunks than this tells them apart badly.
const COMMON: usize = 16;
/// What a stretch counts that is in one chunk only.
const WHOLE: u32 = 240;

/// Stretches of an earlier release, and the chunks that they are in.
pub struct Neighbours<'a> {
    manifest: &'a Manifest,
    /// Rising; each pair once.
    known: Vec<(u32, u32)>,
    rare: u32,
}

impl<'a> Neighbours<'a> {
    /// Reads these chunks of the release, each with `read`.
    pub fn of(manifest: &'a Manifest, chunks: &[u32], mut read: impl FnMut(u32, &mut Vec<u8>) -> io::Result<()>) -> io::Result<Self> {
        let bytes: u64 = chunks.iter().map(|index| u64::from(manifest.chunks()[*index as usize].plain_len)).sum();
        let mut rare = LEAST_RARE;
        while bytes >> rare > MOST {
            rare += 1;
        }
        let (mut known, mut text) = (vec![], vec![]);
        for &index in chunks {
            text.clear();
            read(index, &mut text)?;
            known.extend(stretches(&text, rare).into_iter().map(|hash| (hash, index)));
        }
        known.sort_unstable();
        Ok(Self { manifest, known, rare })
    }

    /// The chunks that are most like a text, rising: [`DELTA_OLD`] bytes of plaintext at most.
    pub fn choose(&self, text: &[u8]) -> Vec<u32> {
        let mut votes: HashMap<u32, u32> = HashMap::new();
        for hash in stretches(text, self.rare) {
            let begin = self.known.partition_point(|known| known.0 < hash);
            let chunks = self.known[begin..].iter().take(COMMON + 1).take_while(|known| known.0 == hash).map(|known| known.1);
            let count = chunks.clone().count();
            if count <= COMMON {
                chunks.for_each(|chunk| *votes.entry(chunk).or_default() += WHOLE / count as u32);
            }
        }
        let mut by_votes: Vec<(u32, u32)> = votes.into_iter().filter(|(_, votes)| *votes >= WHOLE).collect();
        by_votes.sort_unstable_by_key(|(chunk, votes)| (std::cmp::Reverse(*votes), *chunk));
        let mut room = DELTA_OLD;
        let mut chosen: Vec<u32> = vec![];
        for (chunk, _) in by_votes {
            let Some(left) = room.checked_sub(u64::from(self.manifest.chunks()[chunk as usize].plain_len)) else { break };
            room = left;
            chosen.push(chunk);
        }
        chosen.sort_unstable();
        chosen
    }
}

/// Hashes of those stretches of a text that are known, rising, each once.
fn stretches(text: &[u8], rare: u32) -> Vec<u32> {
    const BASE: u64 = 0x9E37_79B9_7F4A_7C15 | 1;
    const MIX: u64 = 0xC2B2_AE3D_27D4_EB4F;
    let leaving = (0..STRETCH).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let mut rolled = 0_u64;
    let mut hashes = vec![];
    for (at, &byte) in text.iter().enumerate() {
        rolled = rolled.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1);
        let Some(before) = at.checked_sub(STRETCH) else { continue };
        rolled = rolled.wrapping_sub(leaving.wrapping_mul(u64::from(text[before]) + 1));
        let mixed = (rolled ^ (rolled >> 29)).wrapping_mul(MIX);
        if mixed >> (u64::BITS - rare) == 0 {
            hashes.push((mixed >> 16) as u32);
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_format::content::{ChunkId, ManifestBuilder, ObjectName};

    const CHUNK: usize = 64 << 10;

    fn noise(name: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&name.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn manifest(count: u32) -> Manifest {
        let mut builder = ManifestBuilder::new();
        for index in 0..count {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&index.to_le_bytes());
            builder.chunk(ChunkId(id), CHUNK as u32 + 17, CHUNK as u32).expect("a chunk");
        }
        builder.end_pack(ObjectName([0; 32])).expect("a pack");
        builder.finish().expect("a manifest")
    }

    fn known(manifest: &Manifest) -> Neighbours<'_> {
        let chunks: Vec<u32> = (0..manifest.chunks().len() as u32).collect();
        Neighbours::of(manifest, &chunks, |index, out| {
            out.extend(noise(index, CHUNK));
            Ok(())
        })
        .expect("nothing to fail")
    }

    #[test]
    fn a_text_finds_the_chunks_it_is_made_of_wherever_they_have_come_to_lie() {
        let manifest = manifest(200);
        let known = known(&manifest);
        let (first, second) = (noise(150, CHUNK), noise(7, CHUNK));
        // Parts of two chunks at odd places, with something new between them, and a byte changed here and there.
        let mut text = [&first[1234..40_000], b"something new", &second[20_001..]].concat();
        (0..text.len()).step_by(300).for_each(|at| text[at] ^= 0x55);
        assert_eq!(known.choose(&text), [7, 150]);
        assert_eq!(known.choose(&noise(999, CHUNK)), Vec::<u32>::new(), "like nothing that is there");
        assert_eq!(known.choose(b"short"), Vec::<u32>::new());
    }

    #[test]
    fn no_more_is_chosen_than_a_device_may_hold_and_the_likest_of_it() {
        let manifest = manifest(200);
        let known = known(&manifest);
        let most = DELTA_OLD as usize / CHUNK;
        let part = |index: usize| noise(index as u32, CHUNK)[..if index < most { 9000 } else { 4000 }].to_vec();
        let text: Vec<u8> = (0..most + 40).rev().flat_map(part).collect();
        assert_eq!(known.choose(&text), (0..most as u32).collect::<Vec<_>>());
    }

    #[test]
    fn what_every_chunk_has_tells_nothing() {
        let manifest = manifest(40);
        let same = noise(1, CHUNK);
        let chunks: Vec<u32> = (0..40).collect();
        let known = Neighbours::of(&manifest, &chunks, |_, out| {
            out.extend_from_slice(&same);
            Ok(())
        });
        assert_eq!(known.expect("nothing to fail").choose(&same), Vec::<u32>::new());
    }
}
