//! The decisions. Each is a pure function from facts to a decision or a refusal; a test beside it for each of its sentences.

pub mod binding;
pub mod claim;
pub mod confirm;
pub mod epoch;
pub mod feed;
pub mod freshness;
pub mod gateway;
pub mod heal;
pub mod license;
pub mod order;
pub mod plan;
pub mod present;
pub mod refund;
pub mod register;
pub mod reissue;
pub mod repair;
pub mod retry;
pub mod rights;
pub mod rollout;
pub mod run;
pub mod selection;
pub mod send;
pub mod split;
pub mod transfer;
pub mod update;
pub mod upload;
