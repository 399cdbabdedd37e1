//! The stream of a device's jobs: what is there at once, what comes, who is heard, and when it ends.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use counterfoil_core::wire::{Answer, InboxResult, Job, Work};
use counterfoil_core::{Code, Refusal};
use counterfoil_format::envelope::ANSWER_TYP;
use counterfoil_format::jws::{Signer, verify_compact};
use counterfoil_server::inbox_watch;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::catalogue::{TestServer, json_request};
use super::licensing::one_more;
use super::sales::sell;
use super::support::{TestDb, db_test};
use super::terminal::{OutcomeResult as _, Terminal, device, envelope, request};

const PRICE: &str = "19.99 EUR";

/// A stream from the side of the terminal.
struct Stream {
    body: axum::body::BodyDataStream,
    read: String,
}

impl Stream {
    /// The next answer; nothing where the stream has ended.
    async fn next(&mut self, server: &TestServer) -> Option<Result<Vec<Job>, Refusal>> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let Some(token) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
                let keys = server.app.keys.key_list();
                let answer: Answer = verify_compact(token, ANSWER_TYP, |kid| keys.find(kid)?.verifying_key()).unwrap();
                return Some(answer.outcome_result().map(|value| serde_json::from_value::<InboxResult>(value).unwrap().jobs));
            }
            let piece = self.body.next().await?.unwrap();
            self.read.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Whether nothing waits to be read.
    fn is_silent(&mut self) -> bool {
        self.read.is_empty() && self.body.next().now_or_never().is_none()
    }
}

async fn post(server: &TestServer, sealed: &[u8]) -> (StatusCode, Stream) {
    let body: Value = serde_json::from_slice(sealed).unwrap();
    let response = server.router.clone().oneshot(json_request(Method::POST, "/v1/terminal/inbox", "", &body)).await.unwrap();
    if response.status() == StatusCode::OK {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    (response.status(), Stream { body: Body::into_data_stream(response.into_body()), read: String::new() })
}

async fn listen(server: &TestServer, terminal: &Terminal) -> Stream {
    let (status, stream) = post(server, &terminal.sealed(server, &request(server, terminal.inbox_operation(vec![])), None)).await;
    assert_eq!(status, StatusCode::OK);
    stream
}

async fn family(db: &TestDb) -> (TestServer, Terminal, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], json!({ "transfers": 1000 })).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    desk.order(&server, "sky-raider", PRICE).await.unwrap();
    desk.install(&server, "sky-raider").await.unwrap();
    (server, desk, laptop)
}

db_test!(d9_a_device_that_listens_is_told_at_once_of_what_has_moved_to_it, async |db: TestDb| {
    let (server, desk, laptop) = family(&db).await;
    let (mut at_desk, mut at_laptop) = (listen(&server, &desk).await, listen(&server, &laptop).await);
    assert_eq!(at_desk.next(&server).await.unwrap().unwrap(), [], "that it is heard is told at once");
    assert_eq!(at_laptop.next(&server).await.unwrap().unwrap(), []);
    assert!(at_laptop.is_silent());
    desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    let jobs = at_laptop.next(&server).await.unwrap().unwrap();
    assert!(matches!(jobs.as_slice(), [job] if matches!(job.work, Work::Install { .. })));
    let told = at_desk.next(&server).await.unwrap().unwrap();
    assert!(matches!(told.as_slice(), [job] if matches!(job.work, Work::End { .. })));
    // What waits already is told to whoever comes.
    assert_eq!(listen(&server, &laptop).await.next(&server).await.unwrap().unwrap(), jobs);
    assert_eq!(at_laptop.next(&server).await, None, "the newer stream has taken its place");
});

db_test!(what_another_process_wrote_is_found_by_looking, async |db: TestDb| {
    let (server, desk, laptop) = family(&db).await;
    let beside = server.another(&db, |_| ()).await;
    let mut stream = listen(&server, &laptop).await;
    assert_eq!(stream.next(&server).await.unwrap().unwrap(), []);
    desk.transfer(&beside, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert!(stream.is_silent(), "nobody has told this process");
    let seen = inbox_watch::poll(&server.app, server.app.clock.now()).await.unwrap();
    assert_eq!(stream.next(&server).await.unwrap().unwrap().len(), 1);
    // The same again is no news.
    inbox_watch::poll(&server.app, seen).await.unwrap();
    assert!(stream.is_silent());
    beside.app.db.close().await;
});

db_test!(d10_a_device_that_is_taken_out_is_told_so_and_heard_no_more, async |db: TestDb| {
    let (server, desk, laptop) = family(&db).await;
    let mut stream = listen(&server, &desk).await;
    stream.next(&server).await.unwrap().unwrap();
    laptop.transfer(&server, &desk, &laptop, None).await.unwrap();
    assert_eq!(stream.next(&server).await.unwrap().unwrap_err().code, Code::DeviceNotRegistered);
    assert_eq!(stream.next(&server).await, None);
    let mut refused = listen(&server, &desk).await;
    assert_eq!(refused.next(&server).await.unwrap().unwrap_err().code, Code::DeviceNotRegistered);
    assert_eq!(refused.next(&server).await, None);
    assert_eq!(server.app.inbox.count(), 0);
});

db_test!(nobody_listens_for_a_device_without_its_key_nor_ends_its_stream, async |db: TestDb| {
    let (server, desk, laptop) = family(&db).await;
    let mut stream = listen(&server, &laptop).await;
    stream.next(&server).await.unwrap().unwrap();
    let (id, _) = laptop.device.as_ref().unwrap();
    let (_, other) = device();
    let asked = request(&server, laptop.inbox_operation(vec![]));
    let forged = envelope(&server, &asked, &[(&id.to_string(), Signer::Key(&other.signing_key()))]);
    let (_, mut refused) = post(&server, &forged).await;
    assert_eq!(refused.next(&server).await.unwrap().unwrap_err().code, Code::ProofInvalid);
    let mut late = request(&server, laptop.inbox_operation(vec![]));
    late.issued_at = counterfoil_core::Timestamp(0);
    let (_, mut refused) = post(&server, &laptop.sealed(&server, &late, None)).await;
    assert_eq!(refused.next(&server).await.unwrap().unwrap_err().code, Code::ClockSkewed);
    let (status, _) = post(&server, &laptop.sealed(&server, &request(&server, laptop.license_operation("sky-raider", false)), None)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nothing else is asked for here");
    desk.transfer(&server, &desk, &laptop, Some("sky-raider")).await.unwrap();
    assert_eq!(stream.next(&server).await.unwrap().unwrap().len(), 1, "it is heard all the same");
});

db_test!(streams_are_bounded_and_end_when_the_server_does, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.limits.inbox_streams = 1).await;
    let desk = Terminal::registered(&server).await;
    let laptop = one_more(&server, &desk).await;
    let mut stream = listen(&server, &desk).await;
    stream.next(&server).await.unwrap().unwrap();
    let sealed = laptop.sealed(&server, &request(&server, laptop.inbox_operation(vec![])), None);
    assert_eq!(post(&server, &sealed).await.0, StatusCode::SERVICE_UNAVAILABLE);
    drop(listen(&server, &desk).await);
    assert_eq!(stream.next(&server).await, None);
    let mut stream = listen(&server, &laptop).await;
    stream.next(&server).await.unwrap().unwrap();
    server.app.inbox.close();
    assert_eq!(stream.next(&server).await, None);
    assert_eq!(post(&server, &sealed).await.0, StatusCode::SERVICE_UNAVAILABLE);
});
