//! Address references in ELF files for x86-64: code, relocations, symbols, exception frames, pointers, jump tables.

use std::io;

use super::layout::{Kind, Layout, Segment};
use super::references::{References, Table};
use super::x86::{self, Found};
use crate::text::{Piece, Text};

/// Bytes that are looked at at once.
const WINDOW: usize = 256 << 10;

/// More sections are not looked at.
const MAX_SECTIONS: u64 = 4096;

/// Fewer entries are no jump table.
const LEAST_TABLE: u64 = 3;

/// Reads a file of the text: its layout, and its references into `references`. `None` if it is no such executable.
pub(super) fn read(text: &Text<'_>, piece: &Piece, references: &mut References) -> io::Result<Option<Layout>> {
    let mut file = Window { text, begin: piece.at, len: piece.len, at: 0, buffer: Vec::new() };
    let Some((mut layout, sections)) = headers(&mut file)? else {
        return Ok(None);
    };
    for section in &sections {
        match section.name.as_str() {
            ".eh_frame_hdr" => layout.frame_index = section.address,
            ".strtab" => layout.names = section.offset,
            ".dynstr" => layout.dynamic_names = section.offset,
            _ => {}
        }
    }
    let mut elf = Elf { file, layout, references, base: piece.at, tables: Vec::new(), constants: None };
    elf.constants = sections.iter().find(|section| section.kind == PROGRAM && section.name == ".rodata").cloned();
    for section in &sections {
        elf.section(section)?;
    }
    if let Some(constants) = elf.constants.take() {
        elf.jump_tables(&constants)?;
    }
    Ok(Some(elf.layout))
}

/// Section types and flags (System V ABI, chapter 4).
const PROGRAM: u32 = 1;
const SYMBOLS: u32 = 2;
const RELOCATIONS: u32 = 4;
const NOTHING: u32 = 8;
const DYNAMIC_SYMBOLS: u32 = 11;
const WRITABLE: u64 = 1;
const CODE: u64 = 4;

#[derive(Clone)]
struct Section {
    name: String,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    len: u64,
}

impl Section {
    fn end(&self) -> u64 {
        self.offset + self.len
    }

    fn is_pointers(&self) -> bool {
        let named = [".data", ".got", ".init_array", ".fini_array"].iter().any(|name| self.name.starts_with(name));
        self.kind == PROGRAM && self.flags & WRITABLE != 0 && named
    }
}

/// Layout and sections, if this is an ELF file for x86-64.
fn headers(file: &mut Window<'_, '_>) -> io::Result<Option<(Layout, Vec<Section>)>> {
    let Some(head) = file.bytes(0, 64)? else {
        return Ok(None);
    };
    let head: [u8; 64] = head.try_into().expect("64 bytes were asked for");
    // Class 64 bits, byte order little, machine x86-64.
    if head[..6] != *b"\x7FELF\x02\x01" || u16_at(&head, 18) != 62 {
        return Ok(None);
    }
    let mut layout = Layout::default();
    for number in 0..u64::from(u16_at(&head, 56)).min(64) {
        let Some(entry) = file.bytes(u64_at(&head, 32).saturating_add(number * 56), 56)? else { continue };
        if u32_at(entry, 0) == 1 {
            layout.segments.push(Segment {
                offset: u64_at(entry, 8),
                file_len: u64_at(entry, 32),
                address: u64_at(entry, 16),
                memory_len: u64_at(entry, 40),
                code: u32_at(entry, 4) & 1 != 0,
            });
        }
    }
    let (table, count, names) = (u64_at(&head, 40), u64::from(u16_at(&head, 60)).min(MAX_SECTIONS), u64::from(u16_at(&head, 62)));
    let names = file.bytes(table.saturating_add(names * 64), 64)?.map_or(0, |entry| u64_at(entry, 24));
    let mut sections = Vec::new();
    for number in 0..count {
        let Some(entry) = file.bytes(table.saturating_add(number * 64), 64)? else { continue };
        let name = names.saturating_add(u64::from(u32_at(entry, 0)));
        let mut section = Section {
            name: String::new(),
            kind: u32_at(entry, 4),
            flags: u64_at(entry, 8),
            address: u64_at(entry, 16),
            offset: u64_at(entry, 24),
            len: u64_at(entry, 32),
        };
        if section.kind != NOTHING && section.offset.checked_add(section.len).is_some_and(|end| end <= file.len) {
            section.name = file.name(name)?;
            sections.push(section);
        }
    }
    sections.sort_by_key(|section| section.offset);
    Ok(Some((layout, sections)))
}

struct Elf<'w, 't, 'f> {
    file: Window<'t, 'f>,
    layout: Layout,
    references: &'w mut References,
    /// Where the file begins in the text.
    base: u64,
    /// Offsets in the constants that code refers to: where jump tables may begin.
    tables: Vec<u32>,
    constants: Option<Section>,
}

impl Elf<'_, '_, '_> {
    fn section(&mut self, section: &Section) -> io::Result<()> {
        match section.kind {
            RELOCATIONS => self.relocations(section),
            SYMBOLS => self.symbols(section, Kind::Name),
            DYNAMIC_SYMBOLS => self.symbols(section, Kind::DynamicName),
            _ if section.name == ".eh_frame" => self.frames(section),
            _ if section.name == ".eh_frame_hdr" => self.frame_index(section),
            PROGRAM if section.flags & CODE != 0 => self.code(section),
            _ if section.is_pointers() => self.pointers(section),
            _ => Ok(()),
        }
    }

    fn push(&mut self, at: u64, kind: Kind) {
        self.references.push(self.base + at, kind);
    }

    fn is_mapped(&self, address: u64) -> bool {
        self.layout.segment(address).is_some()
    }

    /// Elf64_Rela: where, what, and of R_X86_64_RELATIVE the address.
    fn relocations(&mut self, section: &Section) -> io::Result<()> {
        for at in (section.offset..section.end()).step_by(24) {
            let Some(entry) = self.file.bytes(at, 24)? else { break };
            let (place, kind, addend) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
            if self.is_mapped(place) {
                self.push(at, Kind::Absolute);
            }
            if kind == 8 && self.is_mapped(addend) {
                self.push(at + 16, Kind::Absolute);
            }
        }
        Ok(())
    }

    /// Elf64_Sym: name, four bytes of other things, address, length.
    fn symbols(&mut self, section: &Section, name: Kind) -> io::Result<()> {
        for at in (section.offset..section.end()).step_by(24) {
            let Some(entry) = self.file.bytes(at, 24)? else { break };
            let (named, value) = (u32_at(entry, 0) != 0, u64_at(entry, 8));
            if named {
                self.push(at, name);
            }
            if value != 0 && self.is_mapped(value) {
                self.push(at + 8, Kind::Absolute);
            }
        }
        Ok(())
    }

    /// Records of the exception frames: those that are no beginning point back at one, at a function, and perhaps at its table.
    fn frames(&mut self, section: &Section) -> io::Result<()> {
        let mut at = section.offset;
        while let Some(head) = self.file.bytes(at, 12)? {
            let (len, back) = (u64::from(u32_at(head, 0)), u32_at(head, 4));
            if len == 0 || len >= 0xFFFF_FFF0 || at + 4 + len > section.end() {
                break;
            }
            if back != 0 {
                self.push(at + 4, Kind::FrameBack);
                self.push_mapped(at + 8, Kind::Frame)?;
                let augmented = if len >= 17 { self.file.bytes(at + 16, 5)?.is_some_and(|bytes| bytes[0] == 4) } else { false };
                if augmented {
                    self.push_mapped(at + 17, Kind::Frame)?;
                }
            }
            at += 4 + len;
        }
        Ok(())
    }

    /// Pairs of function and frame, relative to the beginning of the section.
    fn frame_index(&mut self, section: &Section) -> io::Result<()> {
        for at in (section.offset + 12..section.end().saturating_sub(3)).step_by(4) {
            self.push_mapped(at, Kind::FrameIndex)?;
        }
        Ok(())
    }

    fn pointers(&mut self, section: &Section) -> io::Result<()> {
        for at in (section.offset..section.end().saturating_sub(7)).step_by(8) {
            let Some(bytes) = self.file.bytes(at, 8)? else { break };
            let address = u64_at(bytes, 0);
            if address >= 4096 && self.is_mapped(address) {
                self.push(at, Kind::Absolute);
            }
        }
        Ok(())
    }

    fn push_mapped(&mut self, at: u64, kind: Kind) -> io::Result<()> {
        let Some(field) = self.file.bytes(at, kind.width())? else { return Ok(()) };
        let target = self.layout.target(kind, at, field, 0);
        if target.is_some_and(|target| self.is_mapped(target)) {
            self.push(at, kind);
        }
        Ok(())
    }

    fn code(&mut self, section: &Section) -> io::Result<()> {
        let mut at = section.offset;
        while at + x86::AFTER as u64 <= section.end() {
            let begin = at.saturating_sub(x86::BEFORE as u64).max(section.offset);
            let end = (at + WINDOW as u64 / 2).min(section.end() - x86::AFTER as u64 + 1);
            let len = (end - begin) as usize + x86::AFTER - 1;
            let Some(bytes) = self.file.bytes(begin, len)? else { break };
            let bytes = bytes.to_vec();
            while at < end {
                at += self.instruction(&bytes, begin, at, section);
            }
        }
        Ok(())
    }

    /// Looks at one place; tells where the next one is.
    fn instruction(&mut self, bytes: &[u8], begin: u64, at: u64, section: &Section) -> u64 {
        let first = if begin == section.offset { 0 } else { x86::BEFORE.min((at - begin) as usize) - x86::BEFORE };
        let Some(found) = x86::look(bytes, (at - begin) as usize, first) else {
            return 1;
        };
        let (Found::Branch(skip) | Found::Operand(skip)) = found;
        let field = (at - begin) as usize + skip;
        let at_field = at + skip as u64;
        let Some(target) = bytes.get(field..field + 4).and_then(|field| self.layout.target(Kind::Relative, at_field, field, 0)) else {
            return 1;
        };
        let fits = match found {
            Found::Branch(_) => self.layout.is_code(target),
            Found::Operand(_) => self.is_mapped(target),
        };
        if !fits {
            return 1;
        }
        self.push(at_field, Kind::Relative);
        if let Some(constants) = &self.constants
            && target.wrapping_sub(constants.address) < constants.len
        {
            self.tables.push(target.wrapping_sub(constants.address) as u32);
            if self.tables.len() == self.tables.capacity() {
                self.tables.sort_unstable();
                self.tables.dedup();
            }
        }
        skip as u64 + 4
    }

    /// Tables among the constants: distances to code, from where code refers to until it refers to something else.
    fn jump_tables(&mut self, constants: &Section) -> io::Result<()> {
        let mut begins = std::mem::take(&mut self.tables);
        begins.sort_unstable();
        begins.dedup();
        for (index, begin) in begins.iter().enumerate().filter(|(_, begin)| **begin % 4 == 0) {
            let begin = u64::from(*begin);
            let end = begins.get(index + 1).map_or(constants.len, |next| u64::from(*next));
            let (at, address) = (constants.offset + begin, constants.address.wrapping_add(begin));
            let mut len = 0;
            while begin + len + 4 <= end {
                let Some(field) = self.file.bytes(at + len, 4)? else { break };
                let zero = u32_at(field, 0) == 0;
                let target = self.layout.target(Kind::Table, at + len, field, address);
                if zero || !target.is_some_and(|target| self.layout.is_code(target)) {
                    break;
                }
                len += 4;
            }
            if len / 4 >= LEAST_TABLE {
                self.references.push_table(Table { at: self.base + at, len });
                for entry in (0..len).step_by(4) {
                    self.push(at + entry, Kind::Table);
                }
            }
        }
        Ok(())
    }
}

/// A file of a text, read forward through a window.
struct Window<'t, 'f> {
    text: &'t Text<'f>,
    /// Where the file begins in the text, and its length.
    begin: u64,
    len: u64,
    /// Where the buffer begins in the file.
    at: u64,
    buffer: Vec<u8>,
}

impl Window<'_, '_> {
    /// Bytes of the file, `None` where it ends before; at most [`WINDOW`].
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        if offset < self.at || offset + len as u64 > self.at + self.buffer.len() as u64 {
            self.buffer.resize((self.len - offset).min(WINDOW as u64) as usize, 0);
            self.text.read_exact_at(&mut self.buffer, self.begin + offset)?;
            self.at = offset;
        }
        let from = (offset - self.at) as usize;
        Ok(Some(&self.buffer[from..from + len]))
    }

    /// The name at an offset, which ends with a zero; at most 31 bytes of it.
    fn name(&mut self, offset: u64) -> io::Result<String> {
        let len = self.len.saturating_sub(offset).min(31) as usize;
        let bytes = self.bytes(offset, len)?.unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
