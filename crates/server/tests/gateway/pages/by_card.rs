//! Topping up by card on the pages: the provider's form, and how the payment stands.

use counterfoil_server::gateway::alerts::{self, Watch};
use counterfoil_server::gateway::store::alert::{self, Kind};

use super::*;
use crate::cards::Till;

// proves: C17
db_test!(c17_a_customer_pays_in_by_card_and_removes_one_that_is_kept, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    let at = public(&till.rig.gateway);
    let mut browser = signed_up(&at, "grace").await;
    assert!(text(&browser.get(&at, "/account").await).contains("/account/top-up"));
    for (money, told) in [("0.50", "From 1.00 EUR to 500.00 EUR"), ("much", "Write the amount as 20.00")] {
        let refused = browser.submit(&at, "/account/top-up", "/account/top-up", &[("money", money)]).await;
        assert!(refused.status == 422 && text(&refused).contains(told), "{money}: {}", text(&refused));
    }
    let begun = browser.submit(&at, "/account/top-up", "/account/top-up", &[("money", "20.00"), ("keep", "on")]).await;
    let page = begun.header("location").to_owned();
    let shown = browser.get(&at, &page).await;
    let element = format!("script-src 'self' {}", till.running.url);
    assert!(shown.header("content-security-policy").contains(&element), "{}", shown.header("content-security-policy"));
    assert!(text(&shown).contains(payment_provider::PUBLISHABLE_KEY) && text(&shown).contains("It waits for your card."));
    let intent = till.provider().state().intents.keys().next().unwrap().clone();
    till.provider().pay(&intent, "4242424242424242");
    let paid = text(&browser.get(&at, &page).await);
    assert!(paid.contains("It is paid, and in your account.") && !paid.contains(payment_provider::PUBLISHABLE_KEY), "{paid}");
    assert!(text(&browser.get(&at, "/account").await).contains("20.00 EUR"));
    // It is nobody else's.
    let mut other = signed_up(&at, "ada2").await;
    assert_eq!(other.get(&at, &page).await.status, 404);

    let settings = text(&browser.get(&at, "/account/settings").await);
    assert!(settings.contains("ending in 4242"), "{settings}");
    let card = settings.split("name=\"card\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = text(&other.get(&at, "/account/settings").await);
    let form = form.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let theirs = other.post(&at, "/account/settings/cards", &[("form", &form), ("card", &card)]).await;
    assert_eq!(theirs.status, 404, "another's card");
    browser.submit(&at, "/account/settings", "/account/settings/cards", &[("card", &card)]).await;
    assert!(!text(&browser.get(&at, "/account/settings").await).contains("ending in 4242"));
    till.gone().await;
});

// proves: C17
db_test!(c17_what_a_card_holder_objects_to_is_an_alert_until_it_is_decided, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.turn().await;
    till.topped_up(1, 3000, "4242424242424242", false).await;
    let (app, payment) = (&till.rig.gateway, till.row(1).await);
    let at = desk(app);
    let mut browser = let_in(app, &at).await;
    let details = async || {
        alerts::look(app, &mut Watch::default()).await.unwrap();
        let open = app.db.read("open alerts", async |tx: &mut Tx| alert::open(tx).await).await.unwrap();
        open.into_iter().filter(|alert| alert.kind == Kind::Dispute).map(|alert| alert.detail).collect::<Vec<_>>()
    };
    let heard = async || {
        let event = till.provider().state().events.last().unwrap().clone();
        assert_eq!(till.tell(&event, till.now()).await.status, 204);
        till.turn().await;
    };
    let by_hand = format!("/operator/payments/{}/{}/chargeback", payment.account, payment.posting);
    assert_eq!(details().await, Vec::<String>::new());
    assert!(text(&browser.get(&at, "/operator/payments").await).contains("None is open."));
    assert!(!text(&browser.get(&at, &by_hand).await).contains("The card holder objects"));

    let dispute = till.provider().object(payment.intent.as_deref().unwrap(), None, "warning_needs_response").unwrap();
    heard().await;
    let told = details().await;
    assert!(told.len() == 1 && told[0].contains("the bank asks about 30.00 EUR") && told[0].contains(&dispute), "{told:?}");
    let listed = text(&browser.get(&at, "/operator/payments").await);
    assert!(listed.contains("the bank asks") && listed.contains(&dispute), "{listed}");
    assert!(text(&browser.get(&at, &by_hand).await).contains("this is booked by itself"));
    assert!(text(&browser.get(&at, "/operator").await).contains("A card holder objects"));

    till.provider().decide(&dispute, "needs_response");
    heard().await;
    let told = details().await;
    assert!(told.len() == 1 && told[0].contains("the bank has taken the money"), "{told:?}");
    till.provider().decide(&dispute, "won");
    till.driven().await;
    assert_eq!(details().await, Vec::<String>::new());
    assert_eq!(till.rig.db.number("SELECT count(*) FROM alert WHERE kind = 'dispute'").await, 1, "it was one all the time");
    till.gone().await;
});
