//! `medium`: what happened to one, and a new claim secret for it (B5, B7).

use clap::{Args, Subcommand};
use counterfoil_core::{MediumId, Rights};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::inspect;
use crate::publisher::api::Api;
use crate::rights::{Of, not_understood};
use crate::units;

/// For publishers: what happened to a medium, and a new claim secret for it
#[derive(Subcommand, Debug)]
pub enum MediumCommand {
    Show(Show),
    Refresh(Refresh),
}

/// Show a medium with its timeline: pressed, first seen, claimed, verified by whom, refreshed, refused and why
#[derive(Args, Debug)]
pub struct Show {
    /// Which
    #[arg(value_name = "MEDIUM-ID")]
    medium: MediumId,
}

/// Order a new claim secret: a medium gets it, with its rights as they are, when it is next heard of; old copies of it are good no more then
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil medium refresh --medium ACWS-…-0001 --reason 'a copy of it is about'
  counterfoil medium refresh --batch ACWS-…")]
pub struct Refresh {
    #[command(flatten)]
    of: Of,
    /// For the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// As the authority tells it.
#[derive(Deserialize)]
struct Document {
    medium_id: MediumId,
    batch: String,
    serial: u64,
    rights: Rights,
    state: String,
    copies_claimed: u32,
    epoch: u32,
    target_epoch: u32,
    pressed_at: String,
    superseded_presented: u64,
    timeline: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    at: String,
    text: String,
}

impl MediumCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        match self {
            MediumCommand::Show(Show { medium }) => {
                let value: Value = api.get(&format!("/v1/media/{medium}"))?;
                let document: Document = serde_json::from_value(value.clone()).map_err(not_understood)?;
                context.output.result(&value, || words(&document))
            }
            MediumCommand::Refresh(Refresh { of, reason }) => {
                let value: Value = api.post(&format!("{}/refresh", of.path()), None, &json!({ "reason": reason }))?;
                context.output.result(&value, || {
                    format!("{}: a new claim secret waits; what can be written gets it when it is next heard of\n", of.words())
                })
            }
        }
    }
}

fn words(medium: &Document) -> String {
    let mut text = format!("medium     {} (number {} of {}), {}\n", medium.medium_id, medium.serial, medium.batch, medium.state);
    text += &format!("rights     {}\n", inspect::rights(&medium.rights));
    text += &format!("claimed    {}\n", units::count(medium.copies_claimed.into(), "copy", "copies"));
    text += &match medium.target_epoch - medium.epoch.min(medium.target_epoch) {
        0 => format!("epoch      {}\n", medium.epoch),
        _ => format!("epoch      {}, {} waits for the medium to be presented\n", medium.epoch, medium.target_epoch),
    };
    if medium.superseded_presented > 0 {
        text += &format!("clones     old copies of it were presented {}\n", units::count(medium.superseded_presented, "time", "times"));
    }
    text += &format!("{}  Pressed\n", medium.pressed_at);
    for event in &medium.timeline {
        text += &format!("{}  {}\n", event.at, event.text);
    }
    text
}
