//! What whoever runs a gateway does at its pages: gets in by a link, looks things up, moves money after a second look.

use counterfoil_core::Timestamp;
use counterfoil_server::gateway::books;

use super::*;

// proves: C17
db_test!(c17_a_link_lets_the_operator_in_once_within_ten_minutes_for_twelve_hours, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let at = desk(&rig.gateway);
    let mut browser = Browser::default();
    assert_eq!(browser.get(&at, "/operator").await.header("location"), "/enter");
    assert!(text(&browser.get(&at, "/enter").await).contains("counterfoild gateway operator link"));
    let path = link(&rig.gateway).await;
    // A program that reads messages opens the link; that does nothing.
    for _ in 0..2 {
        assert_eq!(Browser::default().get(&at, &path).await.status, 200);
    }
    let shown = browser.get(&at, &path).await;
    let entered = browser.submit_from(&at, &shown, "/enter", &[]).await;
    let cookie = entered.header("set-cookie").to_owned();
    assert!(
        cookie.starts_with("counterfoil-operator=") && cookie.contains("; SameSite=Strict") && cookie.contains("; Max-Age=43200"),
        "{cookie}"
    );
    assert_eq!(browser.get(&at, "/operator").await.status, 200);
    let again = Browser::default().submit_from(&at, &shown, "/enter", &[]).await;
    assert_eq!(again.status, 403, "it was used");
    assert_eq!(Browser::default().get(&at, &path).await.status, 403);
    let late = link(&rig.gateway).await;
    rig.later(entry::OPERATOR_LINK);
    assert_eq!(Browser::default().get(&at, &late).await.status, 403);
    rig.later(entry::SESSION - entry::OPERATOR_LINK - 1);
    assert_eq!(browser.get(&at, "/operator").await.status, 200);
    rig.later(1);
    assert_eq!(browser.get(&at, "/operator").await.status, 303);
    let mut browser = let_in(&rig.gateway, &at).await;
    let held = browser.clone();
    assert_eq!(browser.submit(&at, "/operator", "/operator/sign-out", &[]).await.status, 303);
    assert_eq!(held.clone().get(&at, "/operator").await.status, 303, "the session has ended, not only the cookie");
    // A customer's cookie opens nothing here, and the operator's nothing there.
    let there = public(&rig.gateway);
    let (customer, operator) = (ada(&there).await, let_in(&rig.gateway, &at).await);
    assert_eq!(customer.clone().get(&at, "/operator").await.status, 303);
    assert_eq!(operator.clone().get(&there, "/account").await.status, 303);
    rig.gone().await;
});

// proves: C17
db_test!(c17_the_operator_tops_up_after_a_second_look_once_and_gives_back, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let at = desk(&rig.gateway);
    let mut browser = let_in(&rig.gateway, &at).await;
    let customer = format!("/operator/customers/{}", rig.account);
    assert!(text(&browser.get(&at, "/operator/customers?q=AD").await).contains(&customer));
    assert!(!text(&browser.get(&at, "/operator/customers?q=bea").await).contains(&customer));
    let path = format!("{customer}/top-up");
    let form = browser.get(&at, &path).await;
    for wrong in [("money", "nothing"), ("fee", "60.00 EUR"), ("fee", "1.00 USD"), ("money", "0")] {
        let fields = [("money", "50.00 EUR"), wrong].into_iter().rev().collect::<Vec<_>>();
        let told = browser.submit_from(&at, &form, &path, &fields).await;
        assert_eq!(told.status, 409, "{wrong:?}");
    }
    let look = browser.submit_from(&at, &form, &path, &[("money", "50"), ("fee", "0.75"), ("note", "cash at the till")]).await;
    assert_eq!(look.status, 200, "{}", text(&look));
    for part in ["Book 50.00 EUR for ada?", "49.25 EUR", "0.00 EUR", "50.00 EUR"] {
        assert!(text(&look).contains(part), "{part}: {}", text(&look));
    }
    assert_eq!(rig.balance().await.posted, 0, "nothing is booked by looking");
    for _ in 0..2 {
        let booked = browser.submit_from(&at, &look, &path, &[]).await;
        assert_eq!(booked.header("location"), format!("{customer}?done=topped-up"), "{}", text(&booked));
    }
    assert_eq!(rig.balance().await.posted, 5000, "sent twice, booked once");

    let claiming = rig.claiming(0);
    claiming.answered(Some("1999 EUR")).await;
    assert_eq!(rig.balance().await.posted, 3001);
    let exchange = format!("/operator/exchanges/{}", claiming.id());
    let shown = text(&browser.get(&at, &exchange).await);
    assert!(shown.contains("committed") && shown.contains("14.00 EUR") && shown.contains("5.99 EUR"), "{shown}");
    for (query, listed) in [("", true), ("?state=charged", true), ("?state=open", false), ("?state=charged&older=5", false)] {
        let list = text(&browser.get(&at, &format!("/operator/exchanges{query}")).await);
        assert_eq!(list.contains(&exchange), listed, "{query}");
    }
    let ask = browser.get(&at, &format!("{exchange}/refund")).await;
    assert!(text(&ask).contains("Give 19.99 EUR for"), "{}", text(&ask));
    let refund = format!("{exchange}/refund");
    assert_eq!(browser.submit_from(&at, &ask, &refund, &[("note", "")]).await.status, 409);
    for _ in 0..2 {
        let given = browser.submit_from(&at, &ask, &refund, &[("note", "ordered twice")]).await;
        assert_eq!(given.header("location"), format!("{exchange}?done=refunded"), "{}", text(&given));
    }
    assert_eq!(rig.balance().await.posted, 5000);
    assert_eq!(browser.get(&at, &refund).await.status, 409, "it was given back");
    let statement = text(&browser.get(&at, &format!("{customer}/statement")).await);
    for part in ["Refund", "cash at the till"] {
        assert!(statement.contains(part), "{part}: {statement}");
    }
    assert_eq!(books::check(&rig.gateway.db).await.unwrap(), []);
    rig.gone().await;
});

// proves: C17
db_test!(c17_a_payment_that_the_bank_takes_back_is_shown_before_it_is_booked_back, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 3000).await;
    let at = desk(&rig.gateway);
    let mut browser = let_in(&rig.gateway, &at).await;
    rig.claiming(0).answered(Some("1999 EUR")).await;
    let list = text(&browser.get(&at, "/operator/payments").await);
    let path = list.split("href=\"").find(|rest| rest.contains("/chargeback\"")).unwrap().split('"').next().unwrap().to_owned();
    let ask = browser.get(&at, &path).await;
    for part in ["30.00 EUR", "10.01 EUR", "1 exchanges that it paid for"] {
        assert!(text(&ask).contains(part), "{part}: {}", text(&ask));
    }
    assert_eq!(browser.submit_from(&at, &ask, &path, &[("fee", "1.00 USD"), ("note", "stolen")]).await.status, 409);
    assert_eq!(rig.balance().await.posted, 1001);
    for _ in 0..2 {
        let back = browser.submit_from(&at, &ask, &path, &[("fee", "15.00"), ("note", "stolen")]).await;
        assert_eq!(back.header("location"), format!("/operator/customers/{}?done=taken-back", rig.account), "{}", text(&back));
    }
    assert_eq!(rig.balance().await.posted, 0);
    assert_eq!(rig.db.number("SELECT count(*) FROM posting WHERE kind = 'fee'").await, 1);
    // What was left of the payment, what it had paid for, and the fee.
    assert_eq!(rig.db.number("SELECT count(*) FROM posting WHERE note = 'stolen'").await, 3);
    assert_eq!(books::check(&rig.gateway.db).await.unwrap(), []);
    rig.gone().await;
});

// proves: C16
db_test!(c16_the_operator_closes_opens_and_links_to_a_new_password, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 0).await;
    let (at, there) = (desk(&rig.gateway), public(&rig.gateway));
    let mut browser = let_in(&rig.gateway, &at).await;
    let customer = format!("/operator/customers/{}", rig.account);
    let path = format!("{customer}/password");
    let mut links = vec![];
    for _ in 0..2 {
        let made = browser.submit(&at, &path, &path, &[]).await;
        let text = text(&made);
        let link = text.split("/account/new-password?link=").nth(1).unwrap_or_else(|| panic!("{text}"));
        links.push(format!("/account/new-password?link={}", link.split(['<', '"']).next().unwrap()));
    }
    let mut owner = Browser::default();
    assert_eq!(owner.get(&there, &links[0]).await.status, 403, "the newer one is good, and it alone");
    let shown = owner.get(&there, &links[1]).await;
    assert_eq!(owner.submit_from(&there, &shown, "/account/new-password", &[("password", "short")]).await.status, 422);
    let set = owner.submit_from(&there, &shown, "/account/new-password", &[("password", "nine brass buttons")]).await;
    assert_eq!(set.header("location"), "/account/sign-in?done=password", "{}", text(&set));
    let again = owner.submit_from(&there, &shown, "/account/new-password", &[("password", "eight brass buttons")]).await;
    assert_eq!(again.status, 403, "a link is good once");
    assert_eq!(rig.get("/v1/account", &rig.token).await.status, 401, "terminals are signed out");
    let sign_in = async |browser: &mut Browser| {
        browser.post(&there, "/account/sign-in", &[("name", "ada"), ("password", "nine brass buttons")]).await.status
    };
    assert_eq!(sign_in(&mut owner).await, 303);
    // A day later it is over.
    let made = browser.submit(&at, &path, &path, &[]).await;
    let text = text(&made);
    let link = text.split("/account/new-password?link=").nth(1).unwrap().split(['<', '"']).next().unwrap();
    rig.later(Timestamp::DAY);
    assert_eq!(owner.get(&there, &format!("/account/new-password?link={link}")).await.status, 403);

    let mut browser = let_in(&rig.gateway, &at).await;
    let close = format!("{customer}/close");
    let closed = browser.submit(&at, &close, &close, &[]).await;
    assert_eq!(closed.header("location"), format!("{customer}?done=closed"));
    assert_eq!(owner.get(&there, "/account").await.status, 303);
    assert_eq!(sign_in(&mut owner).await, 403);
    assert_eq!(browser.get(&at, &format!("{customer}/top-up")).await.status, 200, "money may still arrive");
    assert_eq!(browser.get(&at, &path).await.status, 409);
    let open = format!("{customer}/open");
    assert_eq!(browser.submit(&at, &open, &open, &[]).await.header("location"), format!("{customer}?done=opened"));
    assert_eq!(sign_in(&mut owner).await, 303);
    rig.gone().await;
});

// proves: C17
db_test!(c17_a_month_is_settled_and_taken_away_as_a_table_and_books_are_checked, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 5000).await;
    let at = desk(&rig.gateway);
    rig.claiming(0).answered(Some("1999 EUR")).await;
    let month = ledger_month(&rig);
    let mut browser = let_in(&rig.gateway, &at).await;
    let path = format!("/operator/settlement/{month}");
    let early = browser.submit(&at, &path, &path, &[]).await;
    assert_eq!(early.status, 409);
    assert!(text(&early).contains("is not over"), "{}", text(&early));
    rig.later(40 * Timestamp::DAY);
    let mut browser = let_in(&rig.gateway, &at).await;
    let ask = browser.get(&at, &path).await;
    assert!(text(&ask).contains("14.00 EUR, of 1 charges (19.99 EUR) and 0 undone"), "{}", text(&ask));
    for _ in 0..2 {
        let settled = browser.submit_from(&at, &ask, &path, &[]).await;
        assert_eq!(settled.header("location"), "/operator/settlement?done=settled");
    }
    assert!(text(&browser.get(&at, "/operator/settlement").await).contains("settled"));
    let table = browser.get(&at, &format!("{path}/operator")).await;
    assert!(table.header("content-type").starts_with("text/csv"));
    let lines = text(&table);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.starts_with("posting,booked_at,kind,exchange,title,currency,price,part") && lines.contains("EUR,19.99,14.00"), "{lines}");
    assert_eq!(browser.get(&at, &format!("{path}/nobody")).await.status, 404);

    assert!(text(&browser.get(&at, "/operator/books").await).contains("not checked yet"));
    let checked = browser.submit(&at, "/operator/books?check=now", "/operator/books", &[]).await;
    assert_eq!(checked.header("location"), "/operator/books?done=checked");
    assert!(text(&browser.get(&at, "/operator/books").await).contains("nothing is wrong"));
    let code = voucher(&rig.gateway, "10.00 EUR").await;
    let list = text(&browser.get(&at, "/operator/vouchers?q=spring").await);
    assert!(list.contains("10.00 EUR") && !list.contains(&code), "codes are not kept: {list}");
    assert!(!text(&browser.get(&at, "/operator/vouchers?q=summer").await).contains("10.00 EUR"));
    rig.gone().await;
});

fn ledger_month(rig: &Rig) -> String {
    counterfoil_server::gateway::ledger::Period::of(rig.gateway.clock.now()).to_string()
}
