//! The publisher's tools: who they act for, and how they speak to the authority.

pub mod api;
pub mod login;
mod pages;
pub mod profile;
