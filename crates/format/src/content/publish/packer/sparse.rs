//! Earlier packs of which a release uses little: what it uses is packed anew, so that nobody fetches and keeps the rest with it.

use std::collections::HashSet;

use super::super::super::names::ChunkId;
use super::{NewChunk, Packer};
use crate::content::PublishError;

/// A chunk to be packed anew, and where its plaintext is found.
pub struct Again {
    /// Index of a file that it is part of.
    pub file: u32,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its length there.
    pub plain_len: u32,
    /// Its name, which it keeps.
    pub id: ChunkId,
    number: u32,
}

impl Packer<'_> {
    /// What is used of earlier packs of which less than half is used, in the order of files.
    pub fn sparse(&self) -> Vec<Again> {
        let mut wanted = HashSet::new();
        for pack in &self.earlier {
            let numbered = pack.manifest.pack_chunks(pack.index).iter().zip(pack.first..);
            let used: Vec<_> = numbered.filter(|(_, number)| self.used.contains(number)).collect();
            let bytes: u64 = used.iter().map(|(chunk, _)| u64::from(chunk.sealed_len)).sum();
            if bytes < pack.manifest.packs()[pack.index].length.div_ceil(2) {
                wanted.extend(used.into_iter().map(|(_, number)| number));
            }
        }
        let mut again = Vec::with_capacity(wanted.len());
        let mut start = 0;
        for &(file, end) in &self.runs.ends {
            if wanted.is_empty() {
                break;
            }
            let mut offset = 0;
            for number in self.runs.runs[start..end].iter().flat_map(|run| run.indices()) {
                let (id, plain_len) = self.chunk(number);
                if wanted.remove(&number) {
                    again.push(Again { file, offset, plain_len, id, number });
                }
                offset += u64::from(plain_len);
            }
            start = end;
        }
        again
    }

    /// Packs one of them, sealed as it was.
    pub fn add_again(&mut self, again: &Again, sealed: &[u8]) -> Result<(), PublishError> {
        let sealed_len = sealed.len() as u32;
        if self.is_full(self.pack_len + u64::from(sealed_len), sealed_len) {
            self.end_pack()?;
        }
        self.again.insert(again.number, self.earlier_chunks + self.new.len() as u32);
        self.used.remove(&again.number);
        self.new.push(NewChunk { id: again.id, sealed_len, plain_len: again.plain_len });
        self.write(sealed)
    }

    fn chunk(&self, number: u32) -> (ChunkId, u32) {
        match number.checked_sub(self.earlier_chunks) {
            Some(new) => (self.new[new as usize].id, self.new[new as usize].plain_len),
            None => {
                let pack = &self.earlier[self.earlier_pack(number)];
                let chunk = &pack.manifest.pack_chunks(pack.index)[(number - pack.first) as usize];
                (chunk.id, chunk.plain_len)
            }
        }
    }
}
