//! Executables: a function that grew moves all others, and nothing but that function costs anything.

use proptest::prelude::*;

use crate::support::{applied, noise, patch};

/// Functions of an executable: some bytes, then calls of other functions and addresses of constants, then some bytes.
struct Program {
    functions: Vec<Vec<u8>>,
    calls: Vec<Vec<usize>>,
}

const BASE: u64 = 0x40_0000;
const HEADERS: usize = 0x1000;

impl Program {
    fn new(count: usize) -> Self {
        let functions = (0..count).map(|number| noise(number as u64 + 1, 40).iter().map(|byte| (byte % 0x30) | 0x40).collect()).collect();
        let calls = (0..count).map(|number| (0..6).map(|call| (number * 31 + call * 17) % count).collect()).collect();
        Program { functions, calls }
    }

    fn code_len(&self, number: usize) -> usize {
        self.functions[number].len() + 5 * self.calls[number].len() + 7
    }

    /// An ELF file with one segment of code, which is followed by pointers to every function.
    fn elf(&self) -> Vec<u8> {
        let mut starts = vec![HEADERS];
        (0..self.functions.len()).for_each(|number| starts.push(starts[number] + self.code_len(number)));
        let code_end = starts[self.functions.len()].next_multiple_of(8);
        let mut file = vec![0; HEADERS];
        for (number, body) in self.functions.iter().enumerate() {
            file.extend(body);
            for callee in &self.calls[number] {
                file.push(0xE8);
                let distance = starts[*callee] as i64 - (file.len() as i64 + 4);
                file.extend((distance as i32).to_le_bytes());
            }
            file.extend([0x48, 0x8D, 0x05]);
            let distance = (code_end + 8 * number) as i64 - (file.len() as i64 + 4);
            file.extend((distance as i32).to_le_bytes());
        }
        file.resize(code_end, 0);
        starts.iter().for_each(|start| file.extend((BASE + *start as u64).to_le_bytes()));
        let data_end = file.len();
        file.extend(b"\0.text\0.data\0.shstrtab\0");
        let names_end = file.len();
        file.resize(names_end.next_multiple_of(8), 0);
        let sections = file.len();
        let section = |name: u32, kind: u32, flags: u64, from: usize, to: usize| {
            let words = [flags, BASE + from as u64, from as u64, (to - from) as u64, 0, 1, 0];
            [name.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec(), words.iter().flat_map(|word| word.to_le_bytes()).collect()].concat()
        };
        file.extend(section(0, 0, 0, 0, 0));
        file.extend(section(1, 1, 6, HEADERS, code_end));
        file.extend(section(7, 1, 3, code_end, data_end));
        file.extend(section(13, 3, 0, data_end, names_end));
        let mut head = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3E\0\x01\0\0\0".to_vec();
        [BASE + HEADERS as u64, 64, sections as u64].iter().for_each(|word| head.extend(word.to_le_bytes()));
        head.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 4, 0, 3, 0]);
        head.extend(1u32.to_le_bytes());
        head.extend(7u32.to_le_bytes());
        [0, BASE, BASE, data_end as u64, data_end as u64, 0x1000].iter().for_each(|word| head.extend(word.to_le_bytes()));
        file[..head.len()].copy_from_slice(&head);
        file
    }
}

/// proves: A5
#[test]
fn what_only_moved_costs_nothing() {
    let mut program = Program::new(2_000);
    let old = program.elf();
    program.functions[700].extend(noise(5, 20).iter().map(|byte| (byte % 0x30) | 0x40));
    let new = program.elf();
    let changed = old.iter().zip(&new).filter(|(a, b)| a != b).count();
    assert!(changed > 50_000, "nearly everything differs at its place");
    let patch = patch(&vec![old.clone()], &vec![new.clone()]);
    assert!(patch.len() < 400, "{}", patch.len());
    assert!(applied(&vec![old], &patch).unwrap() == [new]);
}

#[test]
fn several_executables_and_other_files_side_by_side() {
    let (mut one, mut two) = (Program::new(300), Program::new(500));
    let old = vec![one.elf(), b"text".to_vec(), two.elf()];
    one.functions[10].extend([0x41; 33]);
    two.functions.swap(7, 8);
    let new = vec![two.elf(), noise(3, 100), one.elf(), two.elf()];
    let patch = patch(&old, &new);
    assert!(applied(&old, &patch).unwrap() == new);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever an executable says of itself, and whatever a patch says of a new one.
    #[test]
    fn damaged_executables_come_back(edits in prop::collection::vec((0..5000usize, any::<u8>()), 1..40), tail in any::<bool>()) {
        let mut program = Program::new(60);
        let good = program.elf();
        program.functions[20].extend([0x42; 9]);
        let mut bad = program.elf();
        for (at, byte) in edits {
            let at = if tail { bad.len() - 1 - at % bad.len().min(400) } else { at % 200 };
            bad[at] = byte;
        }
        for (old, new) in [(&good, &bad), (&bad, &good)] {
            let (old, new) = (vec![old.clone()], vec![new.clone()]);
            let patch = patch(&old, &new);
            prop_assert!(applied(&old, &patch).unwrap() == new);
            for at in 0..patch.len().min(120) {
                let mut flipped = patch.clone();
                flipped[at] ^= 1 << (at % 8);
                let _ = applied(&old, &flipped);
            }
        }
    }
}
