//! The exchange itself (C14): one transaction in the user's family, and messages to the families of the media whose copies are taken back.

use std::collections::{BTreeMap, HashMap};

use counterfoil_core::rules::license::is_over;
use counterfoil_core::rules::register;
use counterfoil_core::rules::repair::{self as rules, Fate, Policy};
use counterfoil_core::wire::{ExchangedKind, FREE_COPIES, FreeCopies, HolderKind};
use counterfoil_core::{Code, DeviceId, DriveId, GrantId, MediumId, Refusal, RepairId, Timestamp, UserId};
use serde_json::{Value, json};

use crate::actions::checks::{check_name, check_text};
use crate::api::entries::{ExchangedDocument, ExchangedLicense, FreedCopy};
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::jobs;
use crate::problem::{ApiCode, Problem};
use crate::store::copied::{self, Bound, Copied};
use crate::store::device_info::{self, Described, DeviceInfo};
use crate::store::license::{self, LicenseRow};
use crate::store::repair::{self, RepairRow};
use crate::store::user::{self, EntryRow};
use crate::store::{audit, entitlement, grant, inbox, outbox};

/// What takes the place of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// One device of another. Without a new one it is only taken out.
    Device {
        /// In the entry, or expected.
        old: DeviceId,
        /// Expected from now on, unless it is in the entry already.
        new: Option<DeviceId>,
    },
    /// One drive of another, likewise.
    Drive {
        /// In the entry.
        old: DriveId,
        /// In the entry from now on.
        new: Option<DriveId>,
    },
}

/// An exchange, as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// In whose entry.
    pub user: UserId,
    /// What of what.
    pub swap: Swap,
    /// Why, in their words.
    pub reason: String,
    /// Their own number for it.
    pub reference: Option<String>,
    /// Whether the policy does not count; for operators alone.
    pub overrides: bool,
}

/// Carries an exchange out. What its copies were claimed from is free when this returns, or a moment later.
///
/// # Errors
/// `not_found` for a user without an entry, `not_in_entry`, `repair_not_allowed`, `too_many_devices`; `forbidden` where somebody else than
/// an operator wants the policy overridden; `unprocessable`.
pub async fn run(app: &App, caller: &Caller, once: &Once, wanted: Exchange) -> Result<Reply, Problem> {
    check_name(&wanted.reason)?;
    check_text(wanted.reference.as_deref().unwrap_or_default())?;
    if wanted.overrides && caller.role != Role::Operator {
        return Err(Problem::with(ApiCode::Forbidden, "an operator may override the policy, and nobody else"));
    }
    if wanted.swap.changes_nothing() {
        return Err(Problem::with(ApiCode::Unprocessable, "`old` and `new` are the same"));
    }
    let (user, family, swap) = (wanted.user, user::family(wanted.user), wanted.swap);
    let work = Work {
        wanted,
        repair: RepairId::from_bytes(app.rng.bytes()),
        policy: app.config.repair.policy(),
        registration: app.config.registration.clone(),
        bound: what_grants_are_bound_to(app, user).await?,
        actor: caller.actor(),
        now: app.clock.now(),
    };
    let reply = once.write(app, "exchange", family.clone(), async move |tx: &mut Tx| Ok(Reply::ok(&work.carry_out(tx).await?))).await?;
    jobs::deliver_of(app, &family).await;
    if let Swap::Device { old, new } = swap {
        [Some(old), new].into_iter().flatten().for_each(|device| app.inbox.wake(user, device));
    }
    Ok(reply)
}

/// What entitlements that do not say so themselves are bound to, by their media: told by a server of an earlier version. A grant stays bound
/// to what it was bound to, so it may be looked up before the transaction.
async fn what_grants_are_bound_to(app: &App, user: UserId) -> Result<HashMap<GrantId, Bound>, DbError> {
    app.db
        .read("what grants are bound to", async move |tx: &mut Tx| -> Result<_, DbError> {
            let mut media: Vec<MediumId> =
                copied::active(tx, user).await?.into_iter().filter(|one| one.bound.is_none()).map(|one| one.medium).collect();
            media.dedup();
            let mut bound = HashMap::new();
            for medium in media {
                let rows = grant::of_user(tx, &medium, &user.to_string()).await?;
                bound.extend(rows.into_iter().map(|row| (row.grant, Bound { device: row.device, drive: row.drive })));
            }
            Ok(bound)
        })
        .await
}

impl Swap {
    fn changes_nothing(&self) -> bool {
        match self {
            Swap::Device { old, new } => *new == Some(*old),
            Swap::Drive { old, new } => *new == Some(*old),
        }
    }

    fn kind(&self) -> ExchangedKind {
        match self {
            Swap::Device { .. } => ExchangedKind::Device,
            Swap::Drive { .. } => ExchangedKind::Drive,
        }
    }

    /// Old and new, as they are written.
    fn written(&self) -> (String, Option<String>) {
        match self {
            Swap::Device { old, new } => (old.to_string(), new.map(|id| id.to_string())),
            Swap::Drive { old, new } => (old.to_string(), new.map(|id| id.to_string())),
        }
    }

    /// Whether something bound so ends with the old one.
    fn ends(&self, bound: Bound) -> bool {
        match self {
            Swap::Device { old, .. } => bound.device == Some(*old),
            Swap::Drive { old, .. } => bound.drive == Some(*old),
        }
    }
}

/// What the transaction works with.
struct Work {
    wanted: Exchange,
    repair: RepairId,
    policy: Policy,
    registration: register::Policy,
    bound: HashMap<GrantId, Bound>,
    actor: String,
    now: Timestamp,
}

impl Work {
    async fn carry_out(&self, tx: &mut Tx) -> Result<ExchangedDocument, Problem> {
        let Self { wanted, now, .. } = self;
        let user = wanted.user;
        // Of two at once the second one decides on what the first has left; and no copy is told of meanwhile.
        audit::hold(tx, &user::family(user)).await?;
        let entry = user::find(tx, user).await?.ok_or(ApiCode::NotFound)?;
        let before = state(tx, user, entry.generation).await?;
        let mut past: Vec<Timestamp> =
            repair::of_user(tx, user).await?.iter().filter(|row| row.kind != ExchangedKind::Card).map(|row| row.created_at).collect();
        let sign_key = self.look(tx, &entry).await?;
        let overridden = rules::decide(&self.policy, &past, wanted.overrides, *now)?;
        let licenses = match wanted.swap {
            Swap::Device { old, new } => self.swap_device(tx, old, new).await?,
            Swap::Drive { old, new } => self.swap_drive(tx, old, new).await?,
        };
        let freed = self.take_copies_back(tx).await?;
        let (old_id, new_id) = wanted.swap.written();
        let row = RepairRow {
            repair: self.repair,
            kind: wanted.swap.kind(),
            old_id,
            new_id,
            reason: wanted.reason.trim().to_owned(),
            reference: wanted.reference.clone().filter(|text| !text.is_empty()),
            overridden,
            sign_key,
            actor: self.actor.clone(),
            created_at: *now,
        };
        repair::insert(tx, user, &row).await?;
        let generation = user::raise_generation(tx, user).await?;
        past.push(*now);
        let document = ExchangedDocument::new(user, &row, generation, freed, licenses, rules::standing(&self.policy, &past, *now).left);
        let after = state(tx, user, generation).await?;
        self.record(tx, &row, &document, &before, &after).await?;
        Ok(document)
    }

    async fn record(
        &self,
        tx: &mut Tx,
        row: &RepairRow,
        document: &ExchangedDocument,
        before: &Value,
        after: &Value,
    ) -> Result<(), DbError> {
        let media: Vec<&MediumId> = document.freed.iter().map(|copy| &copy.medium_id).collect();
        let detail = json!({ "repair": row.repair, "kind": row.kind, "old": row.old_id, "new": row.new_id, "reason": row.reason,
            "reference": row.reference, "overridden": row.overridden, "before": before, "after": after, "media": media,
            "licenses": document.licenses });
        audit::append(tx, &user::family(self.wanted.user), self.now.0, &self.actor, "user.exchanged", &detail).await.map(drop)
    }

    /// Whether there is such a thing to exchange, and a place for the new one; with the key that the old one signs with.
    async fn look(&self, tx: &mut Tx, entry: &EntryRow) -> Result<Option<counterfoil_format::signer::HolderVerifyingKey>, Problem> {
        let user = self.wanted.user;
        match self.wanted.swap {
            Swap::Device { old, new } => {
                let devices = device_info::all(tx, user).await?;
                let is_current = |device: DeviceId| devices.iter().any(|info| info.described.device == device && info.is_current());
                if !is_current(old) {
                    return Err(Refusal::with(Code::NotInEntry, old.to_string()).into());
                }
                let others = devices.iter().filter(|info| info.is_current() && info.described.device != old).count();
                if new.is_some_and(|new| !is_current(new)) {
                    register::decide_announcement(&self.registration, u32::try_from(others).unwrap_or(u32::MAX))?;
                }
                Ok(user::device(tx, user, old).await?.map(|row| row.keys.sign))
            }
            Swap::Drive { old, new } => {
                let drives = user::drives(tx, user).await?;
                if !drives.contains(&old) {
                    return Err(Refusal::with(Code::NotInEntry, old.to_string()).into());
                }
                if entry.holder_kind == HolderKind::Drive {
                    let detail = "the keys of this entry are on the drive itself, and gone with it: the new drive registers as a new user";
                    return Err(Refusal::with(Code::RepairNotAllowed, detail).into());
                }
                if new.is_some_and(|new| !drives.contains(&new)) {
                    register::decide_announcement(&self.registration, u32::try_from(drives.len().saturating_sub(1)).unwrap_or(u32::MAX))?;
                }
                Ok(None)
            }
        }
    }

    async fn swap_device(&self, tx: &mut Tx, old: DeviceId, new: Option<DeviceId>) -> Result<Vec<ExchangedLicense>, Problem> {
        let Self { wanted: Exchange { user, .. }, actor, now, .. } = self;
        let at_old = license::at_device(tx, *user, old).await?;
        let at_new = match new {
            Some(new) => license::at_device(tx, *user, new).await?,
            None => vec![],
        };
        device_info::retire(tx, *user, old, actor, *now).await?;
        inbox::close_device(tx, *user, old, *now).await?;
        if let Some(new) = new
            && user::device(tx, *user, new).await?.is_none()
        {
            device_info::announce(tx, *user, &Described { device: new, maker: None, model: None, name: None }, actor, *now).await?;
        }
        let mut licenses = vec![];
        for row in &at_old {
            let there = at_new.iter().any(|other| other.entitlement == row.entitlement);
            let moves_to = new.filter(|_| rules::fate(true, there, is_over(row.expires_at, *now)) == Fate::Moves);
            self.move_license(tx, row, old, moves_to).await?;
            let state = if moves_to.is_some() { "moved" } else { "ended" };
            licenses.push(ExchangedLicense { license_id: row.license, title: row.title.clone(), state });
        }
        Ok(licenses)
    }

    /// To the new device, under its transaction ID and uncounted; or to its end, which gives its place back.
    async fn move_license(&self, tx: &mut Tx, row: &LicenseRow, old: DeviceId, to: Option<DeviceId>) -> Result<(), DbError> {
        let (user, now) = (self.wanted.user, self.now);
        let done = match to {
            Some(new) => license::move_to(tx, user, row.license, old, new).await?,
            None => license::end(tx, user, row.license, now).await? && entitlement::free_place(tx, user, row.entitlement).await?,
        };
        if !done {
            return Err(tx.conflict("the license"));
        }
        match to {
            Some(new) => inbox::install(tx, user, new, row.license, &row.title, row.transaction, now).await,
            None => Ok(()),
        }
    }

    async fn swap_drive(&self, tx: &mut Tx, old: DriveId, new: Option<DriveId>) -> Result<Vec<ExchangedLicense>, Problem> {
        let (user, now) = (self.wanted.user, self.now);
        if !user::remove_drive(tx, user, old).await? {
            return Err(tx.conflict("the drive").into());
        }
        if let Some(new) = new {
            user::put_drive(tx, user, new, now).await?;
        }
        let mut licenses = vec![];
        for (id, device) in license::leave_drive(tx, user, old).await? {
            let Some(row) = license::find(tx, user, id).await? else { continue };
            inbox::install(tx, user, device, id, &row.title, row.transaction, now).await?;
            licenses.push(ExchangedLicense { license_id: id, title: row.title, state: "waiting" });
        }
        Ok(licenses)
    }

    /// Ends what came from media and is bound to the old one, and tells their families.
    async fn take_copies_back(&self, tx: &mut Tx) -> Result<Vec<FreedCopy>, DbError> {
        let Self { wanted: Exchange { user, swap, .. }, repair, now, .. } = self;
        let bound = |copied: &Copied| copied.bound.or_else(|| self.bound.get(&copied.grant).copied());
        let mut active = copied::active(tx, *user).await?;
        active.retain(|copied| bound(copied).is_some_and(|bound| swap.ends(bound)));
        let mut media = BTreeMap::<MediumId, Vec<GrantId>>::new();
        for copied in &active {
            if !copied::end(tx, *user, copied.grant, *now).await? {
                return Err(tx.conflict("the entitlement"));
            }
            media.entry(copied.medium.clone()).or_default().push(copied.grant);
        }
        let (family, (old_id, _)) = (user::family(*user), swap.written());
        for (medium, grants) in media {
            let name = format!("{repair}/{medium}");
            let told =
                FreeCopies { medium, user: *user, kind: swap.kind(), old_id: old_id.clone(), repair: repair.to_string(), grants, at: *now };
            outbox::enqueue(tx, &family, &name, FREE_COPIES, &json!(told).to_string(), now.0, now.0).await?;
        }
        Ok(active.into_iter().map(|Copied { medium, title, .. }| FreedCopy { medium_id: medium, title }).collect())
    }
}

/// What an exchange changes of an entry, as it is now.
async fn state(tx: &mut Tx, user: UserId, generation: u32) -> Result<Value, DbError> {
    let devices = device_info::all(tx, user).await?.into_iter().filter(DeviceInfo::is_current);
    let devices: Vec<DeviceId> = devices.map(|info| info.described.device).collect();
    Ok(json!({ "devices": devices, "drives": user::drives(tx, user).await?, "generation": generation }))
}
