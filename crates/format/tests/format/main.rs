//! What the format promises, in one program: vectors, damage, memory, and messages forged in every way.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod container;
mod container_entry;
mod content_corpus;
mod content_damage;
mod content_entry;
mod content_feed;
mod content_manifest;
mod content_memory;
mod content_patch;
mod content_publish;
mod content_roundtrip;
mod content_support;
mod content_vectors;
mod crypto_answer;
mod crypto_boxes;
mod crypto_corpus;
mod crypto_entry;
mod crypto_envelope;
mod crypto_es256;
mod crypto_hpke;
mod crypto_jws;
mod crypto_jwt;
mod crypto_messages;
mod crypto_refresh;
mod crypto_secrets;
mod crypto_wycheproof;
