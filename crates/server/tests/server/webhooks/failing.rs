//! Receivers that fail, in every way there is: tried again for three days, whatever the failure, and then given up, for all to see.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;

db_test!(it_is_tried_for_three_days_under_one_id_and_then_given_up, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    receiver.answer_status(503);
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["*"]).await;
    let begun = server.app.clock.now().0;
    let made = server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
    let one = hook.path(&format!("/deliveries/{}", text(&made["delivery"])));
    let look = async || server.get(&server.operator, &one).await.expect(200);
    assert_eq!((&made["state"], &made["attempts"]), (&json!("waiting"), &json!(0)));
    let mut rounds = 0;
    loop {
        assert_eq!(lead(&server).await, 1);
        let now = look().await;
        rounds += 1;
        assert_eq!((&now["attempts"], &now["status"], &now["error"]), (&json!(rounds), &json!(503), &json!("status")));
        assert_eq!(lead(&server).await, 0, "not before its time");
        if now["state"] == "failed" {
            break;
        }
        let due = db.number("SELECT due_at FROM delivery").await;
        pass(&server, due - 1 - server.app.clock.now().0);
        assert_eq!(lead(&server).await, 0, "not a moment before");
        pass(&server, 1);
    }
    let over = server.app.clock.now().0;
    assert_eq!(over - begun, 3 * Timestamp::DAY);
    assert!((14..=16).contains(&rounds), "{rounds}");
    let messages = receiver.messages();
    assert_eq!(messages.len(), rounds);
    assert_eq!(messages.iter().map(|message| &message.id).collect::<BTreeSet<_>>().len(), 1);
    assert!(messages.iter().all(|message| message.is_by(&hook.secret) && message.body == messages[0].body));
    let times: Vec<_> = messages.iter().map(|message| message.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each attempt says its own time: {times:?}");
    assert!(look().await["ended_at"].is_string() && look().await.get("next_attempt_at").is_none());
    assert_eq!(
        server.get(&server.operator, &hook.path("/deliveries?state=failed")).await.expect(200)["items"].as_array().unwrap().len(),
        1
    );

    // Sent again by hand: the same ID, as often as at first; and once it is taken, it is delivered.
    let again = server.post(&server.operator, &format!("{one}/resend"), &json!({})).await.expect(200);
    assert_eq!((&again["state"], &again["resent"]), (&json!("waiting"), &json!(true)));
    lead(&server).await;
    assert_eq!(look().await["state"], "waiting", "three days begin anew");
    receiver.answer_status(200);
    server.post(&server.operator, &format!("{one}/resend"), &json!({})).await.expect(200);
    assert_eq!(lead(&server).await, 1, "at once");
    assert_eq!((&look().await["state"], &look().await["status"]), (&json!("delivered"), &json!(200)));
    assert_eq!(receiver.messages().last().unwrap().id, messages[0].id);
    // And once more, where it was delivered.
    server.post(&server.operator, &format!("{one}/resend"), &json!({})).await.expect(200);
    lead(&server).await;
    assert_eq!(receiver.messages().len(), rounds + 3);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'webhook.resent'").await, 3);
    server
        .post(&server.operator, &hook.path(&format!("/deliveries/{}/resend", DeliveryId::from_bytes([1; 16]))), &json!({}))
        .await
        .expect(404);
});

/// How a receiver behaves that speaks no decent HTTP.
#[derive(Clone, Copy, Debug)]
enum Rude {
    /// Takes the connection and says nothing.
    Silent,
    /// Sends its head a byte at a time, without end.
    Trickling,
    /// Says that it failed, and never stops saying why.
    Endless(&'static str),
    /// Closes in the middle of its head.
    Breaking,
    /// Sends something else.
    Babbling,
}

async fn rude(rude: Rude) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Ends where the other side has had enough.
            tokio::spawn(async move { drop(behave(rude, stream).await) });
        }
    });
    (address, task)
}

async fn behave(rude: Rude, mut stream: TcpStream) -> std::io::Result<()> {
    let mut read = [0; 65536];
    let _ = stream.read(&mut read).await?;
    match rude {
        Rude::Silent => std::future::pending().await,
        Rude::Trickling => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let mut every = tokio::time::interval(Duration::from_millis(50));
            loop {
                every.tick().await;
                stream.write_all(b"x").await?;
            }
        }
        Rude::Endless(status) => {
            stream.write_all(format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b"10\r\nsecret-of-inside\r\n").await?;
            }
        }
        Rude::Breaking => stream.write_all(b"HTTP/1.1 200").await,
        Rude::Babbling => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await,
    }
}

db_test!(every_failure_is_one_that_is_tried_again_in_bounded_time, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let elsewhere = Receiver::start().await;
    let redirecting = Receiver::start().await;
    let target = elsewhere.url();
    redirecting.answer(move |_| (StatusCode::TEMPORARY_REDIRECT, [("location", target.clone())]).into_response());
    let (refusing, wrong) = (Receiver::start().await, Receiver::start().await);
    refusing.answer_status(404);
    wrong.answer_status(410);
    // Bound, and not listened at: nobody else gets the port, and whoever connects is refused.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = deaf.local_addr().unwrap();
    let (silent, _a) = rude(Rude::Silent).await;
    let (trickling, _b) = rude(Rude::Trickling).await;
    let (endless, _c) = rude(Rude::Endless("500 No")).await;
    let (generous, _d) = rude(Rude::Endless("200 OK")).await;
    let (breaking, _e) = rude(Rude::Breaking).await;
    let (babbling, _f) = rude(Rude::Babbling).await;
    let tls = super::inside::tls_receiver().await;
    let cases = [
        (format!("http://{nobody}/"), "unreachable", None),
        ("http://nobody.invalid/".to_owned(), "unresolved", None),
        (format!("https://{}/", tls.address), "tls", None),
        (format!("https://{silent}/"), "timed_out", None),
        (format!("http://{silent}/"), "timed_out", None),
        (format!("http://{trickling}/"), "timed_out", None),
        (format!("http://{endless}/"), "status", Some(500)),
        (redirecting.url(), "status", Some(307)),
        (refusing.url(), "status", Some(404)),
        (wrong.url(), "status", Some(410)),
        (format!("http://{breaking}/"), "broken", None),
        (format!("http://{babbling}/"), "broken", None),
    ];
    let mut hooks = vec![];
    for (url, ..) in &cases {
        let hook = Hook::new(&server, &server.operator, url, &["*"]).await;
        server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
        hooks.push(hook);
    }
    let taken = Hook::new(&server, &server.operator, &format!("http://{generous}/"), &["*"]).await;
    server.post(&server.operator, &taken.path("/test"), &json!({})).await.expect(201);
    // Everything side by side, within the time of one attempt and some: one second is configured.
    tokio::time::timeout(Duration::from_secs(15), lead(&server)).await.unwrap();
    for ((url, error, status), hook) in cases.iter().zip(&hooks) {
        let one = &hook.deliveries(&server).await[0];
        assert_eq!((&one["state"], &one["error"]), (&json!("waiting"), &json!(error)), "{url}: {one}");
        assert_eq!(one.get("status"), status.map(|status: u16| json!(status)).as_ref(), "{url}");
        assert_eq!(one["attempts"], 1);
        assert!(one["next_attempt_at"].is_string(), "{url}");
        assert!(!one.to_string().contains("secret-of-inside"), "what was answered goes nowhere");
    }
    // Who says yes and goes on talking has said yes.
    assert_eq!(taken.deliveries(&server).await[0]["state"], "delivered");
    assert_eq!(elsewhere.messages().len(), 0, "redirects are not followed");
    assert!(!crate::keys_secrecy::holds(&crate::keys_secrecy::everything_in(&db).await, b"secret-of-inside"));
});
