//! Files in memory, and a patch made and applied.

use std::io;

use counterfoil_patch::{ApplyError, Limits, Options, Sink, apply, make};

/// Holds every file to the length that was announced.
#[derive(Default)]
pub struct Collect {
    pub files: Vec<Vec<u8>>,
    announced: u64,
}

impl Sink for Collect {
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()> {
        assert_eq!(file, self.files.len(), "files come in order");
        self.full();
        self.files.push(Vec::new());
        self.announced = length;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.last_mut().expect("bytes belong to a file that has begun");
        file.extend_from_slice(bytes);
        assert!(file.len() as u64 <= self.announced);
        Ok(())
    }
}

impl Collect {
    pub fn full(&self) {
        assert_eq!(self.files.last().map_or(0, Vec::len) as u64, self.announced);
    }
}

pub fn patch_with(old: &Vec<Vec<u8>>, new: &Vec<Vec<u8>>, options: &Options) -> Vec<u8> {
    let mut patch = Vec::new();
    let made = make(old, new, options, &mut patch, &mut |_| ()).unwrap();
    assert_eq!(made.length, patch.len() as u64);
    patch
}

pub fn patch(old: &Vec<Vec<u8>>, new: &Vec<Vec<u8>>) -> Vec<u8> {
    patch_with(old, new, &Options::default())
}

pub fn applied(old: &Vec<Vec<u8>>, patch: &[u8]) -> Result<Vec<Vec<u8>>, ApplyError> {
    let mut sink = Collect::default();
    apply(old, &patch.to_vec(), &Limits { files: 1000, bytes: 64 << 20 }, &mut sink, &mut |_| ())?;
    sink.full();
    Ok(sink.files)
}

/// Bytes that nothing predicts, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
