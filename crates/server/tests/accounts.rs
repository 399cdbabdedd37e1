//! Accounts of people (D2, D8 in the browser): getting in, keeping others out, and what the pages do.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "accounts/attacks.rs"]
mod attacks;
#[path = "accounts/browser.rs"]
mod browser;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/catalogue.rs"]
mod catalogue;
#[path = "accounts/entrance.rs"]
mod entrance;
#[path = "accounts/mail.rs"]
mod mail;
#[path = "accounts/pages.rs"]
mod pages;
#[path = "support/sales.rs"]
mod sales;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use support::TestDb;
