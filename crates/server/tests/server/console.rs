//! The console: getting in, keeping others out, who sees what, and what its pages say.

mod attacks;
mod entrance;
mod golden;
mod pages;
mod tasks;
mod things;
pub mod worker;

use crate::accounts::browser;
use crate::support;
use crate::support::catalogue;
use crate::support::sales;
use crate::support::terminal;
