//! Candidates on clocks of their own, paused, killed and cut off at any moment: never do two lead, and never nobody for long.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

use super::*;
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);

fn held(by: &str, beat: i64) -> Option<Lease> {
    Some(Lease { holder: Some(by.to_owned()), beat })
}

#[test]
fn a_free_lease_is_taken_at_once_and_renewed_in_time() {
    for free in [None, Some(Lease { holder: None, beat: 7 })] {
        let mut one = Candidate::new("one".to_owned());
        assert_eq!(one.next(S), Step::Look);
        one.saw(free.clone(), S);
        assert_eq!(one.next(S), Step::Take(free));
        assert!(!one.leads(S));
        one.won(S);
        assert!(one.leads(S + STOP - Duration::from_millis(1)) && !one.leads(S + STOP));
        assert_eq!(one.next(2 * S), Step::Wait(2 * S));
        assert_eq!(one.next(S + RENEW), Step::Renew);
        // The answer came late; it counts from when it was asked for.
        one.won(S + RENEW);
        assert_eq!(one.leads_until(), Some(S + RENEW + STOP));
        one.lost();
        assert!(!one.leads(S + RENEW));
        assert_eq!(one.next(S + RENEW), Step::Look);
    }
}

#[test]
fn a_beat_must_stand_still_for_long_before_it_is_taken() {
    let mut one = Candidate::new("one".to_owned());
    one.saw(held("two", 5), 100 * S);
    assert_eq!(one.next(100 * S), Step::Wait(LOOK));
    assert_eq!(one.next(101 * S), Step::Look);
    one.saw(held("two", 6), 109 * S);
    assert_eq!(one.next(111 * S), Step::Look, "it has moved meanwhile");
    one.saw(held("two", 6), 118 * S);
    assert_eq!(one.next(119 * S), Step::Take(held("two", 6)));
}

#[test]
fn a_change_whose_answer_was_lost_is_renewed_before_it_counts() {
    let mut one = Candidate::new("one".to_owned());
    one.saw(held("one", 9), 50 * S);
    assert!(!one.leads(50 * S));
    assert_eq!(one.next(50 * S), Step::Renew);
    one.won(50 * S);
    assert!(one.leads(50 * S));
}

/// A way to do it wrong, which the simulation must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A renewal counts from its answer on.
    CountsFromAnswer,
    /// A row is taken whatever its beat is by now.
    TakesUnguarded,
    /// A holder goes on until it hears that it is none.
    NeverStops,
}

/// What happens to a process and to one of its questions, in milliseconds of a clock that nobody can read.
#[derive(Clone, Debug)]
struct Fate {
    /// Until the database has done it.
    there: u64,
    /// Until the answer is back; none: it is lost, and given up after as long as that takes.
    back: Option<u64>,
    /// For how long the process stands still after this.
    pause: u64,
    /// It dies after this, and another starts in its place.
    dies: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    let slow = prop_oneof![6 => 0..50u64, 2 => 50..4000u64, 1 => 4000..25_000u64];
    let pause = prop_oneof![20 => Just(0u64), 1 => 1000..8000u64, 1 => 8000..40_000u64];
    (slow.clone(), proptest::option::weighted(0.9, slow), pause, prop::bool::weighted(0.02)).prop_map(|(there, back, pause, dies)| Fate {
        there,
        back,
        pause,
        dies,
    })
}

struct Process {
    candidate: Candidate,
    generation: u32,
    /// Its clock runs at so many thousandths of the true speed.
    rate: u64,
    wakes: u64,
    asked: Option<Asked>,
    pause: u64,
}

struct Asked {
    step: Step,
    begun: Duration,
    done_at: u64,
    answered_at: u64,
    lost: bool,
    dies: bool,
    answer: Option<Result<Option<Lease>, bool>>,
}

impl Process {
    fn clock(&self, now: u64) -> Duration {
        Duration::from_micros(now * self.rate)
    }

    fn leads(&self, now: u64, planted: Planted) -> bool {
        match planted {
            Planted::NeverStops => self.candidate.leads_until().is_some(),
            _ => self.candidate.leads(self.clock(now)),
        }
    }

    /// The database does what was asked.
    fn carry_out(asked: &Asked, me: &str, row: &mut Option<Lease>, planted: Planted) -> Result<Option<Lease>, bool> {
        let next = row.as_ref().map_or(1, |row| row.beat + 1);
        let changed = match &asked.step {
            Step::Take(seen) => *row == *seen || planted == Planted::TakesUnguarded,
            Step::Renew => row.as_ref().and_then(|row| row.holder.as_deref()) == Some(me),
            Step::Look | Step::Wait(_) => return Ok(row.clone()),
        };
        if changed {
            *row = held(me, next);
        }
        Err(changed)
    }

    fn hear(&mut self, asked: Asked, now: u64, planted: Planted) {
        if asked.lost {
            self.wakes = now + 1000;
            return;
        }
        let clock = self.clock(now);
        match asked.answer.expect("the database has answered before") {
            Ok(row) => self.candidate.saw(row, clock),
            Err(true) if planted == Planted::CountsFromAnswer => self.candidate.won(clock),
            Err(true) => self.candidate.won(asked.begun),
            Err(false) => self.candidate.lost(),
        }
        self.wakes = now;
    }
}

#[derive(Debug, Default)]
struct Summary {
    two_led: bool,
    changes: u32,
    /// Longest time without a leader, in milliseconds.
    gap: u64,
}

/// Lets so many processes live through their fates.
fn simulate(rates: &[u64], fates: &[Fate], planted: Planted) -> Summary {
    let mut row: Option<Lease> = None;
    let mut seen = Summary::default();
    let mut fates = fates.iter();
    let mut last = (String::new(), 0);
    let mut processes: Vec<Process> = (0..rates.len())
        .map(|n| Process {
            candidate: Candidate::new(format!("{n}.0")),
            generation: 0,
            rate: rates[n],
            wakes: n as u64,
            asked: None,
            pause: 0,
        })
        .collect();
    loop {
        let due = |process: &Process| match &process.asked {
            Some(asked) if asked.answer.is_none() => asked.done_at,
            Some(asked) => asked.answered_at,
            None => process.wakes,
        };
        let n = (0..processes.len()).min_by_key(|n| due(&processes[*n])).expect("one at least");
        let now = due(&processes[n]);
        let leaders: Vec<&str> = processes.iter().filter(|one| one.leads(now, planted)).map(|one| one.candidate.name()).collect();
        seen.two_led |= leaders.len() > 1;
        if let Some(leader) = leaders.first() {
            seen.gap = seen.gap.max(now - last.1);
            seen.changes += u32::from(last.0 != *leader);
            last = ((*leader).to_owned(), now);
        }
        let process = &mut processes[n];
        match process.asked.take() {
            Some(mut asked) if asked.answer.is_none() => {
                asked.answer = Some(Process::carry_out(&asked, process.candidate.name(), &mut row, planted));
                process.asked = Some(asked);
            }
            Some(asked) if asked.dies => {
                process.generation += 1;
                process.candidate = Candidate::new(format!("{n}.{}", process.generation));
                process.wakes = now + process.pause;
            }
            Some(asked) => {
                process.hear(asked, now, planted);
                process.wakes += process.pause;
            }
            None => match process.candidate.next(process.clock(now)) {
                Step::Wait(time) => process.wakes = now + (time.as_micros() as u64).div_ceil(process.rate).max(1),
                step => {
                    let Some(Fate { there, back, pause, dies }) = fates.next().cloned() else { return seen };
                    let begun = process.clock(now);
                    let done_at = now + there;
                    let answered_at = done_at + back.unwrap_or(2000);
                    process.asked = Some(Asked { step, begun, done_at, answered_at, lost: back.is_none(), dies, answer: None });
                    process.pause = pause;
                }
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn never_do_two_lead(rates in prop::collection::vec(900..1100u64, 2..4), fates in prop::collection::vec(fate(), 50..400)) {
        prop_assert!(!simulate(&rates, &fates, Planted::Nothing).two_led);
    }

    /// Where all answers come within half a second, a leader that dies has a successor within 15 s.
    #[test]
    fn the_dead_are_replaced_soon(death in 20..250usize, quick in prop::collection::vec(0..250u64, 300)) {
        let fate = |(n, there): (usize, &u64)| {
            let dies = (death..death + 3).contains(&n);
            Fate { there: *there, back: Some(*there), pause: if dies { 60_000 } else { 0 }, dies }
        };
        let fates: Vec<Fate> = quick.iter().enumerate().map(fate).collect();
        let seen = simulate(&[1000, 1000, 1000, 1000], &fates, Planted::Nothing);
        prop_assert!(!seen.two_led && seen.gap <= 15_000, "{seen:?}");
    }
}

#[test]
fn the_simulation_notices_what_is_planted() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    for planted in [Planted::CountsFromAnswer, Planted::TakesUnguarded, Planted::NeverStops] {
        let mut runner = TestRunner::deterministic();
        let mut changes = 0;
        let found = (0..2000).any(|_| {
            let fates = prop::collection::vec(fate(), 200..400).new_tree(&mut runner).unwrap().current();
            let seen = simulate(&[1000, 1050], &fates, planted);
            changes += seen.changes;
            seen.two_led
        });
        assert!(found, "{planted:?} was not noticed in runs with {changes} changes of the leader");
    }
}
