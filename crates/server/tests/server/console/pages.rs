//! What the pages say: of everything, to whom, and that what strangers have filled in stays text.

use counterfoil_server::auth::Role;
use counterfoil_server::router;

use super::browser::{Browser, text};
use super::catalogue::{Answer, TestServer};
use super::support::{TestDb, db_test};
use super::things::{FIELDS, Things, harm, tamed};
use super::worker::{Worker, link};

/// What no page of the console may hold or leave out.
fn check(path: &str, answer: &Answer) {
    let (page, policy) = (text(answer), answer.header("content-security-policy").to_owned());
    assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    assert!(policy.contains("form-action 'self'") && policy.contains("base-uri 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!((answer.header("x-content-type-options"), answer.header("cache-control")), ("nosniff", "no-store"), "{path}");
    assert!(!page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="), "{path} has something inline");
    assert!(!page.contains("<b id="), "{path}: {page}");
    assert!(page.len() < 150_000, "{path} has {} bytes", page.len());
    assert!(!page.contains("src=\"http") && !page.contains("src=\"//") && !page.contains("url("), "{path} fetches from elsewhere");
}

db_test!(what_strangers_fill_in_is_text_on_every_page, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let things = Things::new(&server, &db).await;
    let (_, set_up) = link(&server, Role::Support, None, &harm("staff-name")).await;
    let mut operator = Worker::new(&server, Role::Operator, None).await;
    db.run("UPDATE session SET agent = 'agent\"''><b id=agent>'").await;
    let mut seen = String::new();
    let routes = router::pages(&server.app).into_iter().filter(|(path, methods)| path.starts_with("/console") && methods.contains(&"GET"));
    let mut addresses: Vec<String> = routes.map(|(path, _)| things.address(path)).collect();
    addresses.extend(["/console/search?q=night", "/console/search?q=raider", "/console/search?q=%3Cb%20id%3Dasked%3E"].map(str::to_owned));
    addresses.push(set_up);
    for path in addresses {
        let shown = operator.browser.get(&server, &path).await;
        let kind = shown.header("content-type").to_owned();
        assert!(shown.status.as_u16() < 500, "{path}: {}", text(&shown));
        if kind.starts_with("text/html") {
            check(&path, &shown);
            seen.push_str(&text(&shown));
        }
    }
    for field in FIELDS.into_iter().chain(["staff-name", "agent", "asked"]) {
        assert!(seen.contains(&tamed(field)), "{field} is on no page, so this test says nothing of it");
    }
});

db_test!(c14_one_box_finds_everything_and_opens_what_is_one_thing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let things = Things::new(&server, &db).await;
    let Things { user, card, device, drive, medium, batch, order, license, .. } = &things;
    let mut operator = Worker::new(&server, Role::Operator, None).await;
    let find = async |browser: &mut Browser, asked: &str| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", asked).finish();
        let answer = browser.get(&server, &format!("/console/search?{query}")).await;
        (answer.status.as_u16(), answer.header("location").to_owned())
    };
    for (asked, goes) in [
        (user.clone(), format!("/console/users/{user}")),
        (user.to_lowercase(), format!("/console/users/{user}")),
        (card.clone(), format!("/console/cards/{card}")),
        (device.clone(), format!("/console/devices/{device}")),
        (drive.clone(), format!("/console/drives/{drive}")),
        ("drv-00000000000000000000000000-0".to_owned(), String::new()),
        (medium.clone(), format!("/console/media/{medium}")),
        (batch.clone(), format!("/console/batches/{batch}")),
        (order.clone(), format!("/console/orders/{user}/{order}")),
        (license.clone(), format!("/console/users/{user}")),
        ("sky-raider".to_owned(), "/console/titles/sky-raider".to_owned()),
        ("sky-raider 1.0".to_owned(), "/console/titles/sky-raider/releases/1.0".to_owned()),
        ("person-name".to_owned(), format!("/console/users/{user}")),
        (harm("person-mail"), String::new()),
    ] {
        let (status, place) = find(&mut operator.browser, &asked).await;
        if goes.is_empty() {
            assert!(matches!(status, 200 | 303 | 404), "{asked}: {status}");
            continue;
        }
        assert_eq!((status, place.as_str()), (303, goes.as_str()), "{asked}");
        let page = operator.browser.get(&server, &goes).await;
        assert_eq!(page.status, 200, "{goes}: {}", text(&page));
    }
    // A typing error is told from an ID that nobody has.
    let mut mistyped = user.clone();
    mistyped.replace_range(5..6, if &user[5..6] == "7" { "8" } else { "7" });
    let wrong = text(&operator.browser.get(&server, &format!("/console/search?q={mistyped}")).await);
    assert!(wrong.contains("typing error"), "{wrong}");
    // A publisher finds its own, and nobody at all.
    let (mut fox, mut owl) =
        (Worker::new(&server, Role::Publisher, Some("blue-fox")).await, Worker::new(&server, Role::Publisher, Some("red-owl")).await);
    for own in [medium, batch] {
        assert_eq!(find(&mut fox.browser, own).await.0, 303, "{own}");
        assert_eq!(find(&mut owl.browser, own).await.0, 404, "{own}");
    }
    for person in [user, card, device, drive, order, license, "person-name"] {
        assert_eq!(find(&mut fox.browser, person).await.0, 404, "{person}");
    }
    let page = fox.page(&server, &format!("/console/media/{medium}")).await;
    assert!(page.contains("Copy claimed") && !page.contains(user.as_str()) && !page.contains(card.as_str()), "{page}");
});

db_test!(c14_a_users_page_says_what_they_hold_and_why_something_was_refused, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let things = Things::new(&server, &db).await;
    let mut support = Worker::new(&server, Role::Support, None).await;
    let page = support.page(&server, &format!("/console/users/{}", things.user)).await;
    for shown in [&things.card, &things.device, &things.drive, &things.order, &things.license] {
        assert!(page.contains(shown.as_str()), "{shown}: {page}");
    }
    assert!(page.contains("User, device and title are not registered together") || page.contains("user, device and title"), "{page}");
    assert!(page.contains("What helps:") && page.contains("Registered"), "{page}");
    // Support looks, and changes nothing: neither is it offered, nor is it there.
    assert!(!page.contains("/exchange") && !page.contains("/erase"), "{page}");
    assert_eq!(support.browser.get(&server, &format!("/console/users/{}/exchange", things.user)).await.status, 404);
    let mut repair = Worker::new(&server, Role::Repair, None).await;
    let page = repair.page(&server, &format!("/console/users/{}", things.user)).await;
    assert!(page.contains("/exchange") && page.contains("/reissue") && !page.contains("/erase"), "{page}");
});

db_test!(lists_of_many_rows_are_paged, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    crate::support::catalogue::publish(&server, "blue-fox", "sky-raider", "1.0").await;
    for _ in 0..3 {
        crate::support::catalogue::press(&server, &server.fox, "sky-raider", 1).await;
    }
    db.run(
        "INSERT INTO title (title_id, publisher_id, name, kind, created_at)
         SELECT 'many-' || CAST(a.n * 25 + b.n * 5 + c.n AS TEXT), 'blue-fox', 'Many', 'game', 1
         FROM (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) a,
              (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) b,
              (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) c",
    )
    .await;
    db.run("INSERT INTO content_key (title_id, generation, wrapped, created_at) SELECT t.title_id, 1, k.wrapped, 1 FROM title t, content_key k WHERE k.title_id = 'sky-raider' AND t.title_id <> 'sky-raider'").await;
    let mut fox = Worker::new(&server, Role::Publisher, Some("blue-fox")).await;
    let (mut path, mut rows, mut pages) = ("/console/titles".to_owned(), 0, 0);
    loop {
        let page = fox.page(&server, &path).await;
        rows += page.matches("<th scope=\"row\">").count();
        pages += 1;
        let Some(next) = page.split("rel=\"next\"").next().filter(|_| page.contains("rel=\"next\"")) else { break };
        path = next.rsplit("href=\"").next().unwrap().split('"').next().unwrap().replace("&#38;", "&");
    }
    assert_eq!((rows, pages), (126, 3));
});
