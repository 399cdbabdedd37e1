//! One request for each route.

use counterfoil_core::{DeviceId, LicenseId, OrderId, ReissueId, UserId};
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::secret::Secret;
use counterfoil_server::web::assets;
use serde_json::{Value, json};

use super::things::{Things, feed, new_webhook, studio};
use crate::support::catalogue::{self, release};

/// Where a request to a route goes, and with which body. A route that is not here has not been thought about, and fails.
pub fn target(route: &str, things: &Things, exists: bool) -> (String, Vec<u8>) {
    let Things {
        batch,
        imported,
        medium,
        card,
        user,
        object,
        picture,
        token,
        colleague,
        studio: contents_server,
        provider,
        gateways,
        hooks,
    } = things;
    let (publisher, title) = if exists { ("blue-fox", "sky-raider") } else { ("no-one", "no-title") };
    let json = |path: String, body: Value| (path, body.to_string().into_bytes());
    let bare = |path: String| (path, vec![]);
    match route {
        "GET /"
        | "GET /healthz"
        | "GET /readyz"
        | "GET /metrics"
        | "GET /openapi.json"
        | "GET /.well-known/counterfoil"
        | "GET /.well-known/jwks.json"
        | "GET /v1/whoami"
        | "GET /v1/tokens"
        | "GET /v1/staff"
        | "GET /v1/publishers"
        | "GET /v1/titles"
        | "GET /v1/batches" => bare(route[4..].to_owned()),
        "POST /v1/terminal/exchange" | "POST /v1/terminal/inbox" => {
            json(route.split_once(' ').unwrap().1.to_owned(), json!({ "kid": "x", "enc": "x", "ct": "x" }))
        }
        "POST /v1/staff" => json("/v1/staff".into(), json!({ "role": "support", "name": "new" })),
        "POST /v1/staff/{id}/link" => bare(format!("/v1/staff/{colleague}/link")),
        "POST /v1/staff/{id}/end" => json(format!("/v1/staff/{colleague}/end"), json!({ "reason": "left" })),
        "POST /v1/tokens" => json("/v1/tokens".into(), json!({ "role": "operator", "name": "new" })),
        "DELETE /v1/tokens/{id}" => bare(format!("/v1/tokens/{token}")),
        "POST /v1/publishers" => json("/v1/publishers".into(), json!({ "id": "new-one", "name": "New" })),
        "GET /v1/publishers/{publisher}" => bare(format!("/v1/publishers/{publisher}")),
        "PUT /v1/publishers/{publisher}/key" => {
            json(format!("/v1/publishers/{publisher}/key"), json!({ "key": catalogue::publisher_key("blue-fox").1 }))
        }
        "POST /v1/titles" => json("/v1/titles".into(), json!({ "title": "new-title", "name": "N", "kind": "app", "publisher": publisher })),
        "GET /v1/titles/{title}" => bare(format!("/v1/titles/{title}")),
        "POST /v1/titles/{title}/content-key" => {
            let recipient = *SealingKey::from_seed(&Secret::new([7; 32])).public_key();
            json(format!("/v1/titles/{title}/content-key"), json!({ "recipient": recipient }))
        }
        "GET /v1/titles/{title}/releases" => bare(format!("/v1/titles/{title}/releases")),
        "POST /v1/titles/{title}/releases" => json(format!("/v1/titles/{title}/releases"), release("blue-fox", "sky-raider", "1.0")),
        "GET /v1/titles/{title}/releases/{version}" => bare(format!("/v1/titles/{title}/releases/1.0")),
        "PATCH /v1/titles/{title}/releases/{version}" => json(format!("/v1/titles/{title}/releases/1.0"), json!({ "notes": "New." })),
        "GET /v1/titles/{title}/channels/{channel}" => bare(format!("/v1/titles/{title}/channels/stable")),
        "PUT /v1/titles/{title}/channels/{channel}" => json(format!("/v1/titles/{title}/channels/stable"), json!({ "minimum": null })),
        "GET /v1/titles/{title}/deltas" => bare(format!("/v1/titles/{title}/deltas")),
        "POST /v1/titles/{title}/deltas" => {
            let length = catalogue::pack_bytes("sky-raider", "1.0").len();
            let deltas = json!({ "from": "1.0", "to": "1.1", "object": object, "length": length, "encoder": "zstd 1.5.7", "covered": 9 });
            json(format!("/v1/titles/{title}/deltas"), deltas)
        }
        "GET /v1/titles/{title}/patches" => bare(format!("/v1/titles/{title}/patches")),
        "POST /v1/titles/{title}/patches" => {
            let length = catalogue::pack_bytes("sky-raider", "1.0").len();
            let patch = json!({ "from": "1.0", "to": "1.1", "object": object, "length": length, "encoder": "zstd 1.5.7" });
            json(format!("/v1/titles/{title}/patches"), patch)
        }
        "HEAD /v1/contents/{object}" => bare(format!("/v1/contents/{object}")),
        // What is sent is what the store has, so that nobody can tell by the answer who put it there.
        "PUT /v1/contents/{object}" => (format!("/v1/contents/{object}"), catalogue::pack_bytes("sky-raider", "1.0")),
        "POST /v1/batches" => json("/v1/batches".into(), json!({ "titles": [{ "title": title }], "count": 1 })),
        "GET /v1/notices" => bare(format!("/v1/notices?titles={title}")),
        "GET /v1/batches/{batch}" => bare(format!("/v1/batches/{batch}")),
        "POST /v1/batches/{batch}/media" => json(format!("/v1/batches/{imported}/media"), json!({ "medium_id": "DISC-1" })),
        "GET /v1/batches/{batch}/identities" => bare(format!("/v1/batches/{batch}/identities")),
        "PATCH /v1/batches/{batch}/rights" => json(format!("/v1/batches/{batch}/rights"), json!({ "rights": { "copies": 2 } })),
        "POST /v1/batches/{batch}/media/rights" => json(format!("/v1/batches/{batch}/media/rights"), json!({ "rights": { "copies": 2 } })),
        "POST /v1/batches/{batch}/refresh" => json(format!("/v1/batches/{batch}/refresh"), json!({})),
        "PATCH /v1/media/{medium_id}/rights" => json(format!("/v1/media/{medium}/rights"), json!({ "rights": { "copies": 3 } })),
        "POST /v1/media/{medium_id}/refresh" => json(format!("/v1/media/{medium}/refresh"), json!({})),
        "GET /publish/media/{medium_id}" => bare(format!("/publish/media/{medium}")),
        "GET /v1/media/{medium_id}" => bare(format!("/v1/media/{medium}")),
        "POST /v1/media/{medium_id}/retire" => json(format!("/v1/media/{medium}/retire"), json!({ "reason": "x" })),
        "POST /v1/cards" => json("/v1/cards".into(), json!({ "cards": [card] })),
        "POST /v1/cards/{card_id}/revoke" => json(format!("/v1/cards/{card}/revoke"), json!({ "reason": "x" })),
        "POST /v1/users" => json("/v1/users".into(), json!({ "name": "Ada Lovelace" })),
        "POST /v1/users/{user_id}/devices" => {
            json(format!("/v1/users/{user}/devices"), json!({ "device_id": DeviceId::from_bytes([1; 16]) }))
        }
        "GET /v1/titles/{title}/rules" => bare(format!("/v1/titles/{title}/rules")),
        "POST /v1/titles/{title}/rules" => json(format!("/v1/titles/{title}/rules"), json!({ "status": { "vars": { "chapter": 3 } } })),
        "PUT /v1/titles/{title}/rules/{supplement}" => json(format!("/v1/titles/{title}/rules/chapter-4"), json!({ "condition": "true" })),
        "DELETE /v1/titles/{title}/rules/{supplement}" => bare(format!("/v1/titles/{title}/rules/chapter-4")),
        "GET /v1/contents-servers" => bare("/v1/contents-servers".into()),
        "POST /v1/contents-servers" => json("/v1/contents-servers".into(), studio(title)),
        "DELETE /v1/contents-servers/{server}" => bare(format!("/v1/contents-servers/{contents_server}")),
        "POST /v1/gateways" => json("/v1/gateways".into(), json!({ "name": "Arcade", "share": 3000 })),
        "DELETE /v1/gateways/{gateway}" => bare(format!("/v1/gateways/{}", gateways[1])),
        reseller if reseller.contains(" /v1/gateways") => {
            let (method, path) = reseller.split_once(' ').unwrap();
            let path = path.replace("{gateway}", &gateways[0]).replace("{title}", title);
            match (method, path.rsplit('/').next().unwrap()) {
                ("PUT", _) => json(path, json!({ "amount": 1999, "currency": "EUR" })),
                ("POST", "terms") => json(path, json!({ "share": 3500 })),
                ("POST", "settlements") => json(path, json!({ "period": "2025-01" })),
                (_, "statement") => bare(format!("{path}?period=2025-01")),
                _ => bare(path),
            }
        }
        "GET /v1/providers" => bare("/v1/providers".into()),
        "POST /v1/providers" => {
            json("/v1/providers".into(), json!({ "name": "Arcade", "url": "https://arcade.example", "publishers": [publisher] }))
        }
        "GET /v1/providers/{provider}" | "DELETE /v1/providers/{provider}" => bare(format!("/v1/providers/{provider}")),
        "POST /v1/webhooks" => json("/v1/webhooks".into(), new_webhook()),
        hook if hook.contains(" /v1/webhook") && hook.starts_with("POST ") => json(hooks.target(hook), json!({})),
        hook if hook.contains(" /v1/webhook") => bare(hooks.target(hook)),
        // What is not presented at all is no error: docs/providers.md.
        "POST /v1/verify" => json("/v1/verify".into(), json!({ "presentation": { "envelope": {} }, "challenge": "x".repeat(16) })),
        // A ticket that nobody made: tests/uploads.rs has those of others, and good ones.
        "HEAD /v1/uploads/{ticket}" | "PATCH /v1/uploads/{ticket}" | "DELETE /v1/uploads/{ticket}" => bare("/v1/uploads/ticket".into()),
        "GET /v1/orders" | "GET /v1/reissues" | "GET /v1/export" => bare(route[4..].to_owned()),
        "GET /v1/export/{what}" => bare("/v1/export/users".into()),
        "POST /v1/people" => json("/v1/people".into(), json!({ "name": "Ada Lovelace" })),
        // Of nobody: whose data is deleted is gone for every other route here.
        "POST /v1/people/{user_id}/erase" => json(format!("/v1/people/{}/erase", UserId::from_bytes([0xee; 16])), json!({ "reason": "x" })),
        "GET /v1/people/{user_id}" => bare(format!("/v1/people/{user}")),
        "GET /v1/entries" => bare(format!("/v1/entries?find={user}")),
        "GET /v1/entries/{user_id}" => bare(format!("/v1/entries/{user}")),
        // Of an entry that has nothing to exchange: tests/repair.rs and tests/reissue.rs have those that do.
        "POST /v1/entries/{user_id}/exchange" => {
            let old = DeviceId::from_bytes([0xee; 16]);
            json(format!("/v1/entries/{user}/exchange"), json!({ "kind": "device", "old": old, "reason": "x" }))
        }
        "POST /v1/entries/{user_id}/reissue" => json(format!("/v1/entries/{user}/reissue"), json!({ "reason": "x" })),
        "POST /v1/entries/{user_id}/reissues/{reissue_id}/decline" => {
            let reissue = ReissueId::from_bytes([0xee; 16]);
            json(format!("/v1/entries/{user}/reissues/{reissue}/decline"), json!({ "reason": "x" }))
        }
        "POST /v1/users/{user_id}/balance" => json(format!("/v1/users/{user}/balance"), json!({ "amount": 100, "currency": "EUR" })),
        // None of anybody is there: tests/idempotency_routes.rs sends them about orders and licenses that are.
        order if order.starts_with("POST /v1/users/{user_id}/orders/") || order.starts_with("POST /v1/users/{user_id}/licenses/") => {
            let path = order.split_once(' ').unwrap().1.replace("{user_id}", &user.to_string());
            let path = path.replace("{order_id}", &OrderId::from_bytes([1; 16]).to_string());
            json(path.replace("{license_id}", &LicenseId::from_bytes([1; 16]).to_string()), json!({ "note": "x" }))
        }
        "GET /v1/users/{user_id}" => bare(format!("/v1/users/{user}")),
        "GET /v1/audit" => bare(format!("/v1/audit?family=title:{title}")),
        "GET /v1/titles/{title}/listing" => bare(format!("/v1/titles/{title}/listing")),
        "PUT /v1/titles/{title}/listing" => json(format!("/v1/titles/{title}/listing"), catalogue::listing()),
        "PUT /v1/titles/{title}/pictures/{position}" => (format!("/v1/titles/{title}/pictures/2?alt=x"), catalogue::png(2)),
        "DELETE /v1/titles/{title}/pictures/{position}" => bare(format!("/v1/titles/{title}/pictures/2")),
        "GET /v1/store/titles" | "GET /store" => bare(route[4..].to_owned()),
        "GET /v1/store/titles/{title}" => bare(format!("/v1/store/titles/{title}")),
        "GET /v1/titles/{title}/feed" => bare(format!("/v1/titles/{title}/feed")),
        "PUT /v1/titles/{title}/feed" => json(format!("/v1/titles/{title}/feed"), feed()),
        "GET /v1/store/titles/{title}/feed" => bare(format!("/v1/store/titles/{title}/feed")),
        "GET /v1/store/titles/{title}/releases/{version}" => bare(format!("/v1/store/titles/{title}/releases/1.0")),
        "GET /pictures/{object}" => bare(format!("/pictures/{picture}")),
        "GET /store/{title}" => bare(format!("/store/{title}")),
        "GET /account/orders/{order}" | "POST /account/orders/{order}/refund" => {
            bare(route.split_once(' ').unwrap().1.replace("{order}", &OrderId::from_bytes([1; 16]).to_string()))
        }
        "GET /store/{title}/buy" | "POST /store/{title}/buy" => bare(format!("/store/{title}/buy")),
        "GET /publish/titles/{title}" | "POST /publish/titles/{title}" => bare(format!("/publish/titles/{title}")),
        // For whoever is signed in: tests/accounts.rs (and tests/store_catalogue.rs for /publish) tries them as such.
        page if ["/account", "/devices", "/transfer", "/shop", "/publish"]
            .iter()
            .any(|begin| page.split_once(' ').unwrap().1.starts_with(begin)) =>
        {
            bare(route.split_once(' ').unwrap().1.to_owned())
        }
        "GET /assets/{file}" => bare(if exists { assets::address("style.css") } else { "/assets/x".to_owned() }),
        "GET /contents/{object}" | "HEAD /contents/{object}" => bare(format!("/contents/{object}")),
        other => panic!("the route {other} is not in the table of roles: add it to `target`"),
    }
}
