//! User registration (C3–C5) in two steps, each in its own family: whose the holder of keys is, then the user's entry.
//!
//! Both can be run again: cut between them, the repeat goes on as the user that the holder was reserved for.

use counterfoil_core::rules::register::{self, Combination, EntryDecision, EntryFacts, HolderDecision};
use counterfoil_core::wire::{HolderKeys, HolderKind, Register, RegisterResult};
use counterfoil_core::{CardId, Code, DeviceId, DriveId, HolderId, Refusal, Timestamp, UserId};
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::grant::{SealedBox, purpose, seal_box};
use counterfoil_format::holder::HolderPublic;
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::secret::Secret;
use serde_json::json;
use zeroize::Zeroizing;

use super::asked::{self, Asked, Decided};
use super::repair::turned_up;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::device_info::{self, DeviceInfo};
use crate::store::holder::{self, Public};
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, DeviceRow, EntryRow};
use crate::store::{audit, person, repair};

/// Longest name of a device, in characters.
const NAME: usize = 100;

/// A registration whose keys are read and whose signatures are verified.
struct Registrant {
    combination: Combination,
    kind: HolderKind,
    holder: HolderId,
    keys: Public,
    /// What the holder signs as, and its boxes name.
    kid: String,
    seal: SealingPublicKey,
    device: Option<(Public, Secret<32>)>,
}

/// Decides a registration and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Register, now: Timestamp) -> Result<Decided, Problem> {
    let registrant = match read(asked, ask).and_then(|registrant| openable(app, registrant)) {
        Ok(registrant) => registrant,
        Err(refusal) => {
            let family = asked::stranger(&asked.request_id.to_string());
            return asked::refuse(app, family, "register", "terminal", refusal, now).await;
        }
    };
    let user = match reserve(app, ask, &registrant, now).await? {
        Ok(user) => user,
        Err(refusal) => {
            let family = asked::stranger(&registrant.kid);
            return asked::refuse(app, family, "register", &registrant.kid, refusal, now).await;
        }
    };
    enter(app, asked, ask, &registrant, user, now).await
}

/// Reads the keys and checks that each of them signed (C5).
fn read(asked: &Asked, ask: &Register) -> Result<Registrant, Refusal> {
    let combination = Combination { card: ask.card.is_some(), device: ask.device.is_some(), drive: ask.drive.is_some() };
    let kind = combination.holder().ok_or_else(|| Refusal::with(Code::RegistrationNotAllowed, "a card, a device or a drive"))?;
    let invalid = |what: &str| Refusal::with(Code::ProofInvalid, what.to_owned());
    let signed = |kid: &str, keys: &HolderPublic, what: &str| {
        if asked.signed(kid, &keys.signing) { Ok(()) } else { Err(invalid(what)) }
    };
    let mut holder: Option<(String, HolderPublic)> = None;
    if let Some(keys) = &ask.card {
        let keys = parse(keys).ok_or_else(|| invalid("the card's keys"))?;
        let kid = CardId::from_bytes(keys.id()).to_string();
        signed(&kid, &keys, "the card")?;
        holder = Some((kid, keys));
    }
    let mut device = None;
    if let Some(given) = &ask.device {
        let keys = in_file(&given.keys).ok_or_else(|| invalid("the device's keys"))?;
        let kid = given.id.to_string();
        signed(&kid, &keys, "the device")?;
        let secret = from_base64url(&given.secret).map(Zeroizing::new).and_then(|bytes| Secret::from_slice(&bytes));
        device = Some((keys.into(), secret.ok_or_else(|| invalid("the device's secret"))?));
        holder.get_or_insert((kid, keys));
        if given.name.as_ref().is_some_and(|name| name.chars().count() > NAME || name.chars().any(char::is_control)) {
            return Err(Refusal::with(Code::RegistrationNotAllowed, "the device's name: at most 100 characters, no control characters"));
        }
    }
    if let Some(given) = &ask.drive
        && let Some(keys) = &given.keys
    {
        let keys = in_file(keys).ok_or_else(|| invalid("the drive's keys"))?;
        let kid = given.id.to_string();
        signed(&kid, &keys, "the drive")?;
        holder.get_or_insert((kid, keys));
    }
    let (kid, keys) = holder.ok_or_else(|| invalid("a drive alone holds its own keys"))?;
    Ok(Registrant { combination, kind, holder: HolderId::from_bytes(keys.id()), keys: keys.into(), kid, seal: keys.sealing, device })
}

/// Nothing can be sealed to a point of low order, and who registers one would be answered by a failure, after every write.
fn openable(app: &App, registrant: Registrant) -> Result<Registrant, Refusal> {
    match seal_box(&registrant.seal, &[purpose::USER_ID], b"", &mut app.rng.clone()) {
        Ok(_) => Ok(registrant),
        Err(_) => Err(Refusal::with(Code::ProofInvalid, "nothing can be sealed to the holder's key")),
    }
}

/// The keys of a card as they travel, in a file or in a token or TPM.
pub(super) fn parse(keys: &HolderKeys) -> Option<HolderPublic> {
    HolderPublic::new(keys.sign.parse().ok()?, keys.seal.parse().ok()?).ok()
}

/// Those of a device or drive: they have nothing but a file.
fn in_file(keys: &HolderKeys) -> Option<HolderPublic> {
    parse(keys).filter(|keys| keys.signing.is_ed25519())
}

/// First step, in the holder's family. A repeat finds its own reservation.
///
/// Whether the user expects the device lies in the user's family and is only looked at here: the second step decides it. Of two that come
/// with keys of their own for one device both may be reserved, and one is entered; the other one is refused there, now and ever after.
async fn reserve(app: &App, ask: &Register, registrant: &Registrant, now: Timestamp) -> Result<Result<UserId, Refusal>, Problem> {
    let (policy, combination, claimed) = (app.config.registration.clone(), registrant.combination, ask.user_id);
    let expected = expected(app, ask).await?;
    let (holder, kind, keys) = (registrant.holder, registrant.kind, registrant.keys);
    let fresh = UserId::from_bytes(app.rng.bytes());
    let family = holder::family(holder);
    app.db
        .write("register holder", family.clone(), async move |tx: &mut Tx| -> Result<_, Problem> {
            let facts = holder::facts(tx, holder).await?;
            match register::decide_holder(&policy, combination, &facts, claimed, expected, fresh) {
                Err(refusal) => Ok(Err(refusal)),
                Ok(HolderDecision::Continue(user)) => Ok(Ok(user)),
                Ok(HolderDecision::Reserve(user)) => {
                    holder::reserve(tx, holder, kind, &keys, user, now).await?;
                    audit::append(tx, &family, now.0, &family, "holder.registered", &json!({ "kind": kind, "user": user })).await?;
                    Ok(Ok(user))
                }
            }
        })
        .await
}

async fn expected(app: &App, ask: &Register) -> Result<bool, DbError> {
    let (Some(user), Some(device)) = (ask.user_id, ask.device.as_ref().map(|device| device.id)) else { return Ok(false) };
    let found = app.db.read("expected device", async move |tx: &mut Tx| device_info::find(tx, user, device).await).await?;
    Ok(found.is_some_and(|info| info.is_expected()))
}

/// Second step, in the user's family, with the record of the request.
async fn enter(
    app: &App,
    asked: &Asked,
    ask: &Register,
    registrant: &Registrant,
    user: UserId,
    now: Timestamp,
) -> Result<Decided, Problem> {
    let sealed = seal_box(&registrant.seal, &[purpose::USER_ID, &registrant.kid], user.to_string().as_bytes(), &mut app.rng.clone());
    let sealed: SealedBox = sealed.map_err(Problem::internal)?;
    let card_id = (registrant.kind == HolderKind::Card).then(|| registrant.holder.into());
    let user_box = serde_json::to_value(&sealed).map_err(Problem::internal)?;
    let answer = RegisterResult { holder: registrant.kind, user: user_box, card_id, generation: 0 };
    let new = New {
        user,
        entry: EntryRow { holder: registrant.holder, holder_kind: registrant.kind, keys: registrant.keys, generation: 0 },
        device: device_row(app, ask, registrant, user, now)?,
        drive: ask.drive.as_ref().map(|drive| drive.id),
    };
    let (policy, given) = (app.config.registration.clone(), ask.user_id.is_some());
    let (request_id, digest, family, actor) =
        (asked.request_id.to_string(), asked.digest, user::family(user), holder::family(registrant.holder));
    app.db
        .write("register user", family.clone(), async move |tx: &mut Tx| -> Result<Decided, Problem> {
            // Of two at once at two processes the second one decides on what the first has left.
            audit::hold(tx, &family).await?;
            let decided = match request::once(tx, &family, &request_id, &digest, now.0).await? {
                Once::Repeat(recorded) => return Ok(Ok(serde_json::from_slice(&recorded.answer).map_err(Problem::internal)?)),
                Once::Mismatch => Err(Code::RequestMismatch.into()),
                Once::Fresh => {
                    let facts = new.facts(tx).await?;
                    register::decide_entry(&policy, &facts, new.entry.holder_kind, new.device_id(), new.drive, given)
                }
            };
            match decided {
                Err(refusal) if refusal.code == Code::DeviceExchanged => {
                    turned_up::at_registration(tx, user, new.device_id(), new.drive, &actor, now).await?;
                    Ok(Err(refusal))
                }
                Err(refusal) => {
                    asked::audit_refusal(tx, &family, "register", &actor, refusal.code, now).await?;
                    Ok(Err(refusal))
                }
                Ok(decision) => {
                    new.write(tx, &decision, now).await?;
                    let EntryDecision { create, add_device, add_drive } = decision;
                    let detail = json!({ "created": create, "device": add_device, "drive": add_drive });
                    audit::append(tx, &family, now.0, &actor, "user.registered", &detail).await?;
                    let generation = user::find(tx, user).await?.map_or(0, |entry| entry.generation);
                    let answer = serde_json::to_value(RegisterResult { generation, ..answer.clone() }).map_err(Problem::internal)?;
                    let recorded = Recorded { status: 200, answer: answer.to_string().into_bytes() };
                    request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
                    Ok(Ok(answer))
                }
            }
        })
        .await
}

fn device_row(app: &App, ask: &Register, registrant: &Registrant, user: UserId, now: Timestamp) -> Result<Option<DeviceRow>, Problem> {
    let (Some(given), Some((keys, secret))) = (&ask.device, &registrant.device) else { return Ok(None) };
    let place = Place::DeviceSecret { user: &user.to_string(), device: &given.id.to_string() };
    let secret = app.keys.wrap(&place, secret.expose(), &mut app.rng.clone())?;
    Ok(Some(DeviceRow { device: given.id, keys: *keys, secret, name: given.name.clone(), created_at: now }))
}

/// What registers, for whom.
struct New {
    user: UserId,
    /// The holder that registers, as an entry would have it.
    entry: EntryRow,
    device: Option<DeviceRow>,
    drive: Option<DriveId>,
}

impl New {
    fn device_id(&self) -> Option<DeviceId> {
        self.device.as_ref().map(|row| row.device)
    }

    async fn facts(&self, tx: &mut Tx) -> Result<EntryFacts, DbError> {
        let user = self.user;
        let entry = user::find(tx, user).await?;
        let devices = user::devices(tx, user).await?;
        let drives = user::drives(tx, user).await?;
        let known = device_info::all(tx, user).await?;
        let this = known.iter().find(|info| Some(info.described.device) == self.device_id());
        let others = known.iter().filter(|info| info.is_current() && Some(info.described.device) != self.device_id());
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(EntryFacts {
            assigned: person::find(tx, user).await?.is_some(),
            established: entry.as_ref().is_some_and(|entry| match entry.holder_kind {
                HolderKind::Device => devices.iter().any(|row| row.keys == self.entry.keys),
                HolderKind::Card | HolderKind::Drive => entry.holder == self.entry.holder,
            }),
            holder: entry.map(|entry| entry.holder_kind),
            // A device with other keys than before was wiped: it is added again, which takes the user ID.
            has_device: self.device.as_ref().is_some_and(|new| devices.iter().any(|row| row.device == new.device && row.keys == new.keys)),
            expected: this.is_some_and(DeviceInfo::is_expected),
            retired: this.is_some_and(|info| info.retired_at.is_some()),
            exchanged: !repair::out(tx, user, self.device_id(), self.drive).await?.is_empty(),
            has_drive: self.drive.is_some_and(|drive| drives.contains(&drive)),
            devices: count(others.count()),
            drives: count(drives.len()),
        })
    }

    async fn write(&self, tx: &mut Tx, decision: &EntryDecision, now: Timestamp) -> Result<(), DbError> {
        if decision.create {
            user::insert(tx, self.user, &self.entry, now).await?;
        }
        if let (Some(_), Some(row)) = (decision.add_device, &self.device) {
            user::put_device(tx, self.user, row).await?;
        }
        if let Some(drive) = decision.add_drive {
            user::put_drive(tx, self.user, drive, now).await?;
        }
        Ok(())
    }
}
