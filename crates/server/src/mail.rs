//! Mail to people: what is said, and how it reaches them. It waits in the outbox, and is sent again until the server takes it.

use std::time::{Duration, SystemTime};

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::clock::Rng;
use crate::db::{DbError, Tx};
use crate::keys::{Keys, KeysError, Place};
use crate::store::account::Email;
use crate::store::outbox::{self, Operation};
use crate::store::ticket::Ticket;
use crate::store::user;

/// Outbox: a mail to a person.
pub const MAIL: &str = "mail";

/// How long the server may take for each step.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long it is tried to tell people what happened; mails with a link are as good as the link.
const TRIED: i64 = 3 * Timestamp::DAY;

/// The server that takes mail from us, and in whose name.
#[derive(Clone)]
pub struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Relay {
    /// Reads `smtps://…` or `smtp://…` and a sender; no connection is made yet.
    ///
    /// # Errors
    /// What is wrong, without the password.
    pub fn new(url: &str, from: &str) -> Result<Self, String> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| format!("smtp_url: {error}"))?;
        let from = from.parse().map_err(|error| format!("from: {error}"))?;
        Ok(Self { transport: builder.timeout(Some(TIMEOUT)).build(), from })
    }

    /// Hands a plain text over. The same `id` again is the same mail, to programs that look at that (RFC 5322 §3.6.4).
    ///
    /// # Errors
    /// Why the server did not take it.
    pub async fn hand_over(&self, to: &str, subject: String, text: String, id: &str, at: Timestamp) -> Result<(), String> {
        let id = format!("<{id}@{}>", self.from.email.domain());
        let message = self.message(to, subject, text, Some(id), at)?;
        self.transport.send(message).await.map(drop).map_err(|error| error.to_string())
    }

    fn message(&self, to: &str, subject: String, text: String, id: Option<String>, at: Timestamp) -> Result<Message, String> {
        let to = Email::parse(to).ok_or("its address is none")?;
        Message::builder()
            .from(self.from.clone())
            .to(to.as_str().parse().map_err(|error: lettre::address::AddressError| error.to_string())?)
            .subject(subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs()))
            .message_id(id)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())
    }
}

/// What a mail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letter {
    /// A new account: is this your address?
    Confirm,
    /// Somebody forgot their password.
    Reset,
    /// Another address for an account: is it yours?
    NewAddress,
    /// The account has another address now; to the old one.
    AddressChanged,
    /// The password was changed.
    PasswordChanged,
    /// One-time codes were turned off.
    CodesOff,
    /// Everything to get in without was drawn anew.
    RecoveryCodesDrawn,
    /// There is one more thing to get in with, which a new password does not end.
    PasskeyKept,
}

impl Letter {
    /// How long its link is good; none has no link.
    pub fn link_life(self) -> Option<i64> {
        match self {
            Self::Confirm | Self::NewAddress => Some(3 * Timestamp::DAY),
            Self::Reset => Some(60 * 60 * 1000),
            _ => None,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Confirm => "Confirm your e-mail address",
            Self::Reset => "Choose a new password",
            Self::NewAddress => "Confirm your new e-mail address",
            Self::AddressChanged => "Your e-mail address was changed",
            Self::PasswordChanged => "Your password was changed",
            Self::CodesOff => "One-time codes were turned off",
            Self::RecoveryCodesDrawn => "New recovery codes were made",
            Self::PasskeyKept => "A passkey was made",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Confirm => {
                "An account was made with this e-mail address. Open this address within three days to confirm that it is yours:"
            }
            Self::Reset => {
                "Somebody, probably you, forgot the password of this account. Open this address within one hour to choose a new one:"
            }
            Self::NewAddress => "This e-mail address is to become that of an account. Open this address within three days to confirm it:",
            Self::AddressChanged => "Your account has another e-mail address now, and this one is no longer used.",
            Self::PasswordChanged => {
                "The password of your account was changed, and every browser that was signed in with it was signed out."
            }
            Self::CodesOff => "Signing in to your account no longer asks for a one-time code.",
            Self::RecoveryCodesDrawn => "New recovery codes were made for your account; those from before are no longer good.",
            Self::PasskeyKept => {
                "A passkey was made for your account. Whoever has it signs in with it alone, after a change of the password too, until it is removed."
            }
        }
    }
}

/// As it waits in the outbox. The link's secret is wrapped: the database cannot open accounts.
#[derive(Serialize, Deserialize)]
struct Waiting {
    user: UserId,
    to: String,
    letter: Letter,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ticket: Option<String>,
}

/// Puts a mail in the outbox, in the transaction of what it is about; nothing where no mail is sent here.
///
/// # Errors
/// Failures of database and keys.
pub async fn enqueue(
    tx: &mut Tx,
    post: &Post,
    user: UserId,
    to: &str,
    letter: Letter,
    ticket: Option<&Ticket>,
    now: Timestamp,
) -> Result<(), KeysError> {
    if !post.on {
        return Ok(());
    }
    let operation = format!("mail:{:032x}", u128::from_be_bytes(post.rng.bytes()));
    let wrapped = match ticket {
        Some(ticket) => {
            let place = Place::MailedTicket { user: &user.to_string(), operation: &operation };
            Some(to_base64url(&post.keys.wrap(&place, ticket.secret().expose(), &mut post.rng.clone())?))
        }
        None => None,
    };
    let waiting = Waiting { user, to: to.to_owned(), letter, ticket: wrapped };
    let payload = serde_json::to_string(&waiting).expect("names and texts are JSON");
    outbox::enqueue(tx, &user::family(user), &operation, MAIL, &payload, now.0, now.0).await?;
    Ok(())
}

/// What a transaction needs to put a mail in the outbox.
#[derive(Clone)]
pub struct Post {
    on: bool,
    keys: Keys,
    rng: Rng,
}

impl Post {
    /// Of this process.
    pub fn of(app: &App) -> Self {
        Self { on: app.config.mail.is_on(), keys: app.keys.clone(), rng: app.rng.clone() }
    }
}

/// Sends a mail that is due; `Ok` as well where it is too late for it.
///
/// # Errors
/// Why the server did not take it.
pub async fn send(app: &App, relay: &Relay, operation: &Operation, now: Timestamp) -> Result<(), String> {
    let waiting: Waiting = serde_json::from_str(&operation.payload).map_err(|error| error.to_string())?;
    if now.0 - operation.created_at > waiting.letter.link_life().unwrap_or(TRIED) {
        tracing::warn!(operation = operation.operation_id, "a mail could not be sent while it meant something");
        return Ok(());
    }
    let link = match &waiting.ticket {
        Some(wrapped) => Some(link(app, &waiting, &operation.operation_id, wrapped).await?),
        None => None,
    };
    let message = write(&app.name, relay, &waiting, link.as_deref(), Timestamp(operation.created_at))?;
    relay.transport.send(message).await.map(drop).map_err(|error| error.to_string())
}

async fn link(app: &App, waiting: &Waiting, operation: &str, wrapped: &str) -> Result<String, String> {
    let wrapped = from_base64url(wrapped).ok_or("its link is not base64url")?;
    let place = Place::MailedTicket { user: &waiting.user.to_string(), operation };
    let secret = app.keys.open(&app.db, &place, &wrapped).await.map_err(|error| error.to_string())?;
    let base = app.urls.first().ok_or("this server does not know its own address")?;
    Ok(format!("{base}/account/link?ticket={}", Ticket::of(waiting.user, secret).reveal()))
}

fn write(name: &str, relay: &Relay, waiting: &Waiting, link: Option<&str>, at: Timestamp) -> Result<Message, String> {
    let mut text = format!("{}\n", waiting.letter.text());
    if let Some(link) = link {
        text.push_str(&format!("\n{link}\n"));
    }
    text.push_str("\nIf this was not you, sign in and change your password; without an account you need do nothing.\n");
    text.push_str(&format!("\n{name}\n"));
    relay.message(&waiting.to, format!("{name}: {}", waiting.letter.subject()), text, None, at)
}

/// Sends what is due, a few mails at a time; answers with how many there were.
///
/// # Errors
/// A failure of the database.
pub async fn deliver(app: &App, relay: &Relay) -> Result<usize, DbError> {
    use futures_util::StreamExt as _;
    let now = app.clock.now();
    let due = outbox::due_mail(&app.db, now.0, 64).await?;
    let count = due.len();
    let ended = futures_util::stream::iter(due).map(async |operation| (send(app, relay, &operation, now).await, operation));
    let mut ended = std::pin::pin!(ended.buffer_unordered(4));
    while let Some((outcome, operation)) = ended.next().await {
        if let Err(error) = &outcome {
            metrics::counter!("counterfoil_mail_failed_total").increment(1);
            tracing::warn!(%error, operation = operation.operation_id, "a mail could not be sent; it is tried again");
        }
        crate::jobs::end(app, operation.family.clone(), vec![(operation, outcome)], now).await?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_mail_says_what_happened_and_carries_its_link_whole() {
        let relay = Relay::new("smtp://localhost:2525", "Blue Fox <no-reply@fox.example>").unwrap();
        let waiting = Waiting { user: UserId::from_bytes([1; 16]), to: "ada@example.org".to_owned(), letter: Letter::Reset, ticket: None };
        let link = format!("https://fox.example/account/link?ticket={}", "x".repeat(90));
        let message = write("Blue Fox", &relay, &waiting, Some(&link), Timestamp(0)).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains("To: ada@example.org") && text.contains("Subject: Blue Fox: Choose a new password"), "{text}");
        assert!(text.replace("=\r\n", "").replace("=3D", "=").contains(&link), "{text}");
    }

    #[tokio::test]
    async fn what_is_no_server_or_no_sender_is_told_without_the_password() {
        for (url, from) in
            [("http://me:hunter2@x", "a@b.example"), ("smtps://me:hunter2@mail.example", "nobody"), ("hunter2", "a@b.example")]
        {
            let error = Relay::new(url, from).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
