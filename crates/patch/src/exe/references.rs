//! Where the references of a text are: two bytes each, so that those of a large executable fit memory.

use super::layout::Kind;

/// References are kept by pages of the text: the position in a page and the kind fit 16 bits.
const PAGE: u64 = 1 << 12;

/// Where references are.
pub(crate) struct References {
    /// For each page, position shifted by 4 bits and kind.
    pages: Vec<Vec<u16>>,
    tables: Vec<Table>,
}

/// A table of references that are relative to its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where it begins in the text.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl References {
    /// None yet, of a text of this length.
    pub fn new(len: u64) -> Self {
        References { pages: vec![Vec::new(); len.div_ceil(PAGE) as usize], tables: Vec::new() }
    }

    /// A reference at a position of the text.
    pub fn push(&mut self, at: u64, kind: Kind) {
        if let Some(page) = self.pages.get_mut((at / PAGE) as usize) {
            page.push(((at % PAGE) as u16) << 4 | kind as u16);
        }
    }

    /// A table; its references are pushed one by one.
    pub fn push_table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// To be called once all are pushed: orders them, and leaves out what overlaps one before.
    pub fn finish(&mut self) {
        let mut end = 0;
        for (number, page) in self.pages.iter_mut().enumerate() {
            page.sort_unstable();
            page.retain(|entry| {
                let (at, kind) = unpack(number, *entry);
                let apart = at >= end;
                if apart {
                    end = at + kind.width() as u64;
                }
                apart
            });
            page.shrink_to_fit();
        }
        self.tables.sort_unstable_by_key(|table| table.at);
    }

    /// Those that begin at `from` or later, in order.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, Kind)> + '_ {
        let first = (from / PAGE) as usize;
        let pages = self.pages.iter().enumerate().skip(first);
        pages.flat_map(|(number, page)| page.iter().map(move |entry| unpack(number, *entry))).skip_while(move |(at, _)| *at < from)
    }

    /// The table that a reference belongs to.
    pub fn table(&self, at: u64) -> Option<Table> {
        let index = self.tables.partition_point(|table| table.at <= at).checked_sub(1)?;
        let table = self.tables[index];
        (at < table.at + table.len).then_some(table)
    }
}

fn unpack(page: usize, entry: u16) -> (u64, Kind) {
    (page as u64 * PAGE + u64::from(entry >> 4), Kind::from_number((entry & 15) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_in_order_without_overlaps() {
        let mut references = References::new(10_000);
        for (at, kind) in [(9_000, Kind::Name), (4_094, Kind::Absolute), (4_100, Kind::Relative), (4_102, Kind::Relative), (8, Kind::Table)]
        {
            references.push(at, kind);
        }
        references.push_table(Table { at: 8, len: 12 });
        references.finish();
        let found: Vec<_> = references.from(9).collect();
        assert_eq!(found, [(4_094, Kind::Absolute), (4_102, Kind::Relative), (9_000, Kind::Name)]);
        assert_eq!(references.from(0).next(), Some((8, Kind::Table)));
        assert_eq!(references.table(19), Some(Table { at: 8, len: 12 }));
        assert_eq!(references.table(20), None);
    }
}
