//! Accounts of people (D2, D8 in the browser): getting in, keeping others out, and what the pages do.

mod attacks;
pub use crate::support::browser;
use crate::support::captured;
use crate::support::catalogue;
mod entrance;
mod mail;
mod pages;
use crate::support;
use crate::support::sales;
use crate::support::terminal;
