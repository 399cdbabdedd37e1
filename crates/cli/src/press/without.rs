//! Media without an identity (C18): one is pressed, and it is the same for everybody; it can be replicated, and offered as a download.

use std::path::PathBuf;

use counterfoil_core::wire::{Notice, NoticeClaims};
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::jws::unverified_payload;
use counterfoil_terminal::layout;
use serde::Serialize;

use super::identities::Label;
use super::state::TitleInBatch;
use super::{Form, Press, content, medium, texts};
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;

#[derive(Serialize)]
struct Pressed {
    out: PathBuf,
    form: Form,
    titles: Vec<Released>,
}

#[derive(Serialize)]
struct Released {
    title: TitleId,
    version: ReleaseVersion,
}

/// Has the authority say what is on it, fetches the content, writes the one medium.
pub fn run(press: &Press, context: &Context) -> Result<(), Failure> {
    if press.form == Form::Identity {
        return Err(Failure::usage("a medium without an identity is nothing but content")
            .hint("Press it as a directory, `--as dir`, or as an image, `--as iso`: that one file can be offered as a download."));
    }
    let (api, _) = Api::connect(context)?;
    let titles: Vec<&str> = press.titles.iter().map(TitleId::as_str).collect();
    let version = press.version.as_ref().map(|version| format!("&version={version}")).unwrap_or_default();
    let notice: Notice = api.get(&format!("/v1/notices?titles={}{version}", titles.join(",")))?;
    let claims: Option<NoticeClaims> = unverified_payload(&notice.notice).and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let claims = claims.ok_or_else(|| Failure::operation("answer_invalid", "the authority gave no good notice"))?;
    let on: Vec<_> =
        claims.titles.iter().map(|title| TitleInBatch { title: title.title.clone(), version: title.release.clone() }).collect();

    crate::files::create_directory(&press.out)?;
    let progress = Progress::new(&context.output, "fetched");
    let common = content::fetch(&api, &on, &press.out, press.form, press.with_client, &progress)?;
    progress.finish();
    let label = Label {
        file: layout::NOTICE,
        area: serde_json::to_vec(&notice).expect("a notice is strings and numbers"),
        readme: texts::readme_without(&claims, &notice.authority.urls, press.with_client),
        volume: press.titles.first().map(ToString::to_string).unwrap_or_default(),
        iat: claims.iat,
    };
    let progress = Progress::counting(&context.output, "pressed", Unit::Bytes);
    let mut writer = medium::press(press.form, &press.out, 1, &common)?;
    progress.of(writer.each());
    let out = writer.medium(None, label, &mut |done| progress.add(done))?;
    writer.settle()?;
    drop(writer);
    common.finish()?;
    progress.finish();

    let titles = on.into_iter().map(|on| Released { title: on.title, version: on.version }).collect();
    let pressed = Pressed { out, form: press.form, titles };
    context.output.result(&pressed, || words(&pressed))
}

fn words(pressed: &Pressed) -> String {
    let titles: Vec<String> = pressed.titles.iter().map(|on| format!("{} {}", on.title, on.version)).collect();
    let out = pressed.out.display();
    format!(
        "pressed {} without an identity into {out}\nreplicate it, give it away: whoever copies it buys the key\n  counterfoil copy {out}\n",
        titles.join(", ")
    )
}
