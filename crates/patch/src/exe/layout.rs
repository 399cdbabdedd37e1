//! How the addresses of an executable lie in its file, and what a reference of each kind says.

use std::io::{self, Read};

use crate::varint::{self, invalid};

/// More segments are not accepted.
const MAX_SEGMENTS: u64 = 64;

/// Part of a file that is mapped to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it begins in the file, and its length there.
    pub offset: u64,
    pub file_len: u64,
    /// Where it begins in memory, and its length there.
    pub address: u64,
    pub memory_len: u64,
    /// Whether it holds code.
    pub code: bool,
}

/// What kind of reference: what its field says, and how long that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Four bytes: distance from the end of the field, as in calls and jumps.
    Relative,
    /// Eight bytes: the address.
    Absolute,
    /// Four bytes: distance from the beginning of the table that holds it, as in jump tables.
    Table,
    /// Four bytes: distance from the beginning of the field, as in exception frames.
    Frame,
    /// Four bytes: distance from the beginning of the index of exception frames.
    FrameIndex,
    /// Four bytes: distance back from the field to what a frame has in common with others.
    FrameBack,
    /// Four bytes: position in the names of symbols.
    Name,
    /// Four bytes: position in the names of dynamic symbols.
    DynamicName,
}

impl Kind {
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Kind::Relative,
            1 => Kind::Absolute,
            2 => Kind::Table,
            3 => Kind::Frame,
            4 => Kind::FrameIndex,
            5 => Kind::FrameBack,
            6 => Kind::Name,
            _ => Kind::DynamicName,
        }
    }

    /// Length of the field.
    pub fn width(self) -> usize {
        if self == Kind::Absolute { 8 } else { 4 }
    }

    /// Whether the target is a position in the file instead of an address.
    pub fn is_name(self) -> bool {
        matches!(self, Kind::Name | Kind::DynamicName)
    }
}

/// How the addresses of an executable lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub segments: Vec<Segment>,
    /// Address of the index of exception frames.
    pub frame_index: u64,
    /// Where the names of symbols and of dynamic symbols begin in the file.
    pub names: u64,
    pub dynamic_names: u64,
}

impl Layout {
    /// Address of what lies at an offset of the file.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| offset.wrapping_sub(segment.offset) < segment.file_len)?;
        Some(segment.address.wrapping_add(offset.wrapping_sub(segment.offset)))
    }

    /// Where in the file what has this address lies.
    pub fn offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| address.wrapping_sub(segment.address) < segment.file_len)?;
        segment.offset.checked_add(address.wrapping_sub(segment.address))
    }

    /// The segment that an address belongs to, be it in the file or in memory only.
    pub fn segment(&self, address: u64) -> Option<(usize, &Segment)> {
        self.segments.iter().enumerate().find(|(_, segment)| address.wrapping_sub(segment.address) < segment.memory_len)
    }

    /// Whether code can be at an address.
    pub fn is_code(&self, address: u64) -> bool {
        self.segment(address).is_some_and(|(_, segment)| segment.code)
    }

    /// What a field at `at` of the file points at: an address, of names a position in the file. `table` is the address of the table.
    pub fn target(&self, kind: Kind, at: u64, field: &[u8], table: u64) -> Option<u64> {
        if kind == Kind::Absolute {
            return Some(u64::from_le_bytes(field.try_into().ok()?));
        }
        let unsigned = u32::from_le_bytes(field.try_into().ok()?);
        let distance = unsigned as i32 as i64 as u64;
        Some(match kind {
            Kind::Relative => self.address(at)?.wrapping_add(4).wrapping_add(distance),
            Kind::Absolute | Kind::Table => table.wrapping_add(distance),
            Kind::Frame => self.address(at)?.wrapping_add(distance),
            Kind::FrameIndex => self.frame_index.wrapping_add(distance),
            Kind::FrameBack => self.address(at)?.wrapping_sub(u64::from(unsigned)),
            Kind::Name => self.names.wrapping_add(u64::from(unsigned)),
            Kind::DynamicName => self.dynamic_names.wrapping_add(u64::from(unsigned)),
        })
    }

    /// What a field at `at` has to say to point at `target`; the first `kind.width()` bytes.
    pub fn field(&self, kind: Kind, at: u64, target: u64, table: u64) -> Option<[u8; 8]> {
        let value = match kind {
            Kind::Relative => target.wrapping_sub(self.address(at)?.wrapping_add(4)),
            Kind::Absolute => target,
            Kind::Table => target.wrapping_sub(table),
            Kind::Frame => target.wrapping_sub(self.address(at)?),
            Kind::FrameIndex => target.wrapping_sub(self.frame_index),
            Kind::FrameBack => self.address(at)?.wrapping_sub(target),
            Kind::Name => target.wrapping_sub(self.names),
            Kind::DynamicName => target.wrapping_sub(self.dynamic_names),
        };
        Some(value.to_le_bytes())
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.segments.len() as u64);
        for segment in &self.segments {
            varint::put(out, segment.offset);
            varint::put(out, segment.file_len);
            varint::put_signed(out, segment.address.wrapping_sub(segment.offset) as i64);
            varint::put_signed(out, segment.memory_len.wrapping_sub(segment.file_len) as i64);
            out.push(u8::from(segment.code));
        }
        for value in [self.frame_index, self.names, self.dynamic_names] {
            varint::put(out, value);
        }
    }

    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let count = varint::read(from)?;
        if count > MAX_SEGMENTS {
            return Err(invalid("an executable has too many segments"));
        }
        let mut layout = Layout::default();
        for _ in 0..count {
            let (offset, file_len) = (varint::read(from)?, varint::read(from)?);
            let address = offset.wrapping_add(varint::read_signed(from)? as u64);
            let memory_len = file_len.wrapping_add(varint::read_signed(from)? as u64);
            let mut code = [0];
            from.read_exact(&mut code)?;
            layout.segments.push(Segment { offset, file_len, address, memory_len, code: code[0] != 0 });
        }
        layout.frame_index = varint::read(from)?;
        layout.names = varint::read(from)?;
        layout.dynamic_names = varint::read(from)?;
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let code = Segment { offset: 0x1000, file_len: 0x800, address: 0x40_1000, memory_len: 0x800, code: true };
        let data = Segment { offset: 0x1800, file_len: 0x100, address: 0x60_1800, memory_len: 0x900, code: false };
        Layout { segments: vec![code, data], frame_index: 0x60_1840, names: 0x1900, dynamic_names: 0x1A00 }
    }

    #[test]
    fn a_field_says_what_its_target_is() {
        let layout = layout();
        for number in 0..8 {
            let kind = Kind::from_number(number);
            let target = if kind.is_name() { 0x1A20 } else { 0x40_1010 };
            let field = layout.field(kind, 0x1400, target, 0x40_1200).unwrap();
            assert_eq!(layout.target(kind, 0x1400, &field[..kind.width()], 0x40_1200), Some(target), "{kind:?}");
            assert_eq!(kind as u8, number);
        }
        assert_eq!(layout.offset(0x60_1900), None, "memory that is not in the file");
        assert!(layout.is_code(0x40_17FF) && !layout.is_code(0x40_1800));
    }

    #[test]
    fn a_layout_comes_back() {
        let mut out = Vec::new();
        layout().put(&mut out);
        assert_eq!(Layout::read(&mut &out[..]).unwrap(), layout());
        assert!(Layout::read(&mut &out[..out.len() - 1]).is_err());
    }
}
