//! Acceptance tests through the public binaries: a real server on SQLite and on PostgreSQL, and devices that are a home and a hardware root.

mod world;

mod buying;
mod claims;
mod damage;
mod feeds;
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
mod releasing;
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
