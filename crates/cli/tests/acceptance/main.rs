//! Acceptance tests through the public binaries: a real server on SQLite and on PostgreSQL, and devices that are a home and a hardware root.

mod world;

mod claims;
mod damage;
mod moving;
mod playing;
mod pressing;
mod publishing;
mod registration;
mod resuming;
mod several;
mod stores;
mod surroundings;
