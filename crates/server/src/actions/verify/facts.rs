//! What a verdict stands on: read once, the end of the family's audit log first.

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::{HolderKind, Present, TitleOnOffer};
use counterfoil_core::{Channel, Code, DeviceId, MediumId, ProviderId, Refusal, Timestamp, TitleId, UserId};

use crate::actions::asked::Asked;
use crate::actions::inspect;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::audit::{self, Head};
use crate::store::medium::{self, Known};
use crate::store::provider::{self, OwnedOfProvider};
use crate::store::pseudonym::{self, Pseudonyms};
use crate::store::user::{self, DeviceRow};
use crate::store::{grant, holder, release};

/// What every verdict needs.
pub struct Common {
    /// Where the family's audit log ended before anything else was read.
    pub head: Head,
    /// What the provider knows people by.
    pub pseudonyms: Pseudonyms,
    /// Where the provider is reached; nothing where it has ended since it was let in.
    pub url: Option<String>,
}

impl Common {
    async fn read(tx: &mut Tx, family: &str, provider: ProviderId) -> Result<Self, Problem> {
        let head = audit::head(tx, family).await?;
        let url = provider::find(tx, provider).await?.map(|provider| provider.url);
        let pseudonyms = pseudonym::load(tx).await?;
        let pseudonyms = pseudonyms.ok_or_else(|| Problem::internal("a provider is registered, and there are no pseudonyms"))?;
        Ok(Self { head, pseudonyms, url })
    }

    /// Whether the terminal was where the provider is. Somebody else could have handed on the provider's ID and challenge as its own, and now
    /// hand what the terminal made of them to the provider.
    pub fn is_home_of(&self, present: &Present) -> Result<(), Refusal> {
        match &self.url {
            None => Err(Code::ProviderUnknown.into()),
            Some(url) if *url == present.url => Ok(()),
            Some(url) => {
                Err(Refusal::with(Code::PresentationInvalid, format!("it was presented elsewhere: this provider is registered at {url}")))
            }
        }
    }
}

/// What is known of a medium.
pub struct OfMedium {
    /// Nothing where there is no such medium.
    pub known: Option<Known>,
    /// Whether it is of a publisher whose media this provider may have judged.
    pub may_judge: bool,
    /// Who has claimed it: nobody, or where several people have copies, no one of them.
    pub claimant: Option<UserId>,
    /// What lies on it.
    pub titles: Vec<TitleOnOffer>,
    /// As for every verdict.
    pub common: Common,
}

/// Looks at a medium.
///
/// # Errors
/// Failures of the database.
pub async fn of_medium(app: &App, provider: ProviderId, id: &MediumId) -> Result<OfMedium, Problem> {
    let (app, id, db) = (app.clone(), id.clone(), app.db.clone());
    db.read("medium for provider", async move |tx: &mut Tx| -> Result<OfMedium, Problem> {
        let common = Common::read(tx, &medium::family(&id), provider).await?;
        let mut of = OfMedium { known: None, may_judge: false, claimant: None, titles: vec![], common };
        let row = medium::find(tx, &id).await?;
        let Some(batch) = row.as_ref().map(|row| row.batch).or(id.batch_and_serial().map(|(batch, _)| batch)) else { return Ok(of) };
        let Some((revision, may_judge)) = provider::judges(tx, provider, batch).await? else { return Ok(of) };
        let mut pressed = app.batches.find(tx, batch).await?;
        if pressed.as_ref().is_some_and(|pressed| pressed.revision != revision) {
            // Its rights were changed, here or in another process.
            app.batches.forget(batch);
            pressed = app.batches.find(tx, batch).await?;
        }
        let Some(pressed) = pressed else { return Ok(of) };
        of.known = medium::known_by(&id, row.as_ref(), &pressed);
        of.may_judge = may_judge;
        if row.is_some_and(|row| row.copies_claimed > 0) {
            of.claimant = grant::only_user(tx, &id).await?;
        }
        for title in &pressed.titles {
            of.titles.push(on_offer(tx, title.title.clone(), title.name.clone(), title.kind).await?);
        }
        Ok(of)
    })
    .await
}

/// What is known of a user.
pub struct OfUser {
    /// Of the provider's publishers.
    pub titles: Vec<TitleOnOffer>,
    /// What the terms allow that any of these was bought under.
    pub scope: String,
    /// As for every verdict.
    pub common: Common,
}

/// Looks at what a user has.
///
/// # Errors
/// Failures of the database.
pub async fn of_user(app: &App, provider: ProviderId, id: UserId, now: Timestamp) -> Result<OfUser, Problem> {
    app.db
        .read("user for provider", async move |tx: &mut Tx| -> Result<OfUser, Problem> {
            let common = Common::read(tx, &user::family(id), provider).await?;
            let OwnedOfProvider { titles: owned, rights } = provider::owned(tx, provider, id, now.0).await?;
            let mut titles = vec![];
            for (title, name, kind) in owned {
                titles.push(on_offer(tx, title, name, kind).await?);
            }
            Ok(OfUser { titles, scope: rights.map(|rights| rights.scope()).unwrap_or_default(), common })
        })
        .await
}

async fn on_offer(tx: &mut Tx, title: TitleId, name: String, kind: counterfoil_core::Kind) -> Result<TitleOnOffer, DbError> {
    let newest = release::newest(tx, &title, &Channel::default()).await?.map(|release| release.version);
    Ok(TitleOnOffer { title, name, kind, newest })
}

/// The user who has proven to be there; nobody where none was named. Whatever was named has to prove itself.
///
/// # Errors
/// Failures of the database.
pub async fn who(app: &App, asked: &Asked, present: &Present) -> Result<Result<Option<UserId>, Refusal>, Problem> {
    match (present.user_id, present.device_id) {
        (None, None) => Ok(Ok(None)),
        (None, Some(device)) => {
            let found = inspect::of_device(app, asked, device).await?;
            Ok(found.map(|_| None).ok_or_else(|| Code::DeviceNotRegistered.into()))
        }
        (Some(user), device) => match inspect::of_user(app, asked, user, device).await? {
            Err(refusal) => Ok(Err(refusal)),
            Ok(_) => Ok(alive(app, asked, user).await?.map(|()| Some(user))),
        },
    }
}

/// Whether what signed for the user has not been declared dead: a card that was reported lost is nobody's.
async fn alive(app: &App, asked: &Asked, id: UserId) -> Result<Result<(), Refusal>, Problem> {
    let signers: Vec<DeviceId> = asked.proofs.signers().filter_map(|(kid, _)| kid.parse().ok()).collect();
    let (dead, devices) = app
        .db
        .read("holder for provider", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(entry) = user::find(tx, id).await? else { return Ok((Some(Code::UserInvalid), vec![])) };
            let mut devices: Vec<DeviceRow> = vec![];
            if entry.holder_kind != HolderKind::Device {
                let dead = holder::facts(tx, entry.holder).await? == HolderFacts::Dead;
                let code = if entry.card().is_some() { Code::CardUnknown } else { Code::UserInvalid };
                return Ok((dead.then_some(code), devices));
            }
            // Where there is no card, each device is a holder of its own.
            for device in &signers {
                if let Some(row) = user::device(tx, id, *device).await?
                    && holder::facts(tx, row.keys.holder()).await? != HolderFacts::Dead
                {
                    devices.push(row);
                }
            }
            Ok((devices.is_empty().then_some(Code::UserInvalid), devices))
        })
        .await?;
    let unsigned = !devices.is_empty() && !devices.iter().any(|row| asked.signed(&row.device.to_string(), &row.keys.sign));
    Ok(match dead {
        Some(code) => Err(code.into()),
        None if unsigned => Err(Code::UserInvalid.into()),
        None => Ok(()),
    })
}
