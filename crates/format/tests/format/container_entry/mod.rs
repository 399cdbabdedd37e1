//! What the fuzz target of containers does with its input. Also run on the corpus by `container.rs`.

use std::io::{self, Read, Write};

use counterfoil_format::container::{Container, HEAD, Opening, Sealing, plain_length, sealed_length};
use counterfoil_format::secret::{Random, Secret};

/// What the corpus was sealed as.
pub fn key() -> Container {
    Container::raw(Secret::new([7; 32]), b"fuzz".to_vec())
}

/// The salt of what was accepted, so that sealing gives its bytes again.
struct Salt<'a>(&'a [u8]);

impl Random for Salt<'_> {
    fn fill(&mut self, into: &mut [u8]) {
        into.copy_from_slice(&self.0[..into.len()]);
    }
}

/// Bytes as a container, read in pieces of odd lengths, and as what is sealed in one. Whether they were accepted as a container: what
/// is has one form.
pub fn container(data: &[u8]) -> bool {
    let sealed = seal(data, data);
    assert_eq!(sealed_length(data.len() as u64), Some(sealed.len() as u64));
    assert!(open(&sealed).expect("it was just sealed") == data);
    let Ok(plain) = open(data) else { return false };
    assert_eq!(plain_length(data.len() as u64), Some(plain.len() as u64));
    assert!(seal(&plain, data) == data, "two containers with one salt hold the same");
    true
}

fn seal(plain: &[u8], salt: &[u8]) -> Vec<u8> {
    let salt = [salt, &[0; HEAD]].concat();
    let mut sealing = Sealing::new(Vec::new(), &key(), &mut Salt(&salt)).expect("memory takes bytes");
    for piece in plain.chunks(5000) {
        sealing.write_all(piece).expect("memory takes bytes");
    }
    sealing.finish().expect("memory takes bytes")
}

fn open(sealed: &[u8]) -> io::Result<Vec<u8>> {
    let mut opening = Opening::new(sealed, &key())?;
    let (mut plain, mut piece) = (Vec::new(), [0; 777]);
    loop {
        match opening.read(&mut piece)? {
            0 => return Ok(plain),
            length => plain.extend_from_slice(&piece[..length]),
        }
    }
}
