//! Tells webhooks what happened: every process looks who wants to be told, the one that leads tells them.

use std::collections::HashMap;
use std::time::Duration;

use counterfoil_core::WebhookId;
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::db::DbError;
use crate::store::webhook::{self, Webhook};
use crate::webhooks::send::Sender;
use crate::webhooks::{LOOK, deliver, look, tell};

/// How often the leader looks what there is to tell.
const IDLE: Duration = Duration::from_millis(500);

/// Batches of records that deliveries are made of before anything is sent: there may always be more.
const ROUNDS: usize = 16;

/// Keeps in memory which records are wanted.
pub async fn look_forever(app: App) {
    let mut every = interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = look(&app).await {
            tracing::warn!(%error, "it is not known which webhooks there are; everything is kept for them meanwhile");
        }
    }
}

/// Tells webhooks, as the leader: each by a task of its own.
pub async fn tell_forever(app: App) {
    let sender = match Sender::new(&app.config.webhooks) {
        Ok(sender) => sender,
        Err(error) => return tracing::error!(%error, "no webhook is told anything"),
    };
    let (mut busy, mut tasks) = (HashMap::<Id, WebhookId>::new(), JoinSet::new());
    let mut every = interval(IDLE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        while let Some(ended) = tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "telling a webhook has broken down; it is begun again");
                    error.id()
                }
            };
            busy.remove(&id);
        }
        match step(&app).await {
            Ok(webhooks) => {
                for webhook in webhooks {
                    if !busy.values().any(|id| *id == webhook.id) {
                        let id = webhook.id;
                        busy.insert(tasks.spawn(one(app.clone(), sender.clone(), webhook)).id(), id);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "webhooks could not be told"),
        }
    }
}

/// Makes deliveries of what waits, or of much of it; answers with whom they are for.
async fn step(app: &App) -> Result<Vec<Webhook>, DbError> {
    for _ in 0..ROUNDS {
        if tell(app).await? == 0 {
            break;
        }
    }
    app.db.read("webhooks", async |tx| webhook::live(tx).await).await
}

async fn one(app: App, sender: Sender, webhook: Webhook) {
    if let Err(error) = deliver(&app, &sender, &webhook).await {
        tracing::warn!(%error, webhook = %webhook.id, "deliveries could not be read or written down");
    }
}
