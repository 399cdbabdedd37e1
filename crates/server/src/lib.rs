//! The Counterfoil authority as a library, so that tests and the binary stand on the same modules.

pub mod actions;
pub mod api;
pub mod app;
pub mod auditor;
pub mod auth;
pub mod blobs;
pub mod clock;
pub mod commands;
pub mod config;
pub mod db;
pub mod delivery;
pub mod idempotency;
pub mod inbox_watch;
pub mod jobs;
pub mod keys;
pub mod lease;
pub mod limits;
pub mod mail;
pub mod metrics;
pub mod problem;
pub mod roles;
pub mod router;
pub mod select;
pub mod server;
pub mod store;
pub mod web;
