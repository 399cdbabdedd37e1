//! What has to be added to a predicted text, byte by byte, to give the new one: mostly zeros.

use std::io::{self, Read};

use crate::varint::{self, invalid};

/// A single zero between two differences costs less as a difference than as an end and a beginning.
const BRIDGED: usize = 1;

/// Collects differences as runs: how many zeros, how many differences, the differences.
#[derive(Default)]
pub(crate) struct Runs {
    pub zeros: Vec<u8>,
    pub counts: Vec<u8>,
    pub bytes: Vec<u8>,
    /// Zeros since the last difference.
    idle: u64,
    /// Where in `bytes` the run begins that is under way.
    run: Option<usize>,
    /// Bytes in all.
    pub total: u64,
}

impl Runs {
    /// Adds the differences between what was predicted and what is.
    pub fn push(&mut self, predicted: &[u8], actual: &[u8]) {
        self.total += predicted.len() as u64;
        let mut at = 0;
        while at < actual.len() {
            let equal = crate::matching::common(&predicted[at..], &actual[at..]);
            self.idle += equal as u64;
            at += equal;
            if at < actual.len() {
                self.difference(actual[at].wrapping_sub(predicted[at]));
                at += 1;
            }
        }
    }

    fn difference(&mut self, byte: u8) {
        match self.run {
            Some(_) if self.idle <= BRIDGED as u64 => self.bytes.resize(self.bytes.len() + self.idle as usize, 0),
            _ => {
                self.close();
                varint::put(&mut self.zeros, self.idle);
                self.run = Some(self.bytes.len());
            }
        }
        self.idle = 0;
        self.bytes.push(byte);
    }

    fn close(&mut self) {
        if let Some(begin) = self.run.take() {
            varint::put(&mut self.counts, (self.bytes.len() - begin) as u64);
        }
    }

    /// Ends the last run.
    pub fn finish(&mut self) {
        self.close();
    }
}

/// Gives differences back as they are needed.
pub(crate) struct Adder<R> {
    zeros: R,
    counts: R,
    bytes: R,
    /// Zeros before the next run, and differences left in it.
    idle: u64,
    run: u64,
    /// Differences in all that are still to come.
    left: u64,
}

impl<R: Read> Adder<R> {
    /// `differences` is the length of `bytes`.
    pub fn new(zeros: R, counts: R, bytes: R, differences: u64) -> io::Result<Self> {
        let mut adder = Adder { zeros, counts, bytes, idle: 0, run: 0, left: differences };
        adder.next_run()?;
        Ok(adder)
    }

    fn next_run(&mut self) -> io::Result<()> {
        if self.left == 0 {
            self.idle = u64::MAX;
            return Ok(());
        }
        self.idle = varint::read(&mut self.zeros)?;
        self.run = varint::read(&mut self.counts)?;
        if self.run == 0 || self.run > self.left {
            return Err(invalid("a run of differences is too long"));
        }
        self.left -= self.run;
        Ok(())
    }

    /// Turns what was predicted into what is.
    pub fn add(&mut self, mut text: &mut [u8]) -> io::Result<()> {
        let mut buffer = [0u8; 256];
        while !text.is_empty() {
            if self.idle > 0 {
                let skip = self.idle.min(text.len() as u64);
                self.idle -= if self.idle == u64::MAX { 0 } else { skip };
                text = &mut text[skip as usize..];
                continue;
            }
            let take = (self.run as usize).min(text.len()).min(buffer.len());
            self.bytes.read_exact(&mut buffer[..take])?;
            for (byte, difference) in text.iter_mut().zip(&buffer[..take]) {
                *byte = byte.wrapping_add(*difference);
            }
            text = &mut text[take..];
            self.run -= take as u64;
            if self.run == 0 {
                self.next_run()?;
            }
        }
        Ok(())
    }

    /// Nothing may be left over.
    pub fn finish(mut self) -> io::Result<()> {
        let mut byte = [0];
        let over = self.left > 0 || self.run > 0 || self.zeros.read(&mut byte)? + self.counts.read(&mut byte)? > 0;
        if over { Err(invalid("differences are left over")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_away_is_added_again() {
        let predicted = b"the quick brown fox jumps over the lazy dog, as ever".to_vec();
        let mut actual = predicted.clone();
        for at in [0, 1, 3, 9, 10, 11, 30, 51] {
            actual[at] ^= 0x55;
        }
        let mut runs = Runs::default();
        runs.push(&predicted[..10], &actual[..10]);
        runs.push(&predicted[10..], &actual[10..]);
        runs.finish();
        let mut text = predicted.clone();
        let mut adder = Adder::new(&runs.zeros[..], &runs.counts[..], &runs.bytes[..], runs.bytes.len() as u64).unwrap();
        let (one, two) = text.split_at_mut(31);
        adder.add(one).unwrap();
        adder.add(two).unwrap();
        adder.finish().unwrap();
        assert_eq!(text, actual);
    }
}
