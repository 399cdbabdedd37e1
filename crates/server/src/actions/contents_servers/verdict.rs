//! Verdict tokens for contents servers, and what they answer: each of them is for one user's title at one server, and answered once.

use counterfoil_core::wire::{SELECTION_TYP, SelectionClaims, VERDICT_TYP, VerdictClaims};
use counterfoil_core::{Code, Refusal, Timestamp, TitleId, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::jws::verify_compact;

use crate::actions::selection::{Chosen, Reported};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::contents_server::{self, ContentsServer};
use crate::store::pseudonym::{self, Pseudonyms};

/// How long a verdict is good, in seconds.
const GOOD_FOR: i64 = 600;
/// Titles in one selection.
const MOST: usize = 100;

/// A selection that its contents server may make.
#[derive(Debug)]
pub struct Accepted {
    /// The question that it answers.
    pub jti: String,
    /// What it selects.
    pub chosen: Vec<Chosen>,
}

/// Says to one contents server that somebody has a title. Who, only it can tell from others, and no two of them can compare.
///
/// # Errors
/// The authority has no key to sign with.
pub fn issue(
    app: &App,
    pseudonyms: &Pseudonyms,
    server: &ContentsServer,
    user: UserId,
    of: &Reported,
    now: Timestamp,
) -> Result<String, Problem> {
    let claims = VerdictClaims {
        iss: app.name.clone(),
        aud: server.id,
        sub: pseudonyms.at_contents_server(user, server.id),
        title: of.status.title.clone(),
        release: of.status.release.clone(),
        rights: of.rights.clone(),
        iat: now.seconds(),
        exp: now.seconds() + GOOD_FOR,
        jti: to_base64url(&app.rng.bytes::<16>()),
    };
    Ok(app.keys.sign(VERDICT_TYP, &claims, now)?)
}

/// Looks whether a contents server has selected this, for this user, in answer to this verdict, and may.
///
/// # Errors
/// A failure of the database. A refusal is no error: the selection is not used, none of it.
pub async fn accept(app: &App, user: UserId, verdict: &str, selection: &str, now: Timestamp) -> Result<Result<Accepted, Refusal>, Problem> {
    let asked: VerdictClaims = match verify_compact(verdict, VERDICT_TYP, |kid| app.keys.verifying_key(kid)) {
        Ok(asked) => asked,
        Err(error) => return Ok(refuse(format!("the verdict: {error}"))),
    };
    let (id, name) = (asked.aud, app.name.clone());
    let known = app
        .db
        .read("contents server", async move |tx: &mut Tx| -> Result<_, Problem> {
            let Some(server) = contents_server::find(tx, id).await? else { return Ok(None) };
            Ok(Some((server, contents_server::titles(tx, id).await?, pseudonym::load(tx).await?)))
        })
        .await?;
    let Some((server, listed, Some(pseudonyms))) = known else { return Ok(refuse("there is no such contents server any more")) };
    if asked.iss != name || asked.sub != pseudonyms.at_contents_server(user, id) {
        return Ok(refuse("the verdict is about somebody else"));
    }
    if asked.exp <= now.seconds() {
        return Ok(refuse("the verdict is over"));
    }
    let kid = id.to_string();
    let answer: SelectionClaims = match verify_compact(selection, SELECTION_TYP, |by| (by == kid).then_some(server.key)) {
        Ok(answer) => answer,
        Err(error) => return Ok(refuse(error.to_string())),
    };
    Ok(decide(&asked, &answer, &listed, now).map(|titles| Accepted {
        jti: asked.jti.clone(),
        chosen: titles.into_iter().map(|supplement| Chosen { supplement, because_of: asked.title.clone(), by: kid.clone() }).collect(),
    }))
}

/// Each check that an answer has to pass, apart from its signature.
fn decide(asked: &VerdictClaims, answer: &SelectionClaims, listed: &[(TitleId, TitleId)], now: Timestamp) -> Result<Vec<TitleId>, Refusal> {
    let no = |why: String| Err(Refusal::with(Code::SelectionInvalid, why));
    if answer.iss != asked.aud || answer.aud != asked.iss {
        return no("it is from or for another server".to_owned());
    }
    if answer.jti != asked.jti {
        return no("it answers another verdict".to_owned());
    }
    if answer.exp <= now.seconds() {
        return no("it is over".to_owned());
    }
    if answer.titles.len() > MOST {
        return no(format!("it names more than {MOST} titles"));
    }
    let may = |supplement: &TitleId| listed.iter().any(|(of, listed)| *of == asked.title && listed == supplement);
    match answer.titles.iter().find(|supplement| !may(supplement)) {
        Some(foreign) => no(format!("`{foreign}` is not on its list for `{}`", asked.title)),
        None => Ok(answer.titles.clone()),
    }
}

fn refuse(why: impl Into<String>) -> Result<Accepted, Refusal> {
    Err(Refusal::with(Code::SelectionInvalid, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::{ContentsServerId, Rights};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn title(name: &str) -> TitleId {
        name.parse().expect("a title")
    }

    fn asked() -> VerdictClaims {
        VerdictClaims {
            iss: "authority".into(),
            aud: ContentsServerId::from_bytes([1; 16]),
            sub: "somebody".into(),
            title: title("sky-raider"),
            release: None,
            rights: Rights::default(),
            iat: 1000,
            exp: 1600,
            jti: "question".into(),
        }
    }

    fn answer() -> SelectionClaims {
        let titles = vec![title("chapter-4")];
        SelectionClaims { iss: ContentsServerId::from_bytes([1; 16]), aud: "authority".into(), jti: "question".into(), exp: 1001, titles }
    }

    /// proves: A10
    #[test]
    fn a_contents_server_that_lies_selects_nothing() {
        let listed = [(title("sky-raider"), title("chapter-4")), (title("atlas"), title("maps"))];
        let verdict =
            |answer: SelectionClaims| decide(&asked(), &answer, &listed, NOW).map_err(|refusal| refusal.detail.unwrap_or_default());
        assert_eq!(verdict(answer()), Ok(vec![title("chapter-4")]));
        assert_eq!(verdict(SelectionClaims { titles: vec![], ..answer() }), Ok(vec![]));
        for (lie, word) in [
            (SelectionClaims { iss: ContentsServerId::from_bytes([2; 16]), ..answer() }, "another server"),
            (SelectionClaims { aud: "other".into(), ..answer() }, "another server"),
            (SelectionClaims { jti: "earlier".into(), ..answer() }, "another verdict"),
            (SelectionClaims { exp: 1000, ..answer() }, "over"),
            (SelectionClaims { titles: vec![title("chapter-4"), title("maps")], ..answer() }, "`maps` is not on its list"),
            (SelectionClaims { titles: vec![title("sky-raider")], ..answer() }, "not on its list"),
            (SelectionClaims { titles: vec![title("chapter-4"); 101], ..answer() }, "more than 100"),
        ] {
            let told = verdict(lie).expect_err(word);
            assert!(told.contains(word), "{told}");
        }
    }
}
