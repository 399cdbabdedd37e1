//! A reseller's server between terminals and the authority (C16, C17): its own accounts, ledger and database. It never opens an envelope.

pub mod accounts;
pub mod alerts;
pub mod api;
pub mod app;
pub mod auth;
pub mod books;
pub mod chargeback;
pub mod client;
pub mod config;
pub mod driver;
pub mod exchange;
pub mod identity;
pub mod ledger;
pub mod operator;
pub mod payments;
pub mod post;
pub mod proxy;
pub mod reconcile;
pub mod router;
pub mod server;
pub mod settlement;
pub mod statement;
pub mod store;
pub mod vouchers;
pub mod web;
