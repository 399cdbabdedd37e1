//! Topping up by card on the pages: the provider's form, and how the payment stands.

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
