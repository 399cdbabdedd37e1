//! Media without an identity (C18): what the authority vouches for on all of them alike. Nothing is written: there is nothing to claim.

use counterfoil_core::wire::{Notice, NoticeClaims, TitleOnMedium};
use counterfoil_core::{Code, Refusal, Timestamp};

use super::create_batch::{MAX_TITLES, choose, wrong};
use super::press::title_on_medium;
use crate::api::batches::NewBatchTitle;
use crate::api::well_known;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::{listing, release};

/// `typ` of what the authority vouches for about media without an identity.
pub const NOTICE_TYP: &str = "counterfoil-notice+jwt";

/// Signs what is on media without an identity. Their keys are bought, so their titles must be on sale.
///
/// # Errors
/// `not_for_sale`; `unprocessable` as for a batch; failures of the server.
pub async fn run(app: &App, caller: &Caller, wanted: Vec<NewBatchTitle>) -> Result<Notice, Problem> {
    if !(1..=MAX_TITLES).contains(&wanted.len()) {
        return Err(wrong(format_args!("a medium has 1 to {MAX_TITLES} titles")));
    }
    let scope = caller.scope();
    let (titles, newest) = app
        .db
        .read("notice", async move |tx: &mut Tx| -> Result<(Vec<TitleOnMedium>, i64), Problem> {
            let (_, chosen) = choose(tx, &scope, &wanted).await?;
            let (mut titles, mut newest) = (vec![], i64::MIN);
            for on in &chosen {
                let listed = listing::get(tx, &on.title).await?;
                if !listed.is_some_and(|(listing, _)| listing.on_sale && !listing.prices.is_empty()) {
                    let detail = format!("{} is not on sale at a price, so nobody could buy its key", on.title);
                    let hint = format!("Put it into the store: `counterfoil title edit {} --price '19.99 EUR' --on-sale`.", on.title);
                    return Err(Refusal { hint, ..Refusal::with(Code::NotForSale, detail) }.into());
                }
                let release = release::get(tx, &on.title, &on.version).await?.ok_or_else(|| wrong("a release is gone"))?;
                newest = newest.max(release.created_at);
                titles.push(title_on_medium(tx, on).await?);
            }
            Ok((titles, newest))
        })
        .await?;
    // Of what lies on them and not of the request, so that the bytes are the same whenever they are made.
    let claims = NoticeClaims { iss: app.name.clone(), iat: Timestamp(newest).seconds(), titles };
    let sign = |kid: &str, key: &_| counterfoil_format::jws::sign_compact(NOTICE_TYP, kid, &claims, key);
    let notice = app.keys.with_signing_key(app.clock.now(), sign)?;
    Ok(Notice { counterfoil: 1, notice, authority: well_known::document(app) })
}
