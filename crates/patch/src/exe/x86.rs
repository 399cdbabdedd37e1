//! Address references in x86-64 code, found without disassembling: every place that looks like a call, a jump or an operand relative to the
//! instruction pointer, and whose target lies where such a thing may point.

/// So many bytes before a field are looked at.
pub(super) const BEFORE: usize = 8;

/// And so many from there on.
pub(super) const AFTER: usize = 8;

/// What a place looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A call or jump, whose field begins so many bytes further: only code can be its target.
    Branch(usize),
    /// An operand in memory.
    Operand(usize),
}

/// Looks at `code[at]`, of which [`BEFORE`] bytes before and [`AFTER`] bytes behind are there. `begin` is where the section begins.
pub(super) fn look(code: &[u8], at: usize, begin: usize) -> Option<Found> {
    match code[at] {
        // call, jmp
        0xE8 | 0xE9 => Some(Found::Branch(1)),
        // jcc
        0x0F if code[at + 1] & 0xF0 == 0x80 => Some(Found::Branch(2)),
        // ModRM of an operand at [rip + disp32]
        modrm if modrm & 0xC7 == 0x05 && at >= begin + BEFORE && takes_operand(&code[at - BEFORE..at]) => Some(Found::Operand(1)),
        _ => None,
    }
}

/// Whether the bytes before a ModRM end in an instruction that has one.
fn takes_operand(before: &[u8]) -> bool {
    let back = |count: usize| before[BEFORE - count];
    let opcode = back(1);
    if back(2) == 0x0F {
        return matches!(opcode,
            0x10..=0x14 | 0x16 | 0x18 | 0x1F | 0x28..=0x2A | 0x2E | 0x2F | 0x40..=0x4F | 0x51 | 0x54..=0x59 | 0x5C..=0x7F
            | 0xB0 | 0xB1 | 0xB6 | 0xB7 | 0xBE..=0xC1 | 0xC6 | 0xD0..=0xFF);
    }
    let plain = matches!(opcode,
        0x01 | 0x03 | 0x09 | 0x0B | 0x21 | 0x23 | 0x29 | 0x2B | 0x31 | 0x33 | 0x38..=0x3B | 0x63 | 0x69 | 0x6B
        | 0x80 | 0x81 | 0x83..=0x8B | 0x8D | 0xC6 | 0xC7 | 0xF6 | 0xF7 | 0xFF);
    // VEX with two or three bytes, EVEX.
    let vector = (back(3) == 0xC5 || back(4) == 0xC4) && opcode >= 0x10;
    plain || vector || back(5) == 0x62
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(instruction: &[u8], at: usize) -> Option<Found> {
        let code = [&[0x90; BEFORE][..], instruction, &[0; AFTER]].concat();
        look(&code, BEFORE + at, 0)
    }

    #[test]
    fn instructions_with_addresses_are_found() {
        assert_eq!(found(&[0xE8, 1, 2, 3, 4], 0), Some(Found::Branch(1)));
        assert_eq!(found(&[0x0F, 0x84, 1, 2, 3, 4], 0), Some(Found::Branch(2)));
        assert_eq!(found(&[0x48, 0x8D, 0x05, 1, 2, 3, 4], 2), Some(Found::Operand(1)), "lea rax, [rip + x]");
        assert_eq!(found(&[0xF3, 0x0F, 0x10, 0x05, 1, 2, 3, 4], 3), Some(Found::Operand(1)), "movss xmm0, [rip + x]");
        assert_eq!(found(&[0xC5, 0xF8, 0x28, 0x05, 1, 2, 3, 4], 3), Some(Found::Operand(1)), "vmovaps xmm0, [rip + x]");
        assert_eq!(found(&[0x90, 0x05, 1, 2, 3, 4], 1), None);
        assert_eq!(found(&[0x48, 0x89, 0xC3], 2), None);
    }
}
