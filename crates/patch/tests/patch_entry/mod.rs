//! What the fuzz target does with a patch from somebody else, applied to known files: whatever it says, there is an error or as many bytes
//! as it may give. Its corpus is replayed as plain tests.

use std::io;

use counterfoil_patch::{Limits, Sink, apply};

const LIMITS: Limits = Limits { files: 16, bytes: 1 << 20 };

#[derive(Default)]
struct Count {
    files: usize,
    bytes: u64,
}

impl Sink for Count {
    fn begin(&mut self, file: usize, _: u64) -> io::Result<()> {
        assert_eq!(file, self.files);
        self.files += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The old files: an executable and a text.
fn known() -> Vec<Vec<u8>> {
    let program = include_bytes!("../../../../fuzz/corpus/patch_program.elf");
    vec![program.to_vec(), b"all work and no play makes jack a dull boy\n".repeat(40)]
}

/// Applies it; tells whether it could be.
pub fn patch(data: &[u8]) -> bool {
    let mut count = Count::default();
    let done = apply(&known(), &data.to_vec(), &LIMITS, &mut count, &mut |_| ());
    assert!(count.files <= LIMITS.files && count.bytes <= LIMITS.bytes);
    assert!(done.is_err() || count.files > 0 || count.bytes == 0);
    done.is_ok()
}
