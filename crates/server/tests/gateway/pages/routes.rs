//! Every page of a gateway, by everybody: nobody, another customer, its own; and forms of other sites.

use std::collections::BTreeSet;

use axum::http::Method;
use counterfoil_server::gateway::operator::pages as operators;
use counterfoil_server::gateway::web::{Admits, pages as customers};
use counterfoil_server::limits::{Limits, Rate};

use super::*;

/// IDs for the parameters of a path: those of one's own, and those that there are none of.
struct Ids {
    own: Vec<(&'static str, String)>,
    none: Vec<(&'static str, String)>,
}

fn filled(path: &str, ids: &[(&'static str, String)]) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
}

async fn get(at: &Listener, browser: &Browser, path: &str) -> Answer {
    browser.clone().get(at, path).await
}

/// What comes of a form with everything that a page of this session has, but that another site sent it.
async fn forged(at: &Listener, browser: &Browser, path: &str, origin: Option<&str>, form: Option<&str>) -> Answer {
    let mut request = browser.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let body = form.map(|form| format!("form={form}")).unwrap_or_default();
    at.send(request.body(Body::from(body)).unwrap()).await
}

const OURS: &str = "https://test.example";

// proves: C16 C17
db_test!(c16_c17_every_page_of_a_customer_is_its_own_and_takes_forms_of_its_own_only, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let at = public(&rig.gateway);
    let claiming = rig.claiming(0);
    claiming.answered(Some("1999 EUR")).await;
    let (own, other, nobody) = (ada(&at).await, signed_up(&at, "grace").await, Browser::default());
    let ids = Ids {
        own: vec![("exchange", claiming.id().to_string()), ("file", "style.css".to_owned())],
        none: vec![("exchange", "0198c0de-0000-7000-8000-000000000001".to_owned()), ("file", "x.css".to_owned())],
    };
    let none = Rate { per_second: 0, burst: 0 };
    let mut seen = BTreeSet::new();
    for page in customers(&Limits::new(none, none, vec![])) {
        assert!(seen.insert(page.path), "{} stands there twice", page.path);
        let (mine, nothing) = (filled(page.path, &ids.own), filled(page.path, &ids.none));
        let by_nobody = get(&at, &nobody, &mine).await;
        match page.admits {
            Admits::Owner if by_nobody.status == 405 => {}
            Admits::Owner => assert!(by_nobody.header("location").starts_with("/account/sign-in"), "{}", page.path),
            Admits::Everybody => assert!(by_nobody.status.as_u16() < 405, "{}: {}", page.path, by_nobody.status),
        }
        if page.path.contains("{exchange}") {
            assert_eq!(get(&at, &own, &mine).await.status, 200, "{}", page.path);
            assert_eq!(get(&at, &other, &mine).await.status, 404, "{}: another's", page.path);
            let (others, none) = (get(&at, &other, &mine).await, get(&at, &own, &nothing).await);
            assert_eq!((others.status, text(&others).len()), (none.status, text(&none).len()), "another's is as what does not exist");
        } else if by_nobody.status != 405 && page.admits == Admits::Owner {
            // This gateway takes no cards.
            let there = if page.path.starts_with("/account/top-up") { 404 } else { 200 };
            assert_eq!(get(&at, &own, &mine).await.status, there, "{}", page.path);
        }
        if page.takes_forms {
            for origin in [None, Some("https://evil.example")] {
                let answer = forged(&at, &own, &mine, origin, Some("x")).await;
                assert_eq!(answer.status, 403, "{}: a form of {origin:?}", page.path);
            }
        } else {
            assert_eq!(forged(&at, &own, &mine, Some(OURS), None).await.status, 405, "{} takes no forms", page.path);
        }
        if page.takes_forms && page.admits == Admits::Owner {
            let theirs = text(&get(&at, &other, "/account").await);
            let theirs = theirs.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
            for form in [None, Some("x"), Some(theirs)] {
                assert_eq!(forged(&at, &own, &mine, Some(OURS), form).await.status, 403, "{}: with {form:?}", page.path);
            }
            let by_nobody = forged(&at, &nobody, &mine, Some(OURS), None).await;
            assert!(by_nobody.header("location").starts_with("/account/sign-in"), "{}", page.path);
        }
    }
    assert!(seen.len() >= 15, "{} pages are too few to prove anything", seen.len());
    rig.gone().await;
});

// proves: C17
db_test!(c17_every_page_of_the_operator_is_closed_to_everybody_else, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let (at, there) = (desk(&rig.gateway), public(&rig.gateway));
    let claiming = rig.claiming(0);
    claiming.answered(Some("1999 EUR")).await;
    let (operator, customer, nobody) = (let_in(&rig.gateway, &at).await, ada(&there).await, Browser::default());
    let list = text(&get(&at, &operator, "/operator/payments").await);
    let posting = list.split("<code>pst-").nth(1).unwrap().split('<').next().unwrap();
    let ids = Ids {
        own: vec![
            ("account", rig.account.to_string()),
            ("exchange", claiming.id().to_string()),
            ("posting", format!("pst-{posting}")),
            ("period", "2020-01".to_owned()),
            ("party", "operator".to_owned()),
            ("file", "style.css".to_owned()),
        ],
        none: vec![
            ("account", counterfoil_core::AccountId::from_bytes([9; 16]).to_string()),
            ("exchange", "0198c0de-0000-7000-8000-000000000001".to_owned()),
            ("posting", counterfoil_core::PostingId::from_bytes([9; 16]).to_string()),
            ("period", "nonsense".to_owned()),
            ("party", "nobody".to_owned()),
            ("file", "x.css".to_owned()),
        ],
    };
    let mut seen = BTreeSet::new();
    for page in operators() {
        assert!(seen.insert(page.path), "{} stands there twice", page.path);
        let (mine, nothing) = (filled(page.path, &ids.own), filled(page.path, &ids.none));
        let post_only = get(&at, &operator, &mine).await.status == 405;
        assert!(!get(&there, &operator, &mine).await.status.is_success(), "{}: at the public listener", page.path);
        if page.closed {
            for browser in [&nobody, &customer] {
                if !post_only {
                    assert_eq!(get(&at, browser, &mine).await.header("location"), "/enter", "{}", page.path);
                }
                if page.takes_forms {
                    assert_eq!(forged(&at, browser, &mine, Some(OURS), None).await.header("location"), "/enter", "{}", page.path);
                }
            }
            // Open accounts are not opened again, and so on: that is a 409 of a page that is there.
            let by_operator = get(&at, &operator, &mine).await.status.as_u16();
            assert!(matches!(by_operator, 200 | 405 | 409), "{}: {by_operator}", page.path);
        }
        if page.path.contains('{') && !post_only {
            assert_eq!(get(&at, &operator, &nothing).await.status, 404, "{}: there is none", page.path);
        }
        if page.takes_forms {
            // Whoever enters has no session yet that a form could be of.
            let origins = [None, Some("https://evil.example"), Some(OURS)];
            for origin in if page.closed { &origins[..] } else { &origins[..2] } {
                let answer = forged(&at, &operator, &mine, *origin, Some("x")).await;
                assert_eq!(answer.status, 403, "{}: a form of {origin:?}", page.path);
            }
        } else {
            assert_eq!(forged(&at, &operator, &mine, Some(OURS), None).await.status, 405, "{} takes no forms", page.path);
        }
    }
    assert!(seen.len() >= 20, "{} pages are too few to prove anything", seen.len());
    rig.gone().await;
});
