//! What carries a request: its ID, its time, and its seal.

use counterfoil_core::wire::{ClaimResult, Operation};
use counterfoil_core::{Code, Timestamp};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use serde_json::json;

use super::one;
use crate::support::catalogue::{NOW, TestServer};
use crate::support::terminal::{self, DAY, Terminal, answer, exchange, refused, request, send};
use crate::support::{TestDb, db_test};

db_test!(one_request_id_with_two_contents_is_a_mismatch, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let mut owner = Terminal::new();
    let register = request(&server, owner.register_operation(None));
    exchange(&server, &owner.sealed(&server, &register, None)).await.unwrap();
    let mut other = register.clone();
    other.issued_at = Timestamp(register.issued_at.0 + 1);
    assert_eq!(refused(exchange(&server, &owner.sealed(&server, &other, None)).await), Code::RequestMismatch);
    owner.register(&server, None).await.unwrap();

    let claim = request(&server, Operation::Claim(owner.claim_operation(&medium)));
    let grants: ClaimResult =
        serde_json::from_value(exchange(&server, &owner.sealed(&server, &claim, Some(&medium))).await.unwrap()).unwrap();
    let mut other = claim.clone();
    other.issued_at = Timestamp(claim.issued_at.0 + 1);
    assert_eq!(refused(exchange(&server, &owner.sealed(&server, &other, Some(&medium))).await), Code::RequestMismatch);
    other.operation = owner.confirm_operation(&medium, &grants.grants);
    assert_eq!(refused(exchange(&server, &owner.sealed(&server, &other, None)).await), Code::RequestMismatch);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'delivered'").await, 1);
});

db_test!(a_clock_a_day_off_is_told_the_time, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let terminal = Terminal::new();
    for (offset, fresh) in [(DAY, true), (-DAY, true), (DAY + 1, false), (-DAY - 1, false), (3650 * DAY, false)] {
        let mut asked = request(&server, terminal.register_operation(None));
        asked.issued_at = Timestamp(NOW.0 + offset);
        let answer = answer(&server, send(&server, &terminal.sealed(&server, &asked, None)).await);
        assert_eq!((answer.request_id, answer.server_time), (asked.request_id, NOW));
        let outcome = terminal::OutcomeResult::outcome_result(answer);
        assert_eq!(outcome.is_ok(), fresh, "{offset}");
        outcome.err().into_iter().for_each(|refusal| assert_eq!(refusal.code, Code::ClockSkewed));
    }
});

db_test!(c19_an_envelope_that_was_touched_is_not_opened, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let terminal = Terminal::new();
    let sealed = terminal.sealed(&server, &request(&server, terminal.register_operation(None)), None);
    let whole: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
    let ct = from_base64url(whole["ct"].as_str().unwrap()).unwrap();
    let mut bad = vec![json!({}), json!(null), json!({ "kid": whole["kid"], "enc": whole["enc"], "ct": "" })];
    for place in (0..ct.len()).step_by(97) {
        let mut changed = ct.clone();
        changed[place] ^= 1;
        bad.push(json!({ "kid": whole["kid"], "enc": whole["enc"], "ct": to_base64url(&changed) }));
    }
    bad.push(json!({ "kid": whole["kid"], "enc": whole["enc"], "ct": to_base64url(&ct[..ct.len() - 1]) }));
    bad.push(json!({ "kid": "seal-0000000000000000", "enc": whole["enc"], "ct": whole["ct"] }));
    bad.push(json!({ "kid": whole["kid"], "enc": whole["enc"], "ct": whole["ct"], "x": 1 }));
    for bad in &bad {
        let answer = send(&server, bad.to_string().as_bytes()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "envelope_invalid"), "{bad}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
    }
    assert_eq!(db.number("SELECT count(*) FROM holder").await, 0);
    exchange(&server, &sealed).await.unwrap();
});
