//! `webhook`: servers of yours that are told what happens at the authority.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use counterfoil_core::{DeliveryId, WebhookId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;

/// For publishers and operators: servers of yours that are told what happens
#[derive(Subcommand, Debug)]
pub enum WebhookCommand {
    Add(Add),
    List(List),
    Show(Show),
    Remove(Remove),
    Rotate(Rotate),
    Test(Test),
    Deliveries(Deliveries),
    Resend(Resend),
    Events(Events),
}

impl WebhookCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            WebhookCommand::Add(command) => command.run(context),
            WebhookCommand::List(command) => command.run(context),
            WebhookCommand::Show(command) => command.run(context),
            WebhookCommand::Remove(command) => command.run(context),
            WebhookCommand::Rotate(command) => command.run(context),
            WebhookCommand::Test(command) => command.run(context),
            WebhookCommand::Deliveries(command) => command.run(context),
            WebhookCommand::Resend(command) => command.run(context),
            WebhookCommand::Events(command) => command.run(context),
        }
    }
}

/// Have a server told of events, and show the secret that deliveries are signed with, this once
#[derive(Args, Debug)]
#[command(after_help = "Example:
  counterfoil webhook add https://hooks.example/counterfoil --name Sales --event 'medium.*' --event release.published")]
pub struct Add {
    /// Where it is told, by POST
    #[arg(value_name = "URL")]
    url: String,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// An event, 'medium.*', or '*' for everything; may be given several times
    #[arg(long = "event", value_name = "EVENT", required = true)]
    events: Vec<String>,
    /// For operators: make it for this publisher, and tell it of that publisher's things only
    #[arg(long, value_name = "PUBLISHER")]
    publisher: Option<String>,
}

/// List your webhooks
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook list")]
pub struct List {}

/// Show a webhook, and the last things that it was told
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook show whk-…")]
pub struct Show {
    /// Its ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
}

/// End a webhook: nothing is sent to it from then on
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook remove whk-…")]
pub struct Remove {
    /// Its ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
}

/// Draw another secret, and show it this once; the one before signs as well for 24 hours
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook rotate whk-…")]
pub struct Rotate {
    /// Its ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
}

/// Send webhook.test, to see whether it is heard
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook test whk-…\n  counterfoil webhook deliveries whk-…   # what came of it")]
pub struct Test {
    /// Its ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
}

/// List what a webhook was told in the last 30 days, the newest first
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook deliveries whk-… --state failed")]
pub struct Deliveries {
    /// The webhook's ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
    /// Only those of this state
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// `next` of the list before
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
}

/// Send a delivery again: the same ID, the same body
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook resend whk-… dlv-…")]
pub struct Resend {
    /// The webhook's ID
    #[arg(value_name = "ID")]
    webhook: WebhookId,
    /// The delivery's ID
    #[arg(value_name = "DELIVERY")]
    delivery: DeliveryId,
}

/// List the events that your webhooks can be told
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil webhook events")]
pub struct Events {}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Not taken yet
    Waiting,
    /// Taken
    Delivered,
    /// Given up after three days
    Failed,
}

#[derive(Deserialize, Serialize)]
struct Listed<T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    next: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Webhook {
    webhook: WebhookId,
    name: String,
    url: String,
    events: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    publisher: Option<String>,
    created_at: String,
    active_from: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    secret: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Delivery {
    delivery: DeliveryId,
    event: String,
    subject: String,
    sequence: i64,
    state: String,
    resent: bool,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    attempted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    payload: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Event {
    event: String,
    says: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    webhook: Webhook,
    deliveries: Vec<Delivery>,
}

impl Add {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let mut body = json!({ "name": self.name, "url": self.url, "events": self.events });
        if let Some(publisher) = self.publisher {
            body["publisher"] = publisher.into();
        }
        let made: Webhook = api.post("/v1/webhooks", Some(&key()), &body)?;
        context.output.result(&made, || words(&made))
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let webhooks: Listed<Webhook> = api.get("/v1/webhooks")?;
        context.output.result(&webhooks, || match webhooks.items.is_empty() {
            true => "there are no webhooks\n".to_owned(),
            false => webhooks.items.iter().map(words).collect(),
        })
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let webhook: Webhook = api.get(&format!("/v1/webhooks/{}", self.webhook))?;
        let told: Listed<Delivery> = api.get(&format!("/v1/webhooks/{}/deliveries?limit=10", self.webhook))?;
        let shown = Shown { webhook, deliveries: told.items };
        context.output.result(&shown, || words(&shown.webhook) + &table(&shown.deliveries))
    }
}

impl Remove {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        api.remove(&format!("/v1/webhooks/{}", self.webhook))?;
        context.output.result(&json!({ "webhook": self.webhook, "removed": true }), || format!("{} is ended\n", self.webhook))
    }
}

impl Rotate {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let made: Webhook = api.post(&format!("/v1/webhooks/{}/rotate", self.webhook), Some(&key()), &json!({}))?;
        context.output.result(&made, || words(&made))
    }
}

impl Test {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let sent: Delivery = api.post(&format!("/v1/webhooks/{}/test", self.webhook), Some(&key()), &json!({}))?;
        context.output.result(&sent, || {
            format!("{} is on its way; `counterfoil webhook deliveries {}` shows what came of it\n", sent.delivery, self.webhook)
        })
    }
}

impl Deliveries {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let mut path = format!("/v1/webhooks/{}/deliveries?limit={}", self.webhook, self.limit);
        if let Some(state) = self.state.and_then(|state| state.to_possible_value()) {
            // Writing to a text cannot fail.
            let _ = write!(path, "&state={}", state.get_name());
        }
        let page: Listed<Delivery> = match &self.after {
            Some(after) => api.get_where(&path, "after", after)?,
            None => api.get(&path)?,
        };
        context.output.result(&page, || {
            let more = page.next.as_ref().map_or(String::new(), |next| format!("more: --after '{next}'\n"));
            if page.items.is_empty() { "nothing\n".to_owned() } else { table(&page.items) + &more }
        })
    }
}

impl Resend {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let path = format!("/v1/webhooks/{}/deliveries/{}/resend", self.webhook, self.delivery);
        let sent: Delivery = api.post(&path, Some(&key()), &json!({}))?;
        context.output.result(&sent, || match &sent.next_attempt_at {
            Some(_) => format!("{} is on its way again\n", sent.delivery),
            None => format!("{} waits until what came before it of {} is delivered\n", sent.delivery, sent.subject),
        })
    }
}

impl Events {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let events: Listed<Event> = api.get("/v1/webhook-events")?;
        context.output.result(&events, || events.items.iter().map(|one| format!("{:<28}  {}\n", one.event, one.says)).collect())
    }
}

fn key() -> String {
    to_base64url(Secret::<16>::random(&mut SystemRandom).expose())
}

fn words(webhook: &Webhook) -> String {
    let Webhook { webhook: id, name, url, events, publisher, active_from, secret, .. } = webhook;
    let whose = publisher.as_ref().map_or(String::new(), |publisher| format!(" ({publisher})"));
    let mut text = format!("{id}  {name}{whose}  {url}\n    told of {}, from {active_from} on\n", events.join(", "));
    if let Some(secret) = secret {
        text += &format!("    secret, shown this once: {secret}\n");
    }
    text
}

fn table(deliveries: &[Delivery]) -> String {
    deliveries.iter().map(line).collect()
}

fn line(one: &Delivery) -> String {
    let Delivery { delivery, event, subject, sequence, state, attempts, status, error, next_attempt_at, created_at, .. } = one;
    let why = match (status, error) {
        (Some(status), Some(_)) => format!("answered {status}"),
        (_, Some(error)) => error.replace('_', " "),
        (Some(status), None) => format!("answered {status}"),
        (None, None) => "not sent yet".to_owned(),
    };
    let next = match (state.as_str(), next_attempt_at) {
        ("waiting", Some(next)) => format!(", next attempt {next}"),
        ("waiting", None) => ", behind another".to_owned(),
        _ => String::new(),
    };
    format!("{delivery}  {state}  {event}  {subject} #{sequence}  {created_at}\n    {attempts} sent: {why}{next}\n")
}
