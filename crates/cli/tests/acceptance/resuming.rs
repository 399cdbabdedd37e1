//! Whatever is interrupted goes on where it was, and nothing is granted twice (C7, C8, C11).

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use counterfoil_core::Code;

use crate::world::{CANARY, Device, files_below, files_with, scenario, wait_until};

/// A title of several packs.
const LARGE: usize = 80 << 20;

fn bytes_in(directory: &Path) -> u64 {
    // A file may be renamed while it is looked at.
    let look = || files_below(directory).iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    if directory.exists() { std::panic::catch_unwind(look).unwrap_or(0) } else { 0 }
}

fn start_copy(device: &Device, medium: &Path) -> std::process::Child {
    let mut copy = device.command([OsStr::new("copy"), medium.as_os_str(), OsStr::new("--library"), device.library.as_os_str()]);
    copy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
}

// proves: C10, C11
scenario!(c11_a_terminal_killed_during_the_copy_goes_on_where_it_was, |world| {
    let tree = world.large_tree(LARGE);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    let disc = world.press("film", 1).remove(0);
    let (anna, ben) = (world.person("anna"), world.person("ben"));

    let mut killed = 0;
    for step in 1..=5 {
        let before = bytes_in(&anna.library);
        let mut copy = start_copy(&anna, &disc);
        let mut ended = false;
        wait_until("the copy gets on", || {
            ended = copy.try_wait().expect("asked").is_some();
            ended || bytes_in(&anna.library) >= before + step * (LARGE as u64 / 40)
        });
        if ended {
            break;
        }
        copy.kill().expect("killed");
        copy.wait().expect("gone");
        killed += 1;
        let plain = files_with(&anna.library, CANARY);
        assert!(plain.is_empty(), "plaintext in {plain:?}");
        // The claim holds from the first instant.
        ben.run([OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), ben.library.as_os_str()]).refused(Code::MediumSpent);
    }
    assert!(killed >= 2, "the copy was killed {killed} times only");
    let mut last = anna.command(["copy", "--json", "--library"]);
    last.arg(&anna.library).arg(&disc);
    let done = crate::world::outcome(last).done().json();
    assert!(done["titles"][0]["reused"].as_u64().is_some_and(|reused| reused > 0), "nothing was reused: {done}");
    anna.plays_all("film", &tree);
    let card = anna.run(["card", "show", "--json"]).done().json();
    assert_eq!((card["grants"].as_array().map(Vec::len), &card["grants"][0]["copy_finished"]), (Some(1), &true.into()), "{card}");
});

// proves: C10
scenario!(c10_keys_claimed_on_one_device_copy_nothing_on_other_hardware, |world| {
    let tree = world.large_tree(LARGE);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    let disc = world.press("film", 1).remove(0);
    let anna = world.person("anna");
    let mut copy = start_copy(&anna, &disc);
    wait_until("the copy has begun", || copy.try_wait().expect("asked").is_some() || bytes_in(&anna.library) > 1 << 20);
    copy.kill().expect("killed before its end");
    let status = copy.wait().expect("gone");
    assert!(!status.success(), "the copy ended before it could be killed");

    // The card goes into a computer with another device ID, or before another drive.
    let before = bytes_in(&anna.library);
    let arguments = [OsStr::new("copy"), disc.as_os_str(), OsStr::new("--library"), anna.library.as_os_str()];
    for (device, drive) in [("another computer", "anna's drive"), ("anna's computer", "another drive")] {
        anna.set_hardware(device, drive);
        anna.refuses(&arguments, Code::CopyNotPermitted);
        assert_eq!(bytes_in(&anna.library), before, "something was written");
    }
    anna.set_hardware("anna's computer", "anna's drive");
    anna.copy(&disc).done();
    anna.plays_all("film", &tree);
});

/// Stands between terminal and authority and cuts the connection instead of handing back the first so many answers to POSTs.
struct Cutter {
    url: String,
    cut: Arc<AtomicUsize>,
}

impl Cutter {
    fn before(server: &str, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let cut = Arc::new(AtomicUsize::new(cuts));
        let server = server.trim_start_matches("http://").to_owned();
        let left = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, left) = (server.clone(), left.clone());
                std::thread::spawn(move || relay(client, &server, &left));
            }
        });
        Self { url, cut }
    }
}

fn relay(mut client: TcpStream, server: &str, left: &AtomicUsize) {
    let Ok(mut upstream) = TcpStream::connect(server) else { return };
    let mut request = Vec::new();
    let mut buffer = [0; 16 * 1024];
    // One request a connection is enough to tell a POST; the rest is bytes.
    let Ok(read) = client.read(&mut buffer) else { return };
    request.extend_from_slice(&buffer[..read]);
    let post = request.starts_with(b"POST /v1/terminal/exchange");
    let _ = upstream.write_all(&request);
    let (Ok(mut more), Ok(mut to)) = (client.try_clone(), upstream.try_clone()) else { return };
    std::thread::spawn(move || std::io::copy(&mut more, &mut to));
    // The answer is awaited before it is dropped: the authority has done what was asked.
    let Ok(read) = upstream.read(&mut buffer) else { return };
    if post && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let _ = client.shutdown(Shutdown::Both);
        return;
    }
    let _ = client.write_all(&buffer[..read]);
    let _ = std::io::copy(&mut upstream, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

// proves: C7, C8
scenario!(c7_a_claim_that_lost_its_answer_is_repeated_with_the_same_outcome, |world| {
    let disc = world.discs(1).remove(0);
    let mut anna = world.person("anna");
    let direct = anna.url.clone();
    let cutter = Cutter::before(&direct, 2);
    anna.url = cutter.url.clone();
    // The claim is decided and its answer lost, twice; then the repeat gets it.
    let mut lost = 0;
    for _ in 0..6 {
        let outcome = anna.copy(&disc);
        if outcome.output.status.success() {
            break;
        }
        outcome.failed(3, "");
        lost += 1;
    }
    assert!(lost >= 1 && cutter.cut.load(Ordering::Relaxed) == 0, "{lost} answers were lost");
    anna.plays_all("sky-raider", &world.small_tree());
    let card = anna.run(["card", "show", "--json"]).done().json();
    assert_eq!(card["grants"].as_array().map(Vec::len), Some(1), "{card}");
});

// proves: C7, C8
scenario!(c7_a_server_killed_after_the_claim_hands_out_the_same_grant, |world| {
    let tree = world.large_tree(LARGE);
    world.publish("film", "1", &tree, &["--level", "1"]).done();
    let disc = world.press("film", 1).remove(0);
    let anna = world.person("anna");
    let mut copy = start_copy(&anna, &disc);
    wait_until("the copy has begun", || copy.try_wait().expect("asked").is_some() || bytes_in(&anna.library) > 1 << 20);
    world.kill();
    copy.wait().expect("ended");
    // Copied to the end or not, the confirmation could not be sent; what was copied is kept.
    world.start();
    anna.copy(&disc).done();
    anna.plays_all("film", &tree);
    let ben = world.person("ben");
    ben.copy(&disc).refused(Code::MediumSpent);
});
