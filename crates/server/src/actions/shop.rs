//! Registering a person with the device that they are sold (D1), and announcing further devices of a user.
//!
//! Both write the user's family alone. The parts that work within a transaction are what the pages for people and the terminal's own
//! request use as well.

use counterfoil_core::rules::register::{self, Policy};
use counterfoil_core::{Code, DeviceId, Refusal, Timestamp, UserId};
use serde_json::json;

use super::checks::{check_name, check_text};
use crate::api::shop::{AnnouncedDevice, AssignedUser, NewDevice, NewUser};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::device_info::{self, Described};
use crate::store::person::{self, PersonRow};
use crate::store::{audit, repair, user};

/// Longest name of a device, in characters; as at registration.
const DEVICE_NAME: usize = 100;
/// Longest address of a person, in characters.
const ADDRESS: usize = 1000;
/// Longest e-mail address, in characters (RFC 5321 §4.5.3.1.3 less the brackets).
const EMAIL: usize = 254;

/// Who has somebody written down, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// As in the audit log.
    pub actor: String,
    /// When.
    pub now: Timestamp,
}

/// A person and their device, checked.
#[derive(Clone, Debug)]
pub struct Checked {
    person: PersonRow,
    device: Option<Described>,
}

/// Assigns a user ID to a person. With an Idempotency-Key it follows from the request, so that the same request never makes two users of one.
///
/// # Errors
/// `unprocessable`; `too_many_devices` where the policy allows none.
pub async fn assign(app: &App, caller: &Caller, once: &Once, new: NewUser) -> Result<Reply, Problem> {
    let checked = Checked::new(new)?;
    let user = UserId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes()));
    let by = By { actor: caller.actor(), now: app.clock.now() };
    let policy = app.config.registration.clone();
    once.write(app, "assign_user", user::family(user), async move |tx: &mut Tx| {
        let made = assign_within(tx, user, &checked, &policy, &by).await?;
        let document = AssignedUser { user_id: user, device_id: checked.device_id() };
        Ok(if made { Reply::created(&document) } else { Reply::ok(&document) })
    })
    .await
}

/// Announces a device of a user.
///
/// # Errors
/// `unprocessable`, `not_found`, `too_many_devices`.
pub async fn announce(app: &App, caller: &Caller, once: &Once, user: UserId, new: NewDevice) -> Result<Reply, Problem> {
    let device = described(new)?;
    let by = By { actor: caller.actor(), now: app.clock.now() };
    let policy = app.config.registration.clone();
    once.write(app, "announce_device", user::family(user), async move |tx: &mut Tx| {
        let registered = announce_within(tx, user, &device, &policy, &by).await??;
        Ok(Reply::ok(&AnnouncedDevice { user_id: user, device_id: device.device, registered }))
    })
    .await
}

/// Within a transaction of the user's family; says whether the user is new. The same person again changes nothing.
///
/// # Errors
/// `conflict` where the user ID is somebody else's; as [`announce_within`].
pub async fn assign_within(tx: &mut Tx, user: UserId, new: &Checked, policy: &Policy, by: &By) -> Result<bool, Problem> {
    if !person::insert(tx, user, &new.person, &by.actor, by.now).await? {
        return match person::find(tx, user).await? {
            Some(known) if known == new.person => Ok(false),
            Some(_) => Err(Problem::with(ApiCode::Conflict, "this user ID is somebody else's")),
            None => Err(Problem::with(ApiCode::Conflict, "the data of the person of this user ID was deleted on request")),
        };
    }
    // Who it is stays where it can be corrected and deleted, and out of a log that cannot.
    audit::append(tx, &user::family(user), by.now.0, &by.actor, "user.assigned", &json!({})).await?;
    if let Some(device) = &new.device {
        announce_within(tx, user, device, policy, by).await??;
    }
    Ok(true)
}

/// Within a transaction of the user's family; says whether the device is in the entry already, which is no reason to refuse. A refusal is
/// [`Code::TooManyDevices`] or [`Code::DeviceExchanged`], and nothing has been written then.
///
/// # Errors
/// `not_found` for a user whom nobody knows; a failure of the database.
pub async fn announce_within(
    tx: &mut Tx,
    user: UserId,
    device: &Described,
    policy: &Policy,
    by: &By,
) -> Result<Result<bool, Refusal>, Problem> {
    // Of two at once at two processes the second one counts what the first has announced.
    audit::hold(tx, &user::family(user)).await?;
    if person::find(tx, user).await?.is_none() && user::find(tx, user).await?.is_none() {
        return Err(ApiCode::NotFound.into());
    }
    // What was exchanged comes back by the repair centre alone.
    if !repair::out(tx, user, Some(device.device), None).await?.is_empty() {
        return Ok(Err(Code::DeviceExchanged.into()));
    }
    let devices = device_info::all(tx, user).await?;
    let known = devices.iter().find(|info| info.described.device == device.device);
    if !known.is_some_and(device_info::DeviceInfo::is_current) {
        let others = devices.iter().filter(|info| info.is_current()).count();
        if let Err(refusal) = register::decide_announcement(policy, u32::try_from(others).unwrap_or(u32::MAX)) {
            return Ok(Err(refusal));
        }
    }
    let registered = known.is_some_and(|info| info.registered);
    let again = known.is_some_and(|info| info.retired_at.is_some());
    device_info::announce(tx, user, device, &by.actor, by.now).await?;
    let detail = json!({ "device": device.device, "again": again });
    audit::append(tx, &user::family(user), by.now.0, &by.actor, "device.announced", &detail).await?;
    Ok(Ok(registered))
}

impl Checked {
    /// Checks what was typed.
    ///
    /// # Errors
    /// `unprocessable`.
    pub fn new(new: NewUser) -> Result<Self, Problem> {
        let wrong = |detail: &str| Err(Problem::with(ApiCode::Unprocessable, detail));
        check_name(&new.name)?;
        let person = PersonRow { name: new.name.trim().to_owned(), email: given(new.email), address: given(new.address) };
        if person.email.as_ref().is_some_and(|email| !is_email(email)) {
            return wrong("email: one address, such as ada@example.org");
        }
        let odd = |c: char| c.is_control() && c != '\n';
        if person.address.as_ref().is_some_and(|address| address.chars().count() > ADDRESS || address.chars().any(odd)) {
            return wrong("address: at most 1000 characters");
        }
        Ok(Self { person, device: new.device.map(described).transpose()? })
    }

    /// Who it is.
    pub fn person(&self) -> &PersonRow {
        &self.person
    }

    fn device_id(&self) -> Option<DeviceId> {
        self.device.as_ref().map(|device| device.device)
    }
}

/// Checks what is said of a device.
///
/// # Errors
/// `unprocessable`.
pub fn described(new: NewDevice) -> Result<Described, Problem> {
    let device = Described { device: new.device_id, maker: given(new.maker), model: given(new.model), name: given(new.name) };
    for text in [&device.maker, &device.model, &device.name].into_iter().flatten() {
        check_text(text)?;
    }
    if device.name.as_ref().is_some_and(|name| name.chars().count() > DEVICE_NAME) {
        return Err(Problem::with(ApiCode::Unprocessable, "the device's name: at most 100 characters"));
    }
    Ok(device)
}

/// A form and a table leave fields empty that were not filled in. Lines end as they do here, wherever they were typed.
fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.replace("\r\n", "\n").trim().to_owned()).filter(|text| !text.is_empty())
}

/// Whether mail can be sent there is found out by sending some; this only catches what was typed into the wrong field.
fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    parts && text.chars().count() <= EMAIL && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(email: Option<&str>, address: Option<&str>) -> Result<Checked, Problem> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Checked::new(NewUser { name: " Ada ".into(), email: own(email), address: own(address), device: None })
    }

    #[test]
    fn what_was_not_filled_in_is_absent_and_what_was_is_trimmed() {
        let checked = person(Some(" "), Some("1 Street\r\nTown\n")).expect("fine");
        assert_eq!(checked.person, PersonRow { name: "Ada".into(), email: None, address: Some("1 Street\nTown".into()) });
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for email in ["ada", "@example.org", "ada@", "a da@example.org", &format!("{}@example.org", "a".repeat(250))] {
            assert_eq!(person(Some(email), None).expect_err(email).code, "unprocessable");
        }
        assert!(person(Some("ada@example.org"), None).is_ok());
        assert!(person(None, Some(&"a".repeat(1001))).is_err());
        assert!(person(None, Some("bell\u{7}")).is_err());
        let device = |name: &str| {
            let text = Some(name.to_owned());
            described(NewDevice { device_id: DeviceId::from_bytes([1; 16]), maker: None, model: text.clone(), name: text })
        };
        assert!(device(&"n".repeat(100)).is_ok());
        assert!(device(&"n".repeat(101)).is_err());
        assert!(device("two\nlines").is_err());
    }
}
