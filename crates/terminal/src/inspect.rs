//! Asking the authority who or what this is, and what it may do (A1, A3, A7, A11).

use crate::card::{CardChoice, file::open_user};
use crate::error::Result;
use crate::exchange::{exchange_presenting, refused};
use crate::medium::refresh::{Presented, Refreshing};
use crate::medium::{Medium, Signature};
use crate::terminal::Terminal;
use counterfoil_core::Code;
use counterfoil_core::wire::{Inspect, InspectResult, Operation};
use counterfoil_format::jws::Signer;

/// Presents the medium, and user and device as far as they are registered here. `told` hears what becomes of a new identity for the medium (B7).
///
/// # Errors
/// The refusals of `inspect`; [`Code::UserInvalid`] where there is nothing to present; [`crate::transport::TransportError`].
pub fn inspect(terminal: &Terminal, medium: Option<&Medium>, card: &CardChoice, told: &dyn Fn(Refreshing)) -> Result<InspectResult> {
    let authority = medium.map_or_else(|| terminal.meet(&[]), |medium| terminal.meet_by(&medium.area().authority))?;
    if let Some(medium) = medium {
        check_authority(medium, &authority.document.name)?;
    }
    let library = terminal.home().profile()?.library;
    let holder = match card {
        CardChoice::File(_) => Some(terminal.holder(card, None)?),
        // Whoever has not registered has nothing to present, and may look at a medium all the same.
        _ => terminal.holder(card, library.as_deref()).ok(),
    };
    let user = holder.as_ref().and_then(|holder| {
        let sealed = holder.sealed().user.as_ref().filter(|user| user.authority == authority.document.name)?;
        Some((open_user(holder).ok()?, sealed.holder.clone(), holder))
    });
    let registered = user.as_ref().is_some_and(|(_, _, holder)| holder.sealed().user.as_ref().is_some_and(|user| user.combination.device));
    let device_keys = if registered { terminal.device_keys()? } else { None };
    let device = device_keys.as_ref().map(|keys| Ok::<_, crate::Error>((terminal.device_id()?, keys))).transpose()?;
    if medium.is_none() && user.is_none() && device.is_none() {
        return Err(Code::UserInvalid.into());
    }

    let operation = Inspect {
        medium_id: medium.map(|medium| medium.identity().medium_id.clone()),
        user_id: user.as_ref().map(|(id, _, _)| *id),
        device_id: device.as_ref().map(|(id, _)| *id),
    };
    let medium_id = medium.map(|medium| medium.identity().medium_id.to_string());
    let device_id = device.as_ref().map(|(id, _)| id.to_string());
    let mut proofs: Vec<(&str, Signer<'_>)> = Vec::new();
    if let (Some(medium), Some(id)) = (medium, &medium_id) {
        proofs.push((id, Signer::ClaimSecret(medium.secret())));
    }
    if let Some((_, name, holder)) = &user {
        proofs.push((name, holder.signer()));
    }
    if let (Some((_, keys)), Some(id)) = (&device, &device_id)
        && proofs.iter().all(|(name, _)| name != id)
    {
        proofs.push((id, keys.signer()));
    }
    let presented = medium.map(|medium| Presented::new(medium, told));
    Ok(exchange_presenting(terminal, &authority, Operation::Inspect(operation), &proofs, presented.as_ref())?.applied(terminal))
}

/// A medium is asked about at its own authority only: another would say that it is unknown.
pub(crate) fn check_authority(medium: &Medium, known: &str) -> Result<()> {
    let own = &medium.area().authority.name;
    if own == known {
        return Ok(());
    }
    debug_assert_eq!(medium.verdict(), Signature::Unpinned);
    Err(refused(
        Code::MediumUnknown,
        format!("it belongs to the authority `{own}`, and this home to `{known}`; use another home: `--home DIR`"),
    ))
}
