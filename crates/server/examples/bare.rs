//! What an answer of some size costs a server that does nothing else: `bare PORT BYTES` answers every POST with JSON of so many bytes, after
//! it has read the body. `harness licenses --bare` compares with it.

use axum::body::Bytes;
use axum::routing::post;
use axum::{Json, Router};

#[derive(Clone, serde::Serialize)]
struct Answer {
    answer: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &str| arguments.next().ok_or_else(|| format!("bare PORT BYTES: {what} is missing"));
    let (port, bytes): (u16, usize) = (number("PORT")?.parse()?, number("BYTES")?.parse()?);
    let answer = Answer { answer: "x".repeat(bytes) };
    let handler = move |body: Bytes| {
        let answer = answer.clone();
        async move {
            std::hint::black_box(body.len());
            Json(answer)
        }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, Router::new().route("/", post(handler))).await?;
    Ok(())
}
