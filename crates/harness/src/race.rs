//! Many terminals, one medium (C8, testing.md row 6): exactly one winner each, whichever process they ask.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    ground,
    random::Dice,
    server::Server,
    terminal::{Medium, Terminal},
};
use counterfoil_core::{
    Code,
    wire::{Answer, ClaimResult, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use std::sync::Barrier;

/// Races `common.terminals` for each of `media`.
pub fn run(common: &Common, media: u64, servers: usize, plant: bool) -> Result<(), Failure> {
    if servers > 1 && common.database.is_none() {
        return Err(Failure::Broken("several server processes need --database postgres://…".into()));
    }
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut first = Server::init(common, directory.path())?;
    first.start()?;
    let authority = Authority::meet(&first.url)?;
    let mut processes = vec![first];
    for _ in 1..servers {
        let mut sibling = processes[0].sibling()?;
        sibling.start()?;
        processes.push(sibling);
    }
    let media = ground::prepare(&authority, &processes[0].token, media)?;
    let urls: Vec<String> = processes.iter().map(|server| server.url.clone()).collect();

    let barrier = Barrier::new(common.terminals);
    let outcomes: Vec<Result<Vec<bool>, Failure>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..common.terminals)
            .map(|stream| {
                let authority = authority.at(&urls[stream % urls.len()]);
                let mut dice = Dice::new(common.seed, 1 + stream as u64);
                let (barrier, media) = (&barrier, &media);
                scope.spawn(move || race(&authority, media, barrier, &mut dice))
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| Err(Failure::Broken("a racer panicked".into())))).collect()
    });
    let mut wins = vec![0u32; media.len()];
    for outcome in outcomes {
        for (medium, won) in outcome?.into_iter().enumerate() {
            wins[medium] += u32::from(won);
        }
    }
    if plant {
        wins[0] += u32::from(second_grant_after_forgetting(common, &authority, &processes[0], &media[0])?);
    }
    let wrong: Vec<usize> = (0..media.len()).filter(|medium| wins[*medium] != 1).collect();
    println!(
        "race: {} media, {} terminals, {} server processes, exactly one winner for {}, seed {}",
        media.len(),
        common.terminals,
        servers,
        media.len() - wrong.len(),
        common.seed
    );
    match (plant, wrong.is_empty()) {
        (false, true) => processes[0].audit(),
        (false, false) => Err(Failure::Broken(format!("media with no winner or several: {wrong:?}"))),
        (true, false) => {
            println!("race: the planted second winner was found");
            Ok(())
        }
        (true, true) => Err(Failure::Broken("the planted second winner was not found".into())),
    }
}

fn race(authority: &Authority, media: &[Medium], barrier: &Barrier, dice: &mut Dice) -> Result<Vec<bool>, Failure> {
    let terminal = registered(authority, dice)?;
    let mut won = Vec::with_capacity(media.len());
    let mut failed = None;
    for medium in media {
        let envelope = terminal.claim(authority, medium, dice);
        barrier.wait();
        // After a failure the others still wait at the barrier: keep coming.
        if failed.is_some() {
            continue;
        }
        match send(authority, &envelope).and_then(claim_outcome) {
            Ok(outcome) => won.push(outcome),
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(won), Err)
}

fn claim_outcome(answer: Answer) -> Result<bool, Failure> {
    match answer.outcome.into_result::<ClaimResult>() {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(refusal)) if refusal.code == Code::MediumSpent => Ok(false),
        other => Err(Failure::Broken(format!("unexpected outcome of a claim: {other:?}"))),
    }
}

/// A fresh user of the authority.
pub fn registered(authority: &Authority, dice: &mut Dice) -> Result<Terminal, Failure> {
    let mut terminal = Terminal::new(dice);
    let answer = send(authority, &terminal.register(authority, dice))?;
    match answer.outcome.into_result::<RegisterResult>() {
        Ok(Ok(result)) => terminal.registered(&result).map_err(Failure::Broken)?,
        other => return Err(Failure::Broken(format!("unexpected outcome of a registration: {other:?}"))),
    };
    Ok(terminal)
}

/// Sends until there is an answer; nobody kills the server here, so that a lost one is a finding.
pub fn send(authority: &Authority, envelope: &Envelope) -> Result<Answer, Failure> {
    loop {
        match authority.exchange(envelope)? {
            Reply::Answer(answer) => return Ok(answer),
            Reply::Busy => std::thread::yield_now(),
            Reply::Lost => return Err(Failure::Broken("an answer was lost though nothing was killed".into())),
        }
    }
}

/// The planted bug: the database forgets that the medium was claimed.
fn second_grant_after_forgetting(common: &Common, authority: &Authority, server: &Server, medium: &Medium) -> Result<bool, Failure> {
    ground::forget(&server.data, medium.claims.medium_id.as_str())?;
    let mut dice = Dice::new(common.seed, u64::MAX);
    let terminal = registered(authority, &mut dice)?;
    send(authority, &terminal.claim(authority, medium, &mut dice)).and_then(claim_outcome)
}
