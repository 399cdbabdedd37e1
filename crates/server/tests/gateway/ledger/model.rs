//! Postings against a plain model in memory: whatever is done in whatever order, both hold the same after every step.

use std::collections::BTreeMap;

use counterfoil_core::wire::UndoReason;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::support::{TestDb, db_test};

#[derive(Clone, Copy, Debug)]
enum Step {
    TopUp { amount: u64 },
    Reserve { price: u64, share: u64 },
    Post { which: usize },
    Void { which: usize },
    Undo { which: usize, why: UndoReason },
    TakeBack { which: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reserved,
    Charged,
    Voided,
    Undone,
}

#[derive(Clone, Debug)]
struct Bought {
    price: i64,
    operator: i64,
    from: BTreeMap<usize, i64>,
    state: State,
}

/// What a person would keep on paper.
#[derive(Clone, Debug, Default)]
struct Model {
    /// What is left of each, and whether the bank has taken it back.
    lots: Vec<(i64, bool)>,
    bought: Vec<Bought>,
    cash: i64,
}

impl Model {
    fn available(&self) -> i64 {
        self.lots.iter().map(|(left, _)| left).sum()
    }

    fn of(&self, state: State, amount: fn(&Bought) -> i64) -> i64 {
        self.bought.iter().filter(|bought| bought.state == state).map(amount).sum()
    }

    fn reserve(&mut self, price: i64, operator: i64) -> bool {
        if self.available() < price {
            return false;
        }
        let (mut from, mut missing) = (BTreeMap::new(), price);
        for (n, (left, _)) in self.lots.iter_mut().enumerate() {
            let part = missing.min(*left);
            if part > 0 {
                from.insert(n, part);
                (*left, missing) = (*left - part, missing - part);
            }
        }
        self.bought.push(Bought { price, operator, from, state: State::Reserved });
        true
    }

    fn give_back(&mut self, which: usize, state: State) {
        let bought = &mut self.bought[which];
        bought.state = state;
        for (lot, part) in &bought.from {
            match &mut self.lots[*lot] {
                (_, true) => self.cash -= part,
                (left, false) => *left += part,
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let why = prop_oneof![Just(UndoReason::Refund), Just(UndoReason::Chargeback)];
    let step = prop_oneof![
        2 => (1..500u64).prop_map(|amount| Step::TopUp { amount }),
        6 => (1..300u64, 0..=10_000u64).prop_map(|(price, share)| Step::Reserve { price, share }),
        4 => (0..50usize).prop_map(|which| Step::Post { which }),
        2 => (0..50usize).prop_map(|which| Step::Void { which }),
        3 => (0..50usize, why).prop_map(|(which, why)| Step::Undo { which, why }),
        1 => (0..50usize).prop_map(|which| Step::TakeBack { which }),
    ];
    proptest::collection::vec(step, 20..60)
}

async fn take(db: &TestDb, account: AccountId, base: u64, model: &mut Model, step: Step) {
    let count = model.bought.len();
    let state_of = |model: &Model, which: usize| model.bought[which % count].state;
    match step {
        Step::TopUp { amount } => {
            assert_eq!(top_up(db, account, base + model.lots.len() as u64, amount, NOVEMBER).await.unwrap(), ToppedUp::Done);
            model.lots.push((amount as i64, false));
            model.cash += amount as i64;
        }
        Step::Reserve { price, share } => {
            let operator = price - price * share / 10_000;
            let done = reserve(db, account, base + count as u64, price, operator, NOVEMBER).await.unwrap() == Reserved::Done;
            assert_eq!(done, model.reserve(price as i64, operator as i64));
        }
        Step::Post { which } if count > 0 => {
            let was = state_of(model, which);
            let done = post(db, account, base + (which % count) as u64, NOVEMBER).await.unwrap();
            assert_eq!(done, was != State::Voided);
            if was == State::Reserved {
                model.bought[which % count].state = State::Charged;
            } else if was == State::Undone {
                // The exchange's own state is this test's, and was set back by the repeat.
                super::state_again(db, account, base + (which % count) as u64).await;
            }
        }
        Step::Void { which } if count > 0 => {
            let was = state_of(model, which);
            let done = void(db, account, base + (which % count) as u64, NOVEMBER).await.unwrap();
            assert_eq!(done, matches!(was, State::Reserved | State::Voided));
            if was == State::Reserved {
                model.give_back(which % count, State::Voided);
            }
        }
        Step::Undo { which, why } if count > 0 && matches!(state_of(model, which), State::Charged | State::Undone) => {
            let was = state_of(model, which);
            assert!(undo(db, account, base + (which % count) as u64, why, NOVEMBER).await.unwrap());
            if was == State::Charged {
                model.give_back(which % count, State::Undone);
            }
        }
        Step::TakeBack { which } if !model.lots.is_empty() => {
            let lot = which % model.lots.len();
            assert_eq!(take_back(db, account, base + lot as u64, NOVEMBER).await.unwrap(), Taken::Done);
            let (left, ended) = &mut model.lots[lot];
            if !*ended {
                model.cash -= *left;
                (*left, *ended) = (0, true);
            }
        }
        _ => {}
    }
}

async fn same(db: &TestDb, account: AccountId, model: &Model) {
    let reserved = model.of(State::Reserved, |bought| bought.price);
    let held = Balance { posted: model.available() + reserved, reserved };
    assert_eq!(balance(db, account).await, held);
    let sums = db
        .read("sums", async move |tx: &mut Tx| -> Result<(i64, i64, i64), DbError> {
            let sql = "SELECT CAST(COALESCE(SUM(operator), 0) AS BIGINT), CAST(COALESCE(SUM(gateway), 0) AS BIGINT), CAST(COALESCE(SUM(cash), 0) AS BIGINT)
                       FROM posting WHERE account_id = $1 AND kind <> 'reserve'";
            tx.query(sql).bind(account.to_string()).one().await
        })
        .await
        .unwrap();
    let operator = model.of(State::Charged, |bought| bought.operator);
    let gateway = model.of(State::Charged, |bought| bought.price - bought.operator);
    assert_eq!(sums, (operator, gateway, -model.cash));
}

fn against_the_model(db: &TestDb, cases: u32, between: impl Fn(&mut Model)) -> Result<(), String> {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let number = std::cell::Cell::new(0u8);
    let run = |steps: Vec<Step>| {
        number.set(number.get() + 1);
        let n = number.get();
        let walk = async {
            let account = account(db, n).await;
            let mut model = Model::default();
            for step in steps {
                take(db, account, u64::from(n) * 1000, &mut model, step).await;
                between(&mut model);
                same(db, account, &model).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(walk));
        Ok(())
    };
    runner.run(&steps(), run).map_err(|error| error.to_string())
}

// proves: C17
db_test!(c17_postings_come_to_what_a_plain_model_says, |options| of_a_gateway(options), async |db: TestDb| {
    against_the_model(&db, 32, |_| ()).unwrap();
    assert!(db.number("SELECT COUNT(*) FROM posting WHERE kind IN ('refund', 'chargeback')").await > 20);
    clean(&db).await;
});

// A model with a bug stands for a ledger with one: the comparison finds either.
db_test!(a_part_that_is_lost_is_noticed, |options| of_a_gateway(options), async |db: TestDb| {
    let lost = |model: &mut Model| {
        if let Some(bought) = model.bought.iter_mut().find(|bought| bought.state == State::Charged && bought.operator > 0) {
            bought.operator -= 1;
        }
    };
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let found = against_the_model(&db, 8, lost);
    std::panic::set_hook(quiet);
    assert!(found.is_err());
});
