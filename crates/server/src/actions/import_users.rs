//! Importing people from elsewhere, line by line (D1): each in a transaction of their own, and each line as often as it comes with one effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_core::UserId;
use counterfoil_core::rules::register::Policy;
use counterfoil_format::encoding::frame;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use self::line::Line;
use super::shop::{self, By};
use crate::api::people::{ImportedPeople, ImportedPerson, RejectedPerson};
use crate::app::App;
use crate::auth::Caller;
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::person::{self, Known};
use crate::store::{audit, device_info, setting, user};

pub mod line;

/// Lines of one call.
const MAX_LINES: usize = 1000;
/// People who are written at once.
const AT_ONCE: usize = 64;
/// The family of the records of imports.
const FAMILY: &str = "/imports";
/// What user IDs are made with that are not given.
const KEY: &str = "import_key";

/// Lines that are right, and what is wrong with the others.
struct Read {
    good: Vec<(usize, UserId, Line)>,
    bad: Vec<RejectedPerson>,
}

/// Takes the people of these lines, or says what is wrong with them; where anything is, or for a dry run, nothing is written.
///
/// # Errors
/// `too_large` for too many lines; failures of the database, after which the same lines may be handed in again.
pub async fn run(app: &App, caller: &Caller, once: &Once, body: &[u8], dry_run: bool) -> Result<Reply, Problem> {
    if let Some(reply) = once.recorded(app, FAMILY.to_owned()).await? {
        return Ok(reply);
    }
    let read = read(body, &key(app).await?)?;
    let read = compare(app, read).await?;
    if dry_run || !read.bad.is_empty() {
        once.by_nature();
        return Ok(Reply::ok(&ImportedPeople { rejected: read.bad, ..ImportedPeople::default() }));
    }
    let by = Arc::new(By { actor: caller.actor(), now: app.clock.now() });
    let mut families = BTreeMap::<UserId, Vec<(usize, Line)>>::new();
    for (number, user, line) in read.good {
        families.entry(user).or_default().push((number, line));
    }
    let written: Vec<Written> = stream::iter(families)
        .map(|(user, lines)| write(app, once, user, lines, Arc::clone(&by)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let answer = together(written);
    once.write(app, "import_users", FAMILY.to_owned(), async move |tx: &mut Tx| {
        if answer.made + answer.devices > 0 {
            let detail = json!({ "people": answer.made, "devices": answer.devices });
            audit::append(tx, FAMILY, by.now.0, &by.actor, "users.imported", &detail).await?;
        }
        Ok(Reply::ok(&answer))
    })
    .await
}

/// What IDs are made with; drawn at the first import, and the same ever after.
async fn key(app: &App) -> Result<[u8; 32], Problem> {
    let known = app.db.read("import key", async move |tx: &mut Tx| setting::find(tx, KEY).await).await?;
    let text = match known {
        Some(known) => known,
        None => {
            let fresh = blake3::Hash::from_bytes(app.rng.bytes()).to_hex().to_string();
            app.db
                .write("import key", setting::FAMILY, async move |tx: &mut Tx| -> Result<String, DbError> {
                    setting::settle(tx, KEY, &fresh).await
                })
                .await?
        }
    };
    blake3::Hash::from_hex(text).map(|key| *key.as_bytes()).map_err(Problem::internal)
}

fn read(body: &[u8], key: &[u8; 32]) -> Result<Read, Problem> {
    let mut read = Read { good: vec![], bad: vec![] };
    let lines = (1..).zip(body.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    for (number, text) in lines {
        if number > MAX_LINES {
            return Err(Problem::with(ApiCode::TooLarge, format!("at most {MAX_LINES} lines a call")));
        }
        match Line::parse(text) {
            Ok(line) => read.good.push((number, line.user.unwrap_or_else(|| made(key, &line)), line)),
            Err(wrong) => read.bad.push(RejectedPerson { line: number, column: wrong.column, reason: wrong.reason }),
        }
    }
    Ok(read)
}

/// The user ID of a line that gives none: it follows from the reference, or else from the person, and nobody can guess it.
fn made(key: &[u8; 32], line: &Line) -> UserId {
    let person = line.person.as_ref().map(shop::Checked::person);
    let (name, email, address) = person.map_or(("", "", ""), |person| {
        (person.name.as_str(), person.email.as_deref().unwrap_or_default(), person.address.as_deref().unwrap_or_default())
    });
    let natural = match &line.reference {
        Some(reference) => frame(&[b"reference", reference.as_bytes()]),
        None => frame(&[b"person", name.as_bytes(), email.as_bytes(), address.as_bytes()]),
    };
    let mut id = [0; 16];
    blake3::Hasher::new_keyed(key).update(&natural).finalize_xof().fill(&mut id);
    UserId::from_bytes(id)
}

/// Turns lines down that contradict what is here, or another one.
async fn compare(app: &App, read: Read) -> Result<Read, Problem> {
    let users: Vec<UserId> = read.good.iter().map(|(_, user, _)| *user).collect();
    let mut known = app.db.read("people to import", async move |tx: &mut Tx| person::many(tx, &users).await).await?;
    let Read { good, mut bad } = read;
    let mut kept = vec![];
    for (number, user, line) in good {
        let column = Some(if line.user.is_some() { "user_id" } else { "reference" });
        let reject = |reason: &str| RejectedPerson { line: number, column, reason: format!("{user}: {reason}") };
        match (known.get(&user), &line.person) {
            (Some(Known::Erased), _) => bad.push(reject("this person's data was deleted on request")),
            (Some(Known::As(there)), Some(new)) if there != new.person() => bad.push(reject("somebody else is written down under it")),
            (_, new) => {
                if let Some(new) = new {
                    known.insert(user, Known::As(new.person().clone()));
                }
                kept.push((number, user, line));
            }
        }
    }
    bad.sort_by_key(|rejected| rejected.line);
    Ok(Read { good: kept, bad })
}

/// What became of the lines of one person.
#[derive(Default)]
struct Written {
    people: Vec<ImportedPerson>,
    devices: usize,
    rejected: Vec<RejectedPerson>,
}

/// Writes one person with their devices; what is refused is told for each of their lines, and nothing of it is written.
async fn write(app: &App, once: &Once, user: UserId, lines: Vec<(usize, Line)>, by: Arc<By>) -> Result<Written, Problem> {
    let policy = app.config.registration.clone();
    let numbers: Vec<usize> = lines.iter().map(|(number, _)| *number).collect();
    // A repeat of the request under its key gets the same answer for each of them.
    let done = once
        .write(app, "import_user", user::family(user), async move |tx: &mut Tx| -> Result<Reply, Problem> {
            let (mut made, mut devices) = (false, 0);
            for (_, line) in &lines {
                let (new, announced) = write_line(tx, user, line, &policy, &by).await?;
                made |= new;
                devices += announced;
            }
            Ok(Reply::ok(&(made, devices)))
        })
        .await;
    match done {
        Ok(reply) => {
            let (made, devices): (bool, usize) = serde_json::from_slice(&reply.body).map_err(Problem::internal)?;
            let first = numbers.first().copied();
            let person = |line: usize| ImportedPerson { line, user_id: user, made: made && Some(line) == first };
            Ok(Written { people: numbers.into_iter().map(person).collect(), devices, rejected: vec![] })
        }
        Err(problem) if problem.status.is_client_error() => {
            let reason = problem.detail.unwrap_or(problem.title);
            let reject = |line| RejectedPerson { line, column: None, reason: reason.clone() };
            Ok(Written { rejected: numbers.into_iter().map(reject).collect(), ..Written::default() })
        }
        Err(problem) => Err(problem),
    }
}

/// Whether somebody new was written down, and how many devices were announced. What is there already stays as it is, and a device that was
/// taken out stays out.
async fn write_line(tx: &mut Tx, user: UserId, line: &Line, policy: &Policy, by: &By) -> Result<(bool, usize), Problem> {
    let made = match &line.person {
        Some(person) => shop::assign_within(tx, user, person, policy, by).await?,
        None => false,
    };
    let mut announced = 0;
    for device in &line.devices {
        if device_info::find(tx, user, device.device).await?.is_none() {
            shop::announce_within(tx, user, device, policy, by).await??;
            announced += 1;
        }
    }
    Ok((made, announced))
}

fn together(written: Vec<Written>) -> ImportedPeople {
    let mut answer = ImportedPeople::default();
    for one in written {
        answer.devices += one.devices;
        answer.users.extend(one.people);
        answer.rejected.extend(one.rejected);
    }
    answer.users.sort_by_key(|person| person.line);
    answer.rejected.sort_by_key(|rejected| rejected.line);
    answer.made = answer.users.iter().filter(|person| person.made).count();
    answer.known = answer.users.len() - answer.made;
    answer
}
