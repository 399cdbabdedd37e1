//! Bodies that stream through the gateway (C16): the inbox, uploads that break off, parts of contents.

use bytes::Bytes;
use counterfoil_format::content::ObjectName;

use super::*;
use crate::support::released::noise;
use crate::support::uploading::{PIECE, saver};
use crate::support::{TestDb, db_test};

/// How long what comes within moments is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

impl Rig {
    /// Where an upload stands; nothing where the authority cannot say just now.
    async fn upload_at(&self, path: &str) -> Option<u64> {
        let head = HttpRequest::head(path).header("tus-resumable", "1.0.0").body(Body::empty()).unwrap();
        let answer = self.send(head).await;
        match answer.status.as_u16() {
            200 => Some(answer.header("upload-offset").parse().unwrap()),
            503 => None,
            other => panic!("{other}"),
        }
    }

    /// Hands in what comes after `offset`, in pieces of unknown number; where `broken`, the terminal is gone after them.
    async fn patch(&self, path: &str, offset: u64, bytes: &[u8], broken: bool) -> Answer {
        let mut chunks: Vec<Result<Bytes, std::io::Error>> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        if broken {
            chunks.push(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let request = HttpRequest::patch(path).header("tus-resumable", "1.0.0").header("content-type", "application/offset+octet-stream");
        let request = request.header("upload-offset", offset.to_string()).header("transfer-encoding", "chunked");
        self.send(request.body(Body::from_stream(futures_util::stream::iter(chunks))).unwrap()).await
    }
}

// proves: C16, A4
db_test!(c16_an_upload_through_a_gateway_that_breaks_off_goes_on_where_it_was, async |db: TestDb| {
    let private = Private::new(&db).await;
    let (desk, laptop) = saver(&private.server, &db, 200).await;
    let rig = Rig::over(private, &db, 0, 0).await;
    let server = &rig.private.server;
    let length = 2 * PIECE + 1000;
    let (mut parent, mut kept_in_all) = (0, 0);
    for cut in [1, PIECE - 1, PIECE + 1, length - 1] {
        let bytes = noise(&format!("through, cut at {cut}"), length);
        let begun = desk.begin(server, "quick", parent, &bytes).await.unwrap();
        let broken = rig.patch(&begun.path, 0, &bytes[..cut], true).await;
        assert!(broken.status.is_server_error(), "{}", broken.status);
        // What came is written down while the next request is on its way: whoever is told that it stands elsewhere asks again.
        let whole = async {
            loop {
                let Some(at) = rig.upload_at(&begun.path).await else { continue };
                let at = usize::try_from(at).unwrap();
                assert!(at <= cut.max(length), "{at}");
                let answer = rig.patch(&begun.path, at as u64, &bytes[at..], false).await;
                match answer.status.as_u16() {
                    204 => return at,
                    409 | 423 | 503 => {}
                    other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
                }
            }
        };
        kept_in_all += tokio::time::timeout(PATIENCE, whole).await.expect("it goes on");
        parent = begun.version;
        let held = laptop.uploads(server, &[]).await.unwrap().items.pop().unwrap();
        assert_eq!((held.version, held.object.clone()), (parent, ObjectName::of(&bytes).to_string()));
        let fetched = rig.get(&format!("/contents/{}", held.object), "").await;
        assert!(fetched.status == 200 && fetched.body == bytes, "cut at {cut}: {}", fetched.status);
    }
    assert!(kept_in_all > 0, "nothing of what was handed in before the line broke was kept");
    rig.gone().await;
});

// proves: C16
db_test!(c16_parts_of_contents_come_through_a_gateway_as_they_were_asked_for, async |db: TestDb| {
    let private = Private::new(&db).await;
    let (desk, _) = saver(&private.server, &db, 20).await;
    let bytes = noise("parts", 300_000);
    desk.hand_in(&private.server, "quick", 0, &bytes).await;
    let rig = Rig::over(private, &db, 0, 0).await;
    let path = format!("/contents/{}", ObjectName::of(&bytes));
    let ask = async |range: &str| {
        let request = HttpRequest::get(&path).header("range", range).body(Body::empty()).unwrap();
        rig.send(request).await
    };
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-199999", 100_000, 200_000),
        ("bytes=299000-", 299_000, 300_000),
        ("bytes=-7", 299_993, 300_000),
    ] {
        let part = ask(range).await;
        assert_eq!((part.status.as_u16(), part.header("content-range")), (206, &*format!("bytes {from}-{}/300000", to - 1)), "{range}");
        assert!(part.body == bytes[from..to], "{range}");
    }
    assert_eq!(ask("bytes=300000-").await.status, 416);
    let whole = rig.get(&path, "").await;
    let tag = whole.header("etag").to_owned();
    assert!(whole.body == bytes && !tag.is_empty());
    let same = HttpRequest::get(&path).header("if-none-match", tag).body(Body::empty()).unwrap();
    assert_eq!(rig.send(same).await.status, 304);
    let head = rig.send(HttpRequest::head(&path).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, "300000", 0));
    rig.gone().await;
});

// proves: C16, A2
db_test!(c16_a_device_waits_for_its_jobs_through_a_gateway, async |db: TestDb| {
    let private = Private::new(&db).await;
    let (desk, laptop) = saver(&private.server, &db, 20).await;
    let rig = Rig::over(private, &db, 0, 0).await;
    let server = &rig.private.server;
    let poll = async |last: Option<String>| {
        let asked = Request { seal_answer: true, by_gateway: true, ..request(server, laptop.inbox_operation(vec![])) };
        let envelope = laptop.sealed(server, &asked, None);
        let mut request =
            HttpRequest::post("/v1/terminal/inbox").header("content-type", "application/json").header("accept", "application/json");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = rig.send(request.body(Body::from(envelope)).unwrap()).await.expect(200);
        assert!(answer["answer"].as_str().unwrap().starts_with("sealed."), "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    };
    let first = poll(None).await;
    // It waits: there is nothing new until something is sent.
    let sent = async {
        let mut waiting = Box::pin(poll(Some(first.clone())));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        desk.ask(server, desk.send_operation(&laptop, TITLE, None), None).await.unwrap();
        waiting.await
    };
    let next = tokio::time::timeout(PATIENCE, sent).await.expect("it is told");
    assert_ne!(next, first);
    rig.gone().await;
});
