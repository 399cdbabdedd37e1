//! Many at once: at one offset, at one version, at one quota. One wins; nothing is lost or counted twice.

use super::*;
use crate::support::released::noise;
use crate::support::uploading::PIECE;
use futures_util::future::join_all;

/// Two processes on one database.
async fn two(db: &TestDb) -> [TestServer; 2] {
    let server = TestServer::new(db).await;
    let other = server.another(db, |_| ()).await;
    [server, other]
}

db_test!(a4_of_many_requests_at_one_offset_one_wins, async |db: TestDb| {
    let servers = two(&db).await;
    let (desk, _) = saver(&servers[0], &db, 200).await;
    let bytes = noise("race", 2 * PIECE);
    let begun = desk.begin(&servers[0], "quick", 0, &bytes).await.unwrap();
    // The first half from six sides, some of it false: only what was first counts.
    let sent = join_all((0..6).map(|number| {
        let half = if number == 5 { vec![0; PIECE / 2] } else { bytes[..PIECE].to_vec() };
        patch(&servers[number % 2], &begun.path, 0, half)
    }))
    .await;
    let won = sent.iter().filter(|answer| answer.status == 204).count();
    assert_eq!(won, 1, "{:?}", sent.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(sent.iter().all(|answer| matches!(answer.status.as_u16(), 204 | 409)));
    let at = usize::try_from(offset(&servers[1], &begun.path).await).unwrap();
    assert!(at == PIECE || at == PIECE / 2);
    if at == PIECE {
        // Replayed, the first half moves nothing.
        assert_eq!(patch(&servers[0], &begun.path, 0, bytes[..PIECE].to_vec()).await.status, 409);
        let last = join_all((0..4).map(|number| patch(&servers[number % 2], &begun.path, at as u64, bytes[at..].to_vec()))).await;
        assert!(
            last.iter().all(|answer| matches!(answer.status.as_u16(), 204 | 409)),
            "{:?}",
            last.iter().map(|a| a.code()).collect::<Vec<_>>()
        );
        assert!(last.iter().any(|answer| answer.status == 204));
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'upload.complete'").await, 1);
    }
    is_sound(&db).await;
});

db_test!(a4_of_two_devices_that_save_at_once_the_second_is_told_of_a_conflict, async |db: TestDb| {
    let servers = two(&db).await;
    let (desk, laptop) = saver(&servers[0], &db, 1).await;
    desk.hand_in(&servers[0], "quick", 0, b"common past").await;
    let (one, two) = (desk.begin(&servers[0], "quick", 1, b"of the desk"), laptop.begin(&servers[1], "quick", 1, b"of the laptop"));
    let (one, two) = futures_util::join!(one, two);
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.version, two.version), (2, 2), "both began as the same version");
    let (first, second) = futures_util::join!(
        patch(&servers[0], &one.path, 0, b"of the desk".to_vec()),
        patch(&servers[1], &two.path, 0, b"of the laptop".to_vec())
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    let (lost, path) = if first.status == 409 { (&first, &one.path) } else { (&second, &two.path) };
    assert_eq!(lost.code(), "save_conflict");
    assert!(lost.json()["detail"].as_str().unwrap().contains("version 2"), "{}", lost.json());
    assert_eq!(head(&servers[0], path).await.status, 410, "it is over, and nothing was put over the other");
    let held = desk.uploads(&servers[0], &[]).await.unwrap();
    assert_eq!(held.items.iter().map(|item| item.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(held.used, held.items.iter().map(|item| item.length).sum::<u64>());
    // Said as it is, both are kept.
    assert_eq!(refused(laptop.begin(&servers[0], "quick", 1, b"mine").await), Code::SaveConflict);
    assert_eq!(laptop.hand_in(&servers[0], "quick", 2, b"mine").await.version, 3);
    is_sound(&db).await;
});

db_test!(a4_a_quota_is_never_exceeded_from_however_many_sides, async |db: TestDb| {
    let servers = two(&db).await;
    let (desk, laptop) = saver(&servers[0], &db, 1).await;
    let bytes = noise("quota", 100_000);
    // Ten fit in a MiB; twenty ask.
    let asked = (0..20).map(|number| {
        let (device, server) = (if number % 4 < 2 { &desk } else { &laptop }, &servers[number % 2]);
        let (slot, bytes) = (format!("slot-{number}"), &bytes);
        async move { device.begin(server, &slot, 0, bytes).await }
    });
    let answers = join_all(asked).await;
    let begun: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(begun.len(), 10);
    for no in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(no.code, Code::QuotaExceeded);
    }
    assert_eq!(db.number("SELECT bytes FROM upload_usage").await, 1_000_000);
    let sent = join_all(begun.iter().enumerate().map(|(number, begun)| patch(&servers[number % 2], &begun.path, 0, bytes.clone()))).await;
    assert!(sent.iter().all(|answer| answer.status == 204));
    let held = desk.uploads(&servers[0], &[("slot-0", 1)]).await;
    // Whichever ten it were: taking one away makes room for one.
    if held.is_ok() {
        laptop.hand_in(&servers[1], "more", 0, &bytes).await;
    }
    is_sound(&db).await;
});
