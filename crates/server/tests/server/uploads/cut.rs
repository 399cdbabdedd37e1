//! Uploads that break off, at every place where a part ends and beside it; that go on elsewhere; that bring too much.

use super::*;
use crate::support::released::noise;
use crate::support::uploading::PIECE;
use counterfoil_format::content::ObjectName;
use counterfoil_server::roles::ServerRole;

/// Two parts and a bit.
const LENGTH: usize = 2 * PIECE + 1000;
/// Where parts end, and one byte before and behind; the beginning, and all of it without an end.
const CUTS: [usize; 9] = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, LENGTH - 1];

store_test!(a4_an_upload_cut_at_any_part_goes_on_where_it_was, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    let (desk, laptop) = saver(&server, &db, 200).await;
    let mut parent = 0;
    for cut in CUTS {
        let bytes = noise(&format!("cut at {cut}"), LENGTH);
        let begun = desk.begin(&server, "quick", parent, &bytes).await.unwrap();
        patch_chunks(&server, &begun.path, 0, &bytes[..cut], &[], true).await;
        let kept = offset(&server, &begun.path).await;
        assert_eq!(kept, cut as u64, "all that came is kept");
        // It breaks off once more, one byte further.
        let next = (cut + 1).min(LENGTH - 1);
        patch_chunks(&server, &begun.path, kept, &bytes[cut..next], &[], true).await;
        let kept = usize::try_from(offset(&server, &begun.path).await).unwrap();
        assert_eq!(kept, next);
        patch(&server, &begun.path, kept as u64, bytes[kept..].to_vec()).await.expect(204);
        parent = begun.version;
        let held = laptop.uploads(&server, &[]).await.unwrap().items.pop().unwrap();
        assert_eq!((held.version, held.object.clone()), (parent, ObjectName::of(&bytes).to_string()));
        let fetched = server.get("", &format!("/contents/{}", held.object)).await.body;
        assert!(fetched == bytes, "cut at {cut}");
    }
    is_sound(&db).await;
    later(&server, HOUR);
    sweep(&server.app).await.unwrap();
    assert!(!store.files().iter().any(|path| path.display().to_string().contains("parts/")), "{:?}", store.files());
});

store_test!(a4_a_body_that_breaks_off_after_its_last_byte_is_whole, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    let (desk, _) = saver(&server, &db, 20).await;
    let bytes = noise("whole", LENGTH);
    let begun = desk.begin(&server, "quick", 0, &bytes).await.unwrap();
    patch_chunks(&server, &begun.path, 0, &bytes, &[], true).await;
    assert_eq!(offset(&server, &begun.path).await, LENGTH as u64);
    assert_eq!(desk.uploads(&server, &[]).await.unwrap().items.len(), 1);
    is_sound(&db).await;
});

/// The parts that lie in the store.
fn parts(store: &TestStore) -> usize {
    store.files().iter().filter(|path| path.display().to_string().contains("parts/")).count()
}

store_test!(a4_what_was_not_taken_takes_no_room, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    let (desk, _) = saver(&server, &db, 20).await;
    let bytes = noise("room", LENGTH);
    let begun = desk.begin(&server, "quick", 0, &bytes).await.unwrap();
    let wrong = ("upload-checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".to_owned());
    for broken_off in [false, true] {
        let answer = patch_chunks(&server, &begun.path, 0, &bytes[..LENGTH - 1], std::slice::from_ref(&wrong), broken_off).await;
        assert!(broken_off || answer.code() == "checksum_mismatch", "{}", answer.code());
        assert_eq!((offset(&server, &begun.path).await, parts(&store)), (0, 0));
    }
    // More than was announced is noticed after parts of it were stored.
    let too_much = [&bytes[..], b"x"].concat();
    assert_eq!(patch_chunks(&server, &begun.path, 0, &too_much, &[wrong], false).await.status, 413);
    assert_eq!(parts(&store), 0);
    // Of two that bring the same at the same time, one is taken.
    let both = [patch(&server, &begun.path, 0, bytes[..PIECE].to_vec()), patch(&server, &begun.path, 0, bytes[..PIECE].to_vec())];
    let both = futures_util::future::join_all(both).await;
    assert!(both.iter().any(|answer| answer.status == 409), "{:?}", both.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert_eq!(parts(&store), 1);
    patch(&server, &begun.path, PIECE as u64, bytes[PIECE..].to_vec()).await.expect(204);
    let fetched = server.get("", &format!("/contents/{}", ObjectName::of(&bytes))).await.body;
    assert!(fetched == bytes);
    is_sound(&db).await;
});

db_test!(a4_a_body_with_more_than_was_announced_is_cut, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 20).await;
    let bytes = noise("more", LENGTH + 1);
    let begun = desk.begin(&server, "quick", 0, &bytes[..LENGTH]).await.unwrap();
    let answer = patch(&server, &begun.path, 0, bytes.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str(), offset(&server, &begun.path).await), (413, "too_large", 0));
    // One that does not say how long it is is found out when it is.
    assert_eq!(patch_chunks(&server, &begun.path, 0, &bytes, &[], false).await.status, 413);
    let kept = usize::try_from(offset(&server, &begun.path).await).unwrap();
    assert!(kept < LENGTH, "{kept}");
    assert_eq!(desk.uploads(&server, &[]).await.unwrap().items, []);
    patch(&server, &begun.path, kept as u64, bytes[kept..LENGTH].to_vec()).await.expect(204);
    is_sound(&db).await;
});

db_test!(a4_several_processes_take_the_parts_of_one_upload, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 20).await;
    let other = server.another(&db, |config| config.server.roles = [ServerRole::Authority].into_iter().collect()).await;
    let bytes = noise("processes", LENGTH);
    let begun = desk.begin(&server, "quick", 0, &bytes).await.unwrap();
    for (number, piece) in bytes.chunks(1_000_000).enumerate() {
        let process = if number % 2 == 0 { &server } else { &other };
        patch(process, &begun.path, number as u64 * 1_000_000, piece.to_vec()).await.expect(204);
    }
    // A server that was restarted knows what this one has done.
    let restarted = server.another(&db, |_| ()).await;
    assert_eq!(offset(&restarted, &begun.path).await, LENGTH as u64);
    let fetched = restarted.get("", &format!("/contents/{}", ObjectName::of(&bytes))).await.body;
    assert!(fetched == bytes);
    is_sound(&db).await;
});

db_test!(a4_parts_that_are_lost_are_noticed_and_nothing_becomes_a_version, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let begun = desk.begin(&server, "quick", 0, b"two parts").await.unwrap();
    patch(&server, &begun.path, 0, b"two ".to_vec()).await.expect(204);
    server.app.blobs.remove_parts(begun.upload_id).await.unwrap();
    assert_eq!(patch(&server, &begun.path, 4, b"parts".to_vec()).await.status, 503);
    assert_eq!(desk.uploads(&server, &[]).await.unwrap().items, []);
    // Begun anew, it goes through.
    desk.hand_in(&server, "quick", 0, b"two parts").await;
    is_sound(&db).await;
});
