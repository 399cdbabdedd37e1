//! Ports for servers that must come back where they were, or must be known before they start.

use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

/// Below what the system gives to whoever asks for any port: a connection of another test would have it while a server is down.
const OURS: std::ops::Range<u16> = 20_000..30_000;

/// An address that no other test, in this process or another, is given until this process ends.
pub fn address() -> SocketAddr {
    let first = u16::try_from(std::process::id() % u32::from(OURS.end - OURS.start)).expect("less than a port");
    for port in (OURS.start + first..OURS.end).chain(OURS.start..OURS.start + first) {
        let name = UnixAddr::from_abstract_name(format!("counterfoil-test-port-{port}")).expect("a short name");
        let Ok(held) = UnixListener::bind_addr(&name) else { continue };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            std::mem::forget(held);
            return address;
        }
    }
    panic!("every port of {OURS:?} is in use");
}
