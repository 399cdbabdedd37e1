//! Installing over the network or from a file (D4–D6, D9): license, keys onto the holder, packs under the library key, confirmation.
//!
//! A crash at any moment is repaired by repeating the command: requests are stored before they are sent; release, license and keys are
//! where they belong before the stored requests go; the rest is as for a copy ([`crate::copy()`]).

mod control;
mod download;
mod error;

use crate::card::{CardChoice, FileHolder, SealedGrant};
use crate::claimant::{Claimant, open_and_check};
use crate::copy::CopyError;
use crate::error::{Error, Result};
use crate::exchange::{exchange, refused};
use crate::feed::{self, Going, Handed};
use crate::fill::{CopiedTitle, Donor, Filling, Step, listed};
use crate::home::Authority;
use crate::library::{Library, Record};
use crate::license::{LicenseFile, verify_by};
use crate::publisher;
use crate::source::Source;
use crate::source::network::Network;
use crate::source::offered::Offered;
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::Purpose;
use counterfoil_core::wire::{AskLicense, Confirm, ConfirmResult, LicenseResult, Operation, Redeem, RedeemResult, TitleOnMedium};
use counterfoil_core::{Code, DeviceId, GrantId, License, ReleaseVersion, TitleId};
use counterfoil_format::content::{ContentKey, LibraryKey, Release};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::sign::VerifyingKey;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub use control::{Control, uninstall_control};
pub use download::{Downloaded, download};
pub use error::InstallError;

/// How to install.
#[derive(Clone, Debug, Default)]
pub struct InstallOptions {
    /// Whose keys.
    pub card: CardChoice,
    /// Which release; the newest on the channel where none is named, or the one in the file.
    pub release: Option<ReleaseVersion>,
    /// On which channel; `stable` where none is named.
    pub channel: Option<String>,
    /// An installation file, or a directory, drive or image with the content, in place of the contents servers.
    pub from: Option<PathBuf>,
    /// Have the license issued anew: the library that it was installed to is lost, or another release is wanted.
    pub again: bool,
    /// Packs at once; four over the network, else as many as there are processors.
    pub jobs: Option<NonZeroUsize>,
    /// Leave the control program out, though the license allows it.
    pub no_control: bool,
}

/// What was installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// What it is, and what was written of it.
    pub title: CopiedTitle,
    /// By which license.
    pub license: LicenseFile,
    /// Whether an earlier attempt was gone on with.
    pub resumed: bool,
    /// Whether it was there already, and nothing was done.
    pub already: bool,
    /// Whether bytes came over the network.
    pub network: bool,
    /// What came of its control program.
    pub control: Control,
}

/// Installs a title that was bought for this device, or moved to it.
///
/// # Errors
/// The refusals of `license` and `redeem`; [`Code::CopyNotPermitted`] (C10); [`Code::UpdateNotAuthentic`]; [`CopyError`]; [`InstallError`]; [`crate::transport::TransportError`];
/// what the system said.
pub fn install(
    terminal: &Terminal,
    title: &TitleId,
    library: &Library,
    options: &InstallOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Installed> {
    let _home = terminal.home().lock()?;
    let _library = library.lock()?;
    let authority = terminal.meet(&[])?;
    let offered = options.from.as_deref().map(|path| Offered::open(terminal, path)).transpose()?;
    let wanted = wanted(title, options, offered.as_ref())?;
    let mut holder = terminal.holder(&options.card, Some(library.path()))?;
    let claimant = Claimant::new(terminal, &authority, &holder, library.path())?;
    let installer = Installer { terminal, authority: &authority, library, claimant: &claimant };

    let earlier = installer.unfinished(&holder, title)?;
    let resumed = earlier.is_some();
    let due = match earlier {
        Some(due) if wanted.as_ref().is_some_and(|wanted| *wanted != due.title.release) => {
            return Err(InstallError::Begun { title: title.clone(), begun: due.title.release }.into());
        }
        Some(due) => due,
        None => {
            progress(Step::Claiming);
            match installer.ask(&mut holder, title, wanted.as_ref(), options) {
                Ok(due) => due,
                Err(error) => return installer.already(&holder, title, wanted.as_ref(), options, error, progress),
            }
        }
    };
    // Whose hardware the keys are for is asked before anything is written (C10).
    let (library_key, content_key) = open_and_check(terminal, &holder, &due.grant, library.path(), Purpose::Copy)?;
    let content_key = content_key.ok_or_else(|| CopyError::Grant("it holds no content key".into()))?;

    let source: Box<dyn Source + '_> = match &offered {
        Some(offered) => {
            offered.check(title, &due.token)?;
            offered.source(title)
        }
        None => Box::new(Network { transport: terminal.contents(&authority)?, title: title.clone() }),
    };
    let donor = Donor::find(terminal, library, &holder, title, due.grant.grant_id);
    let (on_medium, token, release, grant) = (&due.title, &due.token, &due.release, &due.grant);
    let filling = Filling { terminal, library, source: &*source, donor: donor.as_ref(), on_medium, token, release, grant };
    let copied = filling.run(&LibraryKey::new(library_key), &ContentKey::new(content_key), options.jobs, progress)?;
    let superseded = library.set_current(title, due.grant.grant_id)?;
    let path = library.path().to_owned();
    terminal.home().remember(|profile| profile.library = Some(path.clone()))?;

    progress(Step::Confirming);
    installer.confirm(&mut holder, &due, &superseded)?;
    let control = control::on_installation(terminal, library, title, &due.license, &authority, options, progress);
    Ok(Installed { title: copied, license: due.license, resumed, already: false, network: offered.is_none(), control })
}

/// Which release is asked for: the one named, which must be the one in the file where one is given.
fn wanted(title: &TitleId, options: &InstallOptions, offered: Option<&Offered>) -> Result<Option<ReleaseVersion>> {
    let Some((offered, path)) = offered.zip(options.from.as_ref()) else { return Ok(options.release.clone()) };
    let found = offered.release(title)?;
    match &options.release {
        Some(wanted) if *wanted != found => {
            let (found, wanted) = (format!("{title} {found}"), wanted.to_string());
            Err(InstallError::Other { path: path.clone(), found, wanted }.into())
        }
        _ => Ok(Some(found)),
    }
}

/// A license with its keys, whose title is not yet installed.
struct Due {
    grant: SealedGrant,
    title: TitleOnMedium,
    /// The release document, verified.
    token: String,
    release: Release,
    license: LicenseFile,
}

/// Who asks whom.
struct Installer<'a> {
    terminal: &'a Terminal,
    authority: &'a Authority,
    library: &'a Library,
    claimant: &'a Claimant,
}

impl Installer<'_> {
    /// What an earlier attempt has brought, where all of it is there.
    fn unfinished(&self, holder: &FileHolder, title: &TitleId) -> Result<Option<Due>> {
        let bought = |grant: &&SealedGrant| grant.title == *title && grant.origin.license().is_some() && grant.keys.has_content_key();
        for grant in holder.sealed().grants.iter().filter(bought) {
            let copy = self.library.copy(title, grant.grant_id);
            // In another library, or in none any more: it is fetched again.
            let (Ok(record), Ok(Some(license))) = (copy.record(), copy.license()) else { continue };
            let Ok((token, release)) = copy.release_document(&record) else { continue };
            let title = TitleOnMedium {
                title: title.clone(),
                name: record.listed.name.clone(),
                kind: record.listed.kind,
                release: record.listed.release.clone(),
                publisher: record.publisher.clone(),
            };
            match self.permit(&title, &token, true, None) {
                // Withdrawn meanwhile: what is to be installed in its place is asked for.
                Err(error) if error.refusal().is_some() => continue,
                permitted => permitted?,
            }
            return Ok(Some(Due { grant: grant.clone(), title, token, release, license }));
        }
        Ok(None)
    }

    /// D5, D6: asks for the license and returns its transaction ID to the license server; has everything durable when it returns.
    fn ask(&self, holder: &mut FileHolder, title: &TitleId, wanted: Option<&ReleaseVersion>, options: &InstallOptions) -> Result<Due> {
        let device_id = self.device()?;
        let user_id = self.claimant.user;
        let device_name = self.claimant.device_name();
        let ask = AskLicense {
            user_id,
            device_id,
            title: title.clone(),
            release: wanted.cloned(),
            channel: options.channel.clone(),
            again: options.again,
            feed: self.known_feed(title)?,
        };
        let proofs = self.claimant.proofs(holder, &device_name);
        let asked = exchange::<LicenseResult>(self.terminal, self.authority, Operation::License(ask), &proofs)?;
        let release = match self.check(&asked.result, title, wanted, options) {
            Ok(release) => release,
            Err(error) => {
                asked.applied(self.terminal);
                return Err(error);
            }
        };
        let LicenseResult { transaction_id, license_id, title: on_medium, release: token, .. } = &asked.result;
        let redeem = Redeem { user_id, device_id, drive_id: self.claimant.drive, transaction_id: *transaction_id };
        let redeemed = match exchange::<RedeemResult>(self.terminal, self.authority, Operation::Redeem(redeem), &proofs) {
            Ok(redeemed) => redeemed,
            Err(error) => {
                // What it was to be returned for is refused: the next attempt asks anew.
                if error.refusal().is_some() {
                    asked.applied(self.terminal);
                }
                return Err(error);
            }
        };

        let document = &redeemed.result.grant;
        let grant = SealedGrant::new(document, &self.authority.document.name, *license_id, Some(device_id.to_string()))
            .map_err(|error| CopyError::Grant(error.to_string()))?;
        let signed = self.verify_license(&redeemed.result.license)?;
        let fits = signed.sub == *license_id && signed.cnf.kid == device_id && signed.title == *title && signed.grant == grant.grant_id;
        if !fits || grant.title != *title || grant.generation != release.generation {
            return Err(InstallError::License("it is for something else".into()).into());
        }
        let license = LicenseFile::new(redeemed.result.license.clone(), *license_id, *transaction_id, device_id);
        let due = Due { grant, title: on_medium.clone(), token: token.clone(), release, license };
        self.keep(holder, &due)?;
        asked.applied(self.terminal);
        redeemed.applied(self.terminal);
        Ok(due)
    }

    /// The release, if it is its publisher's, and the publisher is who it was before and stands behind it: whom to believe is the authority's
    /// word as long as nobody is known, and never again.
    fn check(
        &self,
        answered: &LicenseResult,
        title: &TitleId,
        wanted: Option<&ReleaseVersion>,
        options: &InstallOptions,
    ) -> Result<Release> {
        let LicenseResult { title: on_medium, release: token, feed, fresh, .. } = answered;
        let release = verified(on_medium, token, title, wanted)?;
        publisher::check(self.terminal, self.library, title, &on_medium.publisher)?;
        let handed = Handed { feed: feed.as_deref(), fresh: fresh.as_deref() };
        let not_taken = feed::take(self.terminal, self.authority, title, &on_medium.publisher, handed)?;
        // A release that is too new for what is known here is refused for what was wrong with the feed that lists it.
        self.permit(on_medium, token, wanted.is_some(), options.channel.as_deref()).map_err(|error| not_taken.unwrap_or(error))?;
        Ok(release)
    }

    /// The publisher's own word on the release, where any was ever heard here.
    fn permit(&self, on_medium: &TitleOnMedium, token: &str, asked_for: bool, channel: Option<&str>) -> Result<()> {
        let held = self.library.complete(&on_medium.title).ok().and_then(|copy| Some(copy.record().ok()?.listed.release));
        let channel = channel.and_then(|channel| channel.parse().ok()).unwrap_or_default();
        let going = Going { held: held.as_ref(), to: &on_medium.release, document: token, channel: &channel, asked_for };
        feed::kept(self.terminal, &on_medium.title, &on_medium.publisher)?.permit(&going)
    }

    /// The number of the newest feed, of the publisher that is known.
    fn known_feed(&self, title: &TitleId) -> Result<u64> {
        publisher::noted(self.terminal, title)?.map_or(Ok(0), |publisher| feed::known(self.terminal, title, &publisher))
    }

    /// Release and license beside the copy to be, then the keys onto the holder: whoever finds those finds the others.
    fn keep(&self, holder: &mut FileHolder, due: &Due) -> Result<()> {
        let (library_key, content_key) = open_and_check(self.terminal, holder, &due.grant, self.library.path(), Purpose::Copy)?;
        let content_key = ContentKey::new(content_key.ok_or_else(|| CopyError::Grant("it holds no content key".into()))?);
        let copy = self.library.copy(&due.title.title, due.grant.grant_id);
        let listed = listed(self.terminal, &due.title, &due.release, &due.grant, due.release.manifest.length);
        let id_key = LibraryKey::new(library_key).wrap_id_key(content_key.chunk_keys().id_key());
        copy.begin(&Record::new(listed, due.title.publisher.clone(), to_base64url(&id_key)), &due.token)?;
        copy.store_license(&due.license)?;
        let mut sealed = holder.sealed().clone();
        // Grants of the license that came to nothing.
        sealed.grants.retain(|old| old.origin != due.grant.origin || !old.keys.has_content_key());
        sealed.add(vec![due.grant.clone()]);
        holder.store(sealed)
    }

    /// The authority may have changed its keys since it was last asked.
    fn verify_license(&self, token: &str) -> Result<License> {
        verify_by(token, self.authority).or_else(|error| match self.terminal.renew(self.authority) {
            Some(renewed) => verify_by(token, &renewed),
            None => Err(error),
        })
    }

    /// The title is there, and the authority has no other license for this device, or cannot be asked.
    fn already(
        &self,
        holder: &FileHolder,
        title: &TitleId,
        wanted: Option<&ReleaseVersion>,
        options: &InstallOptions,
        error: Error,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<Installed> {
        let expected = match &error {
            Error::Refused(refusal) => matches!(refusal.code, Code::TransactionSpent | Code::AlreadyLicensed),
            Error::Transport(_) => true,
            _ => false,
        };
        let Some((copied, license)) = self.present(holder, title).filter(|_| expected && !options.again) else { return Err(error) };
        if license.ended_at.is_some() || wanted.is_some_and(|wanted| *wanted != copied.release) {
            return Err(error);
        }
        let control = control::on_installation(self.terminal, self.library, title, &license, self.authority, options, progress);
        Ok(Installed { title: copied, license, resumed: false, already: true, network: false, control })
    }

    fn present(&self, holder: &FileHolder, title: &TitleId) -> Option<(CopiedTitle, LicenseFile)> {
        let copy = self.library.complete(title).ok()?;
        let (record, license) = (copy.record().ok()?, copy.license().ok()??);
        let listed = record.listed;
        holder.sealed().grant(listed.grant_id)?;
        let copied = CopiedTitle {
            title: listed.title,
            name: listed.name,
            release: listed.release,
            entry: listed.entry,
            size: listed.size,
            packed: listed.packed,
            written: 0,
            reused: listed.packed,
            taken: 0,
        };
        Some((copied, license))
    }

    /// The authority notes the installation, then the content key leaves the holder.
    fn confirm(&self, holder: &mut FileHolder, due: &Due, superseded: &[GrantId]) -> Result<()> {
        let grant_id = due.grant.grant_id;
        let device_id = Some(self.device()?);
        let confirm = Confirm { user_id: self.claimant.user, medium_id: None, grant_ids: vec![grant_id], device_id };
        let device_name = self.claimant.device_name();
        let proofs = self.claimant.proofs(holder, &device_name);
        let accepted = match exchange::<ConfirmResult>(self.terminal, self.authority, Operation::Confirm(confirm), &proofs) {
            Ok(accepted) => accepted,
            Err(Error::Refused(refusal)) => {
                // Moved away or taken back meanwhile: nothing is to be kept for another attempt.
                if matches!(refusal.code, Code::LicenseEnded | Code::GrantUnknown) {
                    self.settle(holder, due, superseded)?;
                }
                return Err(refusal.into());
            }
            Err(error) => return Err(CopyError::NotConfirmed(Box::new(error)).into()),
        };
        self.settle(holder, due, superseded)?;
        accepted.applied(self.terminal);
        Ok(())
    }

    fn settle(&self, holder: &mut FileHolder, due: &Due, superseded: &[GrantId]) -> Result<()> {
        let mut sealed = holder.sealed().clone();
        sealed.forget_content_keys(&[due.grant.grant_id]);
        // What this copy stands in for opens nothing any more; a license has one grant at a time.
        let stale = |old: &SealedGrant| old.grant_id != due.grant.grant_id && old.origin == due.grant.origin;
        sealed.grants.retain(|old| !superseded.contains(&old.grant_id) && !stale(old));
        holder.store(sealed)
    }

    fn device(&self) -> Result<DeviceId> {
        let unknown = || refused(Code::DeviceNotRegistered, "titles are licensed to devices, and none is registered here");
        self.claimant.device.ok_or_else(unknown)
    }
}

/// The release, if its publisher signed it and it is what was asked for.
fn verified(on_medium: &TitleOnMedium, token: &str, title: &TitleId, wanted: Option<&ReleaseVersion>) -> Result<Release> {
    let not = |reason: String| InstallError::NotAuthentic { title: title.clone(), reason };
    let key: VerifyingKey = on_medium.publisher.key.parse().map_err(|_| not("its publisher's key is none".into()))?;
    let release = Release::verify(token, |kid| (kid == on_medium.publisher.id).then_some(key)).map_err(|error| not(error.to_string()))?;
    let asked = release.title == title.as_str() && on_medium.title == *title && release.version == on_medium.release.as_str();
    if !asked || wanted.is_some_and(|wanted| *wanted != on_medium.release) {
        return Err(not(format!("it is release {} of `{}`", release.version, release.title)).into());
    }
    Ok(release)
}
