//! Packs what the engine gives into containers again.

use std::io;

use super::encoder::Encoder;
use super::recipe::{Container, Stream};
use crate::Sink;
use crate::apply::Limits;
use crate::varint::invalid;

/// Takes the files of a view and gives those it was made of.
pub(crate) struct Rewrapper<'a> {
    containers: std::iter::Peekable<std::slice::Iter<'a, Container>>,
    sink: &'a mut dyn Sink,
    /// The file to begin next.
    file: usize,
    /// The container that is written, and how far it is.
    within: Option<Within<'a>>,
    packed: Vec<u8>,
    /// Bytes that the files to come may have together.
    left: u64,
}

struct Within<'a> {
    container: &'a Container,
    /// How many of its parts were begun: before the first stream, first stream, and so on.
    parts: usize,
    /// Bytes given on.
    written: u64,
    /// The stream that is packed, and how much of its text is missing.
    stream: Option<(Encoder, u64)>,
}

impl<'a> Rewrapper<'a> {
    /// Gives no more than `limits` allow, however much the engine gives.
    pub fn new(containers: &'a [Container], limits: &Limits, sink: &'a mut dyn Sink) -> Self {
        Rewrapper { containers: containers.iter().peekable(), sink, file: 0, within: None, packed: Vec::new(), left: limits.bytes }
    }

    /// To be called when there are no more files: notices containers that were not completed.
    pub fn finish(mut self) -> io::Result<()> {
        match (&self.within, self.containers.next()) {
            (None, None) => Ok(()),
            _ => Err(invalid("a container is not complete")),
        }
    }

    /// Packs text of the current stream; at its end, checks that it fills exactly its place.
    fn pack(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(within) = &mut self.within else { return self.sink.write(bytes) };
        let Some((encoder, left)) = &mut within.stream else {
            within.written += bytes.len() as u64;
            return self.sink.write(bytes);
        };
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| invalid("a stream gets more text than it holds"))?;
        self.packed.clear();
        let last = *left == 0;
        encoder.push(bytes, last, &mut self.packed)?;
        let stream = &within.container.streams[within.parts / 2 - 1];
        within.written += self.packed.len() as u64;
        if within.written > stream.packed.end || (last && within.written != stream.packed.end) {
            return Err(invalid("a stream packs to another length"));
        }
        if last {
            within.stream = None;
        }
        self.sink.write(&self.packed)
    }

    /// Begins the next part of the current container; true if that was the last one.
    fn part(&mut self, length: u64) -> io::Result<bool> {
        let Some(within) = &mut self.within else { return Ok(false) };
        let streams = &within.container.streams;
        let (number, text) = (within.parts / 2, within.parts % 2 == 1);
        within.parts += 1;
        if text {
            let Stream { plain, setting: Some(setting), .. } = &streams[number] else { return Err(invalid("a stream has no setting")) };
            if length != *plain {
                return Err(invalid("a stream has another length"));
            }
            within.stream = Some((Encoder::new(*setting), length));
            if length == 0 {
                self.pack(&[])?;
            }
            return Ok(false);
        }
        let next = streams.get(number).map_or(within.container.length, |stream| stream.packed.start);
        if within.written.checked_add(length) != Some(next) {
            return Err(invalid("what lies between two streams has another length"));
        }
        Ok(number == streams.len())
    }
}

impl Sink for Rewrapper<'_> {
    fn begin(&mut self, _: usize, length: u64) -> io::Result<()> {
        if self.within.is_none() {
            let container = self.containers.next_if(|container| container.file == self.file);
            let length = container.map_or(length, |container| container.length);
            self.left = self.left.checked_sub(length).ok_or_else(|| invalid("it gives more bytes than are allowed"))?;
            self.sink.begin(self.file, length)?;
            self.file += 1;
            self.within = container.map(|container| Within { container, parts: 0, written: 0, stream: None });
        }
        if self.part(length)? {
            // What follows the last stream is the end of the container: the next file that begins is another one.
            self.within = None;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pack(bytes)
    }
}
