use proptest::prelude::*;

use super::*;
use crate::content::{ContentKey, ManifestBuilder, ObjectName};
use crate::secret::{Secret, SystemRandom};

const OLD: [u32; 3] = [200_000, 70_000, 30_000];

fn key(byte: u8) -> DeltaKey {
    ContentKey::new(Secret::new([byte; 32])).delta_key()
}

fn index() -> DeltaIndex {
    let run = |first, count| Run { first, count };
    let groups = vec![
        DeltaGroup { new: vec![run(0, 1), run(2, 1)], old: vec![run(0, 3)], sealed: 0 },
        DeltaGroup { new: vec![run(3, 1)], old: vec![], sealed: 0 },
    ];
    DeltaIndex { from: ChunkId([1; 32]), to: ChunkId([2; 32]), encoder: "zstd 1.5.7".into(), level: -3, manifest: 0, groups }
}

/// An object whose pieces are `pieces`, the manifest's first.
fn object(pieces: &[&[u8]]) -> (DeltaIndex, Vec<u8>) {
    let sealer = DeltaSealer::new(key(7), &mut SystemRandom);
    let mut index = index();
    let mut sealed = vec![sealer.manifest(pieces[0].to_vec())];
    sealed.extend(pieces[1..].iter().enumerate().map(|(at, piece)| sealer.group(at, piece.to_vec())));
    index.manifest = sealed[0].len() as u32;
    for (group, piece) in index.groups.iter_mut().zip(&sealed[1..]) {
        group.sealed = piece.len() as u32;
    }
    let whole = [sealer.front(&index).expect("an index"), sealed.concat()].concat();
    (index, whole)
}

fn front(object: &[u8]) -> Result<DeltaFront, DeltaError> {
    let length = object.len() as u64;
    let head = object.first_chunk().ok_or(DeltaError::Index("cut off"))?;
    let end = delta_front_length(&key(7), head, length)?;
    DeltaFront::open(key(7), &object[..end as usize], length)
}

fn manifest(plain: &[u32]) -> Manifest {
    let mut builder = ManifestBuilder::new();
    for (at, plain) in plain.iter().enumerate() {
        builder.chunk(ChunkId([at as u8; 32]), plain + 17, *plain).expect("a chunk");
    }
    builder.end_pack(ObjectName([0; 32])).expect("a pack");
    builder.finish().expect("a manifest")
}

#[test]
fn every_piece_is_read_by_its_own_range() {
    let pieces: [&[u8]; 3] = [b"the manifest", b"the first group", b"x"];
    let (index, object) = object(&pieces);
    let front = front(&object).expect("it opens");
    assert_eq!(front.index(), &index);
    let sealed = |range: Range<u64>| object[range.start as usize..range.end as usize].to_vec();
    assert_eq!(front.open_manifest(&mut sealed(front.manifest())), Ok(pieces[0]));
    assert_eq!(front.open_group(0, &mut sealed(front.group(0))), Ok(pieces[1]));
    assert_eq!(front.open_group(1, &mut sealed(front.group(1))), Ok(pieces[2]));
    assert_eq!(front.open_group(0, &mut sealed(front.group(1))), Err(DeltaError::Piece(3)), "at another place");
}

#[test]
fn no_byte_of_the_front_can_be_changed_and_none_be_missing() {
    let (_, object) = object(&[b"the manifest", b"the first group", b"the second"]);
    let end = delta_front_length(&key(7), object.first_chunk().expect("a head"), object.len() as u64).expect("it opens") as usize;
    for at in 0..end {
        let mut changed = object.clone();
        changed[at] ^= 1;
        assert!(front(&changed).is_err(), "byte {at}");
    }
    for length in 0..object.len() {
        assert!(front(&object[..length]).is_err(), "cut to {length}");
    }
    assert!(front(&[&object[..], b"x"].concat()).is_err());
    assert!(delta_front_length(&key(8), object.first_chunk().expect("a head"), 1 << 20).is_err(), "of another title");
}

#[test]
fn what_a_terminal_would_hold_in_memory_is_bounded() {
    let (old, new) = (manifest(&OLD), manifest(&[250_000, 10, 20, 30]));
    assert_eq!(index().check(&old, &new), Ok(()));
    assert!(index().check(&old, &manifest(&[250_000, 10, 20])).is_err(), "chunks that the new release has not");
    assert!(index().check(&manifest(&OLD[..2]), &new).is_err(), "chunks that the old release has not");
    let many: Vec<u32> = vec![250_000; 40];
    let with = |old: u32, new: u32| {
        let run = |count| vec![Run { first: 0, count }];
        DeltaIndex { groups: vec![DeltaGroup { new: run(new), old: run(old), sealed: 100 }], ..index() }
    };
    let check = |old, new| with(old, new).check(&manifest(&many), &manifest(&many));
    assert_eq!(check(16, 4), Ok(()));
    assert!(check(17, 4).is_err(), "more than DELTA_OLD");
    assert!(check(16, 5).is_err(), "more than DELTA_NEW");
    let twice = vec![Run { first: 0, count: 8 }; 3];
    let twice = DeltaIndex { groups: vec![DeltaGroup { new: vec![Run { first: 0, count: 1 }], old: twice, sealed: 100 }], ..index() };
    assert!(twice.check(&manifest(&many), &manifest(&many)).is_err(), "however often the same chunk is named");
    let sealer = DeltaSealer::new(key(7), &mut SystemRandom);
    assert!(sealer.front(&twice).is_err(), "and nobody seals that");
    assert!(with(u32::MAX, 1).check(&manifest(&many), &manifest(&many)).is_err());
}

fn runs_of(parts: Vec<(u32, u32)>) -> Vec<Run> {
    let mut next = 0;
    let place = |(gap, count): (u32, u32)| {
        let run = Run { first: next + gap + 1, count };
        next = run.first + count;
        run
    };
    parts.into_iter().map(place).collect()
}

proptest! {
    #[test]
    fn an_index_comes_back_and_has_one_encoding(
        groups in proptest::collection::vec((1..5_u32, proptest::collection::vec((0..400_u32, 1..300_u32), 0..4), 17..2_000_000_u32), 0..6),
        level in -7..23_i32,
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut next = 0;
        let groups = groups.into_iter().map(|(count, old, sealed)| {
            let new = vec![Run { first: next + count, count }];
            next += 2 * count;
            DeltaGroup { new, old: runs_of(old), sealed }
        });
        let index = DeltaIndex { level, groups: groups.collect(), ..index() };
        prop_assert!(index.rises());
        let mut bytes = index.encode();
        prop_assert_eq!(DeltaIndex::parse(&bytes), Ok(index));
        // What is accepted is written in the one way there is.
        let (at, to) = (change.0.index(bytes.len()), change.1);
        bytes[at] = to;
        if let Ok(changed) = DeltaIndex::parse(&bytes) {
            prop_assert_eq!(changed.encode(), bytes);
        }
    }
}
