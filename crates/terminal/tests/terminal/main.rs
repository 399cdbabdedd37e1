//! All tests of the terminal in one program, which is linked once.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

mod common;

mod faults;
mod feed;
mod flows;
mod gateway;
mod hostile_drives;
mod hostile_identity;
mod hostile_servers;
mod installing;
mod licenses;
mod media;
mod noting;
mod presenting;
mod refresh_faults;
mod refreshing;
mod registration;
mod reissue;
mod renewal;
mod repair;
mod save_faults;
mod save_hostile;
mod saving;
mod update_deltas;
mod update_faults;
mod updating;
mod without_identity;
