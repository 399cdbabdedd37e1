//! `repair requests` and `repair decline`: who waits for a new card (C15).

use clap::Args;
use counterfoil_core::{CardId, ReissueId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Access, entry, key};
use crate::context::Context;
use crate::failure::Failure;

/// List who waits for a new card, oldest first
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil repair requests")]
pub struct Requests {
    #[command(flatten)]
    access: Access,
}

/// Decline a request for a new card
///
/// The user is told so at the terminal; the card in use stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil repair decline --user usr-… --request rei-… --reason 'nobody answers at that number'")]
pub struct Decline {
    /// Whose card it would replace
    #[arg(long, value_name = "USER-ID")]
    user: UserId,
    /// Which request
    #[arg(long, value_name = "REQUEST")]
    request: ReissueId,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    access: Access,
}

/// A request for a new card, as the authority shows it.
#[derive(Deserialize, Serialize)]
struct Request {
    reissue_id: ReissueId,
    user_id: UserId,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    card_id: Option<CardId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    contact: Option<String>,
    asked_at: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reason: Option<String>,
}

impl Requests {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        let requests = api.all::<Request>("/v1/reissues").collect::<Result<Vec<_>, _>>()?;
        context.output.result(&json!({ "items": requests }), || match requests.is_empty() {
            true => "nobody waits for a new card\n".to_owned(),
            false => requests.iter().map(Request::words).collect(),
        })
    }
}

impl Request {
    /// A line, and one for each thing that is known besides.
    fn words(&self) -> String {
        let mut text = format!("{}  {}  asked {}\n    {}\n", self.reissue_id, self.state, self.asked_at, self.user_id);
        match self.card_id {
            Some(card) => text += &format!("    new card {card}\n"),
            None => text += "    without a card: make one with `--out`\n",
        }
        if let Some(contact) = &self.contact {
            text += &format!("    to be reached: {contact}\n");
        }
        if let Some(reason) = &self.reason {
            text += &format!("    {reason}\n");
        }
        text
    }
}

impl Decline {
    /// Tells the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        let path = format!("{}/reissues/{}/decline", entry::path(self.user), self.request);
        let body = json!({ "reason": self.reason });
        let declined: Request = api.post(&path, Some(&key(&path, &body)), &body)?;
        context.output.result(&declined, || declined.words())
    }
}
