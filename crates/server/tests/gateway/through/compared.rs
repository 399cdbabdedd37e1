//! Both databases against one another, however many exchanges they hold: in pages, by month, in the memory of two pages.

use std::fmt::Write as _;

use super::*;
use crate::support::{Engine, TestDb, db_test, on};

/// How many exchanges are compared; a million by hand.
fn many() -> u32 {
    std::env::var("COUNTERFOIL_TEST_EXCHANGES").map_or(2_500, |count| count.parse().unwrap())
}

/// An exchange as both sides keep it, charged; its ID is its number in a row that is not the order of time.
fn id(number: u32) -> String {
    uuid::Uuid::from_u128(u128::from(number.wrapping_mul(0x9E37_79B1)) << 96 | u128::from(number)).to_string()
}

/// Writes exchanges into both databases, but for those that `here` and `there` leave out.
async fn fill(rig: &Rig, db: &TestDb, count: u32, at: impl Fn(u32) -> i64, here: impl Fn(u32) -> bool, there: impl Fn(u32) -> bool) {
    let (account, gateway, user) = (rig.account, &rig.gateway_id, rig.terminal.user.unwrap());
    // No bytes, as the engine writes them.
    let empty = if db.engine() == Engine::Sqlite { "x''" } else { "''" };
    for numbers in (0..count).collect::<Vec<_>>().chunks(500) {
        let (mut ours, mut theirs) = (String::new(), String::new());
        for number in numbers {
            let (id, at) = (id(*number), at(*number));
            if here(*number) {
                let comma = if ours.is_empty() { "" } else { "," };
                write!(ours, "{comma}('{account}', '{id}', 'charged', '{TITLE}', 'T', 'EUR', 1999, 1400, {at}, {at}, {at}, {at})").unwrap();
            }
            if there(*number) {
                let comma = if theirs.is_empty() { "" } else { "," };
                write!(theirs, "{comma}('{id}', '{gateway}', {}, 'order', '{user}', '{TITLE}', 'T', 'EUR', 1999, 1400, 'committed', {at}, {at}, {at}, {at})", empty).unwrap();
            }
        }
        if !ours.is_empty() {
            let sql = "INSERT INTO exchange (account_id, exchange_id, state, title_id, title_name, currency, amount, operator_part, expires_at, next_at, created_at, changed_at) VALUES ";
            rig.db.run(leaked(format!("{sql}{ours}"))).await;
        }
        if !theirs.is_empty() {
            let sql = "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, title_id, title_name, currency, amount, operator_part, state, created_at, expires_at, decided_at, changed_at) VALUES ";
            db.break_all(leaked(format!("{sql}{theirs}"))).await;
        }
    }
}

/// A statement that is made for one test.
fn leaked(sql: String) -> &'static str {
    Box::leak(sql.into_boxed_str())
}

/// Kilobytes that this process holds, and has held at most.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()).unwrap();
    (of("VmRSS:"), of("VmHWM:"))
}

// proves: C17
#[test]
fn c17_any_number_of_exchanges_is_compared_in_the_memory_of_two_pages() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let rig = Rig::new(&db, 1, 0).await;
            let (count, now) = (many(), rig.gateway.clock.now().0);
            fill(&rig, &db, count, |_| now, |number| number % 1000 != 7, |number| number % 1000 != 9).await;
            rig.later(2 * 60 * 1000);
            let (before, _) = memory();
            let (begun, mut pages, mut found) = (counterfoil_server::clock::monotonic(), 0, 0_u64);
            let compared = reconcile::compare(&rig.gateway, Which { period: None, fresh: 60_000 }, |told| match told {
                Told::Difference(_) => found += 1,
                Told::SoFar(_) => pages += 1,
            });
            let compared = compared.await.unwrap();
            let missing = u64::from(count / 1000 + u32::from(count % 1000 > 7)) + u64::from(count / 1000 + u32::from(count % 1000 > 9));
            assert_eq!((compared.differ, found, compared.under_way), (missing, missing, 0));
            assert_eq!(compared.compared, u64::from(count) - missing);
            assert!(pages >= count / 500, "{pages} pages");
            let (after, most) = memory();
            println!(
                "{count} exchanges: {:?}, {before} kB before, {after} kB after, {most} kB at most",
                counterfoil_server::clock::monotonic() - begun
            );
            assert!(after.saturating_sub(before) < 48 << 10, "{before} kB before, {after} kB after");
            rig.gone().await;
        },
    );
}

// proves: C17
db_test!(c17_a_month_is_compared_by_itself, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let begin = |month: &str| month.parse::<counterfoil_server::gateway::ledger::Period>().unwrap().begin().0;
    let december = begin("2025-12");
    // Even numbers in November, odd ones in December; the last minute of November is begun there in December.
    let at = |number: u32| if number.is_multiple_of(2) { december - 1 - i64::from(number) } else { december + i64::from(number) };
    fill(&rig, &db, 600, at, |number| number != 10, |number| number != 11).await;
    db.break_all(leaked(format!("UPDATE gateway_exchange SET created_at = {} WHERE exchange_id = '{}'", december + 5, id(0)))).await;
    assert!(rig.gateway.clock.now().0 > december + 120_000, "nothing is on its way any more");
    let all = rig.compared(None).await;
    assert_eq!((all.compared, all.differences.len()), (598, 2));
    let (first, second) = (rig.compared(Some("2025-11")).await, rig.compared(Some("2025-12")).await);
    let ids = |found: &Settled| found.differences.iter().map(|one| one.exchange_id.to_string()).collect::<Vec<_>>();
    assert_eq!((ids(&first), ids(&second)), (vec![id(10)], vec![id(11)]));
    assert_eq!((first.compared, second.compared), (298, 300), "each in one month, by the authority's word");
    let none = rig.compared(Some("2025-06")).await;
    assert_eq!((none.compared, none.differences.len()), (0, 0));
    rig.gone().await;
});

// What a user has just given back at the authority the gateway has not heard of: it is on its way, and no difference.
// proves: C17
db_test!(c17_what_has_just_changed_at_the_authority_is_under_way, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    rig.later(10 * 60 * 1000);
    driver::learn(&rig.gateway).await.unwrap();
    let now = rig.gateway.clock.now().0;
    let given_back = format!("UPDATE gateway_exchange SET state = 'refunded', refunded_at = {now}, changed_at = {now}");
    db.break_all(leaked(given_back)).await;
    rig.later(5_000);
    let found = rig.compared(None).await;
    assert_eq!((found.compared, found.under_way, found.differences), (0, 1, vec![]));
    rig.later(120_000);
    let found = rig.compared(None).await;
    assert_eq!((found.under_way, found.differences, rig.balance().await.posted), (1, vec![], 5000), "learned, and given back");
    rig.later(120_000);
    assert_eq!(rig.compared(None).await.compared, 1);
    rig.gone().await;
});

// The authority's list goes by its clock, which was an hour ahead when the gateway read it last.
// proves: C17
db_test!(c17_what_is_given_back_after_a_clock_was_set_back_is_learned, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 5000).await;
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    rig.later(60 * 60 * 1000);
    let ahead = rig.claiming(1);
    assert!(is_granted(&ahead.answered(Some("1999 EUR")).await.1));
    rig.later(60 * 1000);
    driver::learn(&rig.gateway).await.unwrap();
    rig.later(-60 * 60 * 1000);
    let now = rig.gateway.clock.now().0;
    let given_back = format!(
        "UPDATE gateway_exchange SET state = 'refunded', refunded_at = {now}, changed_at = {now} WHERE exchange_id <> '{}'",
        ahead.id()
    );
    db.break_all(leaked(given_back)).await;
    rig.later(11 * 60 * 1000);
    driver::learn(&rig.gateway).await.unwrap();
    assert_eq!(rig.balance().await.posted, 5000 - 1999);
    rig.gone().await;
});
