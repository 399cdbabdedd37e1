//! What the same requests cost a server that does nothing for them (`examples/bare.rs` of the server): the floor that is measured against.

use crate::{authority::Failure, server::cpu_seconds};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

/// How often each request is sent: one costs so little that the clock of processes would hardly see it.
const ROUNDS: usize = 10;

/// A handler's process, until it is dropped.
struct Handler(Child);

impl Drop for Handler {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Microseconds of the processor for each answer of so many bytes, where nothing is done for it: the same requests, as many at once.
///
/// # Errors
/// A handler that does not run.
pub fn cpu_us(path: &Path, requests: &[Vec<Vec<u8>>], bytes: usize) -> Result<f64, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| Failure::Io("looking for a free port", error))?;
    let port = listener.local_addr().map_err(|error| Failure::Io("looking for a free port", error))?.port();
    drop(listener);
    let started = Command::new(path).args([port.to_string(), bytes.to_string()]).spawn();
    let handler = Handler(started.map_err(|error| Failure::Io("starting the bare handler", error))?);
    let url = format!("http://127.0.0.1:{port}/");
    let ready = (0..200).any(|_| {
        let answers = ureq::post(&url).send(&b"{}"[..]).is_ok();
        if !answers {
            std::thread::sleep(Duration::from_millis(25));
        }
        answers
    });
    let cpu = cpu_seconds(handler.0.id()).filter(|_| ready).ok_or_else(|| Failure::Broken("the bare handler does not answer".into()))?;
    let asked = std::thread::scope(|scope| {
        let running: Vec<_> = requests.iter().map(|of_one| scope.spawn(|| hammer(&url, of_one))).collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(Failure::Broken("a terminal panicked".into()))))
            .sum::<Result<usize, _>>()
    })?;
    let used = cpu_seconds(handler.0.id()).ok_or_else(|| Failure::Broken("the bare handler is gone".into()))? - cpu;
    Ok(used * 1e6 / asked as f64)
}

fn hammer(url: &str, requests: &[Vec<u8>]) -> Result<usize, Failure> {
    let agent = ureq::Agent::new_with_defaults();
    let mut asked = 0;
    for request in std::iter::repeat_n(requests, ROUNDS).flatten() {
        let sent = agent.post(url).content_type("application/json").send(&request[..]);
        let read = sent.and_then(|mut response| response.body_mut().read_to_vec());
        read.map_err(|error| Failure::Broken(format!("asking the bare handler: {error}")))?;
        asked += 1;
    }
    Ok(asked)
}
