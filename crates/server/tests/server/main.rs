//! All tests of the server in one program: each program of tests holds the whole server, and is linked whenever it changes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

mod support;

mod accounts;
mod asvs;
mod auditor;
mod auth_tokens;
mod cards;
mod catalogue_api;
mod catalogue_surface;
mod claim_guards;
mod console;
mod contents_faults;
mod contents_http;
mod contents_process;
mod contents_store;
mod db_audit;
mod db_backup;
mod db_cluster;
mod db_faults;
mod db_schema;
mod db_store;
mod db_transactions;
mod erase;
mod export;
mod feeds;
mod figures;
mod idempotency_routes;
mod import_people;
mod keys_commands;
mod keys_secrecy;
mod leases;
mod licenses;
mod medium_content;
mod migrate_store;
mod one_family;
mod orders;
mod patches;
mod providers;
mod refresh;
mod reissue;
mod repair;
mod roles;
mod selection;
mod sending;
mod shop;
mod store_catalogue;
mod tables;
mod terminal_attacks;
mod terminal_faults;
mod terminal_protocol;
mod updates;
mod uploads;
mod webhooks;
mod words;
