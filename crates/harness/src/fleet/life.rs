//! A terminal's life: register, inspect, claim, confirm; and then, now and then, look again, ask again, try a borrowed medium, fetch contents.

use super::broken;
use crate::{
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    random::Dice,
    terminal::{Medium, Terminal},
};
use counterfoil_core::{
    Code, GrantId,
    wire::{Answer, ClaimResult, ConfirmResult, InspectResult, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use serde::de::DeserializeOwned;

/// Bytes of contents that are fetched at a time.
const RANGE: usize = 64 << 10;

/// Which processes do what.
#[derive(Clone)]
pub struct Places {
    pub authority: Vec<Authority>,
    license: Vec<Authority>,
    content: Vec<Authority>,
    turn: usize,
}

impl Places {
    /// By the roles that each process was given; one that was given none has all.
    pub fn of(cluster: &Cluster, roles: &[String]) -> Result<Places, Failure> {
        let urls = cluster.urls();
        let having = |role: &str| -> Vec<&String> {
            let has = |number: usize| roles.get(number).is_none_or(|roles| roles.split(',').any(|one| one.trim() == role));
            urls.iter().enumerate().filter(|(number, _)| has(*number)).map(|(_, url)| url).collect()
        };
        let first =
            having("authority").first().map(|url| url.as_str()).ok_or_else(|| broken("no process has the role authority"))?.to_owned();
        let met = Authority::meet(&first)?;
        let all = |role: &str| -> Result<Vec<Authority>, Failure> {
            let places: Vec<Authority> = having(role).into_iter().map(|url| met.at(url)).collect();
            if places.is_empty() { Err(broken(&format!("no process has the role {role}"))) } else { Ok(places) }
        };
        Ok(Places { authority: all("authority")?, license: all("license")?, content: all("content")?, turn: 0 })
    }

    /// For one worker: connections of its own, and its own first choice.
    pub fn apart(&self, turn: usize) -> Places {
        let apart = |places: &[Authority]| {
            let own = places[0].apart();
            places.iter().map(|place| own.at(&place.url)).collect()
        };
        Places { authority: apart(&self.authority), license: apart(&self.license), content: apart(&self.content), turn }
    }

    fn one<'a>(&self, of: &'a [Authority]) -> &'a Authority {
        &of[self.turn % of.len()]
    }
}

/// How far a terminal is.
enum Stage {
    New,
    Registered,
    Inspected,
    Claimed(Vec<GrantId>),
    Settled,
}

/// One terminal with its medium; as large at the end as in the beginning.
pub struct Life {
    terminal: Option<Terminal>,
    medium: Medium,
    stage: Stage,
    /// The last claim, to be repeated; and what was not answered, to be sent again.
    claim: Option<Envelope>,
    again: Option<Asked>,
}

/// What a request is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Register,
    Inspect,
    Claim,
    Confirm,
    Repeat,
    Borrowed,
    Contents,
}

impl Kind {
    /// All, in the order of a report.
    pub const ALL: [Kind; 7] = [Kind::Register, Kind::Inspect, Kind::Claim, Kind::Confirm, Kind::Repeat, Kind::Borrowed, Kind::Contents];

    /// For people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Inspect => "inspect",
            Kind::Claim => "claim",
            Kind::Confirm => "confirm",
            Kind::Repeat => "repeat",
            Kind::Borrowed => "borrowed",
            Kind::Contents => "contents",
        }
    }
}

/// A request that is ready to be sent.
pub enum Asked {
    Sealed(Kind, Envelope),
    Range(usize),
}

/// What came of a request.
pub struct Outcome {
    pub kind: Kind,
    /// The code of a refusal, or that the server asked to come again.
    pub refused: Option<String>,
    /// Neither granted nor refused: the server asked to come again.
    pub busy: bool,
}

impl Life {
    pub fn new(medium: Medium) -> Life {
        Life { terminal: None, medium, stage: Stage::New, claim: None, again: None }
    }

    /// The next request of this life; `borrowed` is a medium that somebody else has claimed.
    pub fn ask(&mut self, places: &Places, borrowed: Option<&Medium>, object: &(String, Vec<u8>), dice: &mut Dice) -> Asked {
        if let Some(again) = self.again.take() {
            return again;
        }
        let place = &places.authority[0];
        let terminal = self.terminal.get_or_insert_with(|| Terminal::new(dice));
        let sealed = |kind, envelope| Asked::Sealed(kind, envelope);
        match &self.stage {
            Stage::New => sealed(Kind::Register, terminal.register(place, dice)),
            Stage::Registered => sealed(Kind::Inspect, terminal.inspect(place, &self.medium, dice)),
            Stage::Inspected => sealed(Kind::Claim, terminal.claim(place, &self.medium, dice)),
            Stage::Claimed(grants) => match &self.claim {
                Some(claim) if dice.chance(10) => sealed(Kind::Repeat, claim.clone()),
                _ => sealed(Kind::Confirm, terminal.confirm(place, &self.medium, grants, dice)),
            },
            Stage::Settled => match (dice.below(100), &self.claim, borrowed) {
                (0..15, Some(claim), _) => sealed(Kind::Repeat, claim.clone()),
                (15..30, _, Some(medium)) => sealed(Kind::Borrowed, terminal.claim(place, medium, dice)),
                (30..50, ..) => Asked::Range(dice.below((object.1.len().saturating_sub(RANGE) + 1) as u64) as usize),
                _ => sealed(Kind::Inspect, terminal.inspect(place, &self.medium, dice)),
            },
        }
    }

    /// Whether anybody else is refused this medium by now.
    pub fn has_claimed(&self) -> bool {
        matches!(self.stage, Stage::Claimed(_) | Stage::Settled)
    }

    /// Lends the medium.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Sends it and holds the answer against what this terminal knows.
    pub fn send(&mut self, places: &Places, asked: Asked, object: &(String, Vec<u8>)) -> Result<Outcome, Failure> {
        let (kind, envelope) = match asked {
            Asked::Range(first) => return fetch(places, first, object),
            Asked::Sealed(kind, envelope) => (kind, envelope),
        };
        let place = places.one(if kind == Kind::Confirm { &places.license } else { &places.authority });
        match place.exchange(&envelope)? {
            Reply::Answer(answer) => {
                let refused = self.learn(kind, &envelope, answer)?;
                Ok(Outcome { kind, refused: refused.map(|code| code.to_string()), busy: false })
            }
            Reply::Busy => {
                self.again = Some(Asked::Sealed(kind, envelope));
                Ok(Outcome { kind, refused: Some("asked to come again".into()), busy: true })
            }
            Reply::Lost => Err(broken("an answer was lost though nothing was killed")),
        }
    }

    fn learn(&mut self, kind: Kind, envelope: &Envelope, answer: Answer) -> Result<Option<Code>, Failure> {
        let terminal = self.terminal.as_mut().ok_or_else(|| broken("an answer to nobody"))?;
        match kind {
            Kind::Register => {
                terminal.registered(&granted::<RegisterResult>(answer, "register")?).map_err(Failure::Broken)?;
                self.stage = Stage::Registered;
            }
            Kind::Inspect => {
                let verdict = granted::<InspectResult>(answer, "inspect")?.medium.ok_or_else(|| broken("no verdict on the medium"))?;
                let mine = matches!(self.stage, Stage::Claimed(_) | Stage::Settled);
                if verdict.yours != mine || (verdict.copies_left == 0) != mine {
                    return Err(broken(&format!(
                        "inspected as yours: {}, {} copies left; claimed: {mine}",
                        verdict.yours, verdict.copies_left
                    )));
                }
                if matches!(self.stage, Stage::Registered) {
                    self.stage = Stage::Inspected;
                }
            }
            Kind::Claim => {
                let grants = terminal.granted(&granted::<ClaimResult>(answer, "claim")?).map_err(Failure::Broken)?;
                (self.stage, self.claim) = (Stage::Claimed(grants), Some(envelope.clone()));
            }
            Kind::Confirm => {
                let settled = granted::<ConfirmResult>(answer, "confirm")?.settled;
                match &self.stage {
                    Stage::Claimed(grants) if *grants == settled => self.stage = Stage::Settled,
                    _ => return Err(broken("other grants were settled than confirmed")),
                }
            }
            Kind::Repeat => match (definite::<ClaimResult>(answer)?, &self.stage) {
                (Ok(result), Stage::Claimed(grants)) if terminal.granted(&result).is_ok_and(|again| again == *grants) => {}
                // Keys are handed out until the copy is confirmed, and never again.
                (Err(Code::MediumSpent), Stage::Settled) => return Ok(Some(Code::MediumSpent)),
                (other, _) => return Err(broken(&format!("a repeated claim was answered otherwise: {:?}", other.err()))),
            },
            Kind::Borrowed => match definite::<ClaimResult>(answer)? {
                Err(Code::MediumSpent) => return Ok(Some(Code::MediumSpent)),
                other => return Err(broken(&format!("a borrowed medium was not refused as spent: {:?}", other.err()))),
            },
            Kind::Contents => return Err(broken("contents were answered by the authority")),
        }
        Ok(None)
    }
}

fn fetch(places: &Places, first: usize, (name, bytes): &(String, Vec<u8>)) -> Result<Outcome, Failure> {
    let wanted = &bytes[first..(first + RANGE).min(bytes.len())];
    match places.one(&places.content).fetch(name, first, wanted.len())? {
        Some(got) if got == wanted => Ok(Outcome { kind: Kind::Contents, refused: None, busy: false }),
        Some(_) => Err(broken("other contents than were published")),
        None => Ok(Outcome { kind: Kind::Contents, refused: Some("asked to come again".into()), busy: true }),
    }
}

fn definite<T: DeserializeOwned>(answer: Answer) -> Result<Result<T, Code>, Failure> {
    let outcome = answer.outcome.into_result::<T>().map_err(|error| broken(&format!("an answer of another shape: {error}")))?;
    Ok(outcome.map_err(|refusal| refusal.code))
}

fn granted<T: DeserializeOwned>(answer: Answer, what: &str) -> Result<T, Failure> {
    definite(answer)?.map_err(|code| broken(&format!("{what}: refused as {code}")))
}
