//! Acceptance tests through the public binaries: a real server on SQLite and on PostgreSQL, and devices that are a home and a hardware root.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod household;
mod ports;
mod world;

mod buying;
mod cards;
mod cards_at_work;
mod claims;
mod damage;
mod data;
mod feeds;
mod gateway;
mod giving;
mod installing;
mod licensing;
mod medium_updating;
mod moving;
mod playing;
mod pressing;
mod providers;
mod publishing;
mod publishing_patches;
mod refreshing;
mod registration;
mod reissue;
mod releasing;
mod repair;
mod reselling;
mod resuming;
mod saves;
mod selecting;
mod selling;
mod sending;
mod several;
mod shop;
mod stores;
mod surroundings;
mod updating;
mod webhooks;
