//! What was taken: fees, refunds, and what card holders object to.

use serde_json::{Value, json};

use crate::form::{self, Form};
use crate::state::{Refused, State};

/// What an objection costs.
const OBJECTION: u64 = 2000;

/// What is asked for a charge: 1.5 % and 0.25.
pub fn fee(amount: u64) -> u64 {
    amount * 15 / 1000 + 25
}

/// A charge is taken, and its fee is known.
pub(crate) fn settle(state: &mut State, intent: &Value, amount: u64) {
    let transaction = json!({ "id": state.name("txn"), "object": "balance_transaction", "amount": amount, "fee": fee(amount), "net": amount - fee(amount).min(amount),
        "currency": intent["currency"], "type": "charge" });
    if let Some(charge) = state.charges.get_mut(intent["latest_charge"].as_str().unwrap_or_default()) {
        charge["captured"] = true.into();
        charge["amount_captured"] = amount.into();
        charge["balance_transaction"] = transaction;
    }
}

fn charge_of(state: &State, intent: &str) -> Option<Value> {
    let charge = state.intents.get(intent)?["latest_charge"].as_str()?;
    state.charges.get(charge).cloned()
}

/// `POST /v1/refunds`
pub(crate) fn refund(state: &mut State, form: &Form) -> Result<Value, Refused> {
    let intent = form::get(form, "payment_intent").unwrap_or_default().to_owned();
    let mut charge = charge_of(state, &intent).ok_or_else(|| Refused::missing("payment_intent"))?;
    let (taken, gone) = (charge["amount_captured"].as_u64().unwrap_or(0), charge["amount_refunded"].as_u64().unwrap_or(0));
    if charge["disputed"] == true {
        return Err(Refused::invalid("charge_disputed", "The charge has been charged back."));
    }
    if gone >= taken {
        return Err(Refused::invalid("charge_already_refunded", "The charge has already been refunded."));
    }
    let amount = form::get(form, "amount").and_then(|text| text.parse().ok()).unwrap_or(taken - gone);
    if amount > taken - gone {
        return Err(Refused::invalid("", "Refund amount is greater than unrefunded amount on charge."));
    }
    let status = state.refunds_come_to.unwrap_or("succeeded");
    if status != "failed" {
        charge["amount_refunded"] = (gone + amount).into();
        state.charges.insert(charge["id"].as_str().unwrap_or_default().to_owned(), charge.clone());
    }
    let id = state.name("re");
    let refund = json!({ "id": id, "object": "refund", "amount": amount, "currency": charge["currency"], "payment_intent": intent,
        "metadata": form::nested(form, "metadata"), "status": status, "failure_reason": if status == "failed" { json!("expired_or_canceled_card") } else { Value::Null } });
    state.refunds.insert(id, refund.clone());
    state.tell("refund.created", &refund);
    Ok(refund)
}

/// `GET /v1/refunds?payment_intent=…`
pub(crate) fn refunds(state: &State, query: &Form) -> Value {
    let intent = form::get(query, "payment_intent");
    let data: Vec<&Value> =
        state.refunds.values().filter(|refund| intent.is_none() || refund["payment_intent"].as_str() == intent).collect();
    json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/refunds" })
}

/// A card holder objects.
pub(crate) fn object(state: &mut State, intent: &str, amount: Option<u64>, status: &str) -> Option<String> {
    let mut charge = charge_of(state, intent)?;
    let id = state.name("du");
    let left = charge["amount_captured"].as_u64().unwrap_or(0) - charge["amount_refunded"].as_u64().unwrap_or(0);
    let amount = amount.unwrap_or(left);
    let dispute = json!({ "id": id, "object": "dispute", "amount": amount, "currency": charge["currency"], "charge": charge["id"], "payment_intent": intent,
        "reason": "fraudulent", "status": status, "created": state.seconds(), "balance_transactions": transactions(status, amount, &charge["currency"]) });
    charge["disputed"] = (!status.starts_with("warning")).into();
    state.charges.insert(charge["id"].as_str().unwrap_or_default().to_owned(), charge);
    state.disputes.insert(id.clone(), dispute.clone());
    state.tell("charge.dispute.created", &dispute);
    Some(id)
}

/// An inquiry moves no money.
fn transactions(status: &str, amount: u64, currency: &Value) -> Value {
    match status.starts_with("warning") {
        true => json!([]),
        false => {
            json!([{ "amount": -i64::try_from(amount).unwrap_or(i64::MAX), "fee": OBJECTION, "currency": currency, "type": "adjustment" }])
        }
    }
}

/// The bank decides, or asks for more.
pub(crate) fn decide(state: &mut State, dispute: &str, status: &str) {
    let Some(known) = state.disputes.get_mut(dispute) else { return };
    known["status"] = status.into();
    if known["balance_transactions"].as_array().is_some_and(Vec::is_empty) {
        known["balance_transactions"] = transactions(status, known["amount"].as_u64().unwrap_or(0), &known["currency"].clone());
    }
    let known = known.clone();
    let kind = if matches!(status, "won" | "lost" | "warning_closed") { "charge.dispute.closed" } else { "charge.dispute.updated" };
    state.tell(kind, &known);
}

/// `GET /v1/disputes?created[gte]=…`, the newest first.
pub(crate) fn disputes(state: &State, query: &Form) -> Value {
    let from: i64 = form::get(query, "created[gte]").and_then(|text| text.parse().ok()).unwrap_or(0);
    let limit: usize = form::get(query, "limit").and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut all: Vec<&Value> = state.disputes.values().rev().filter(|one| one["created"].as_i64().unwrap_or(0) >= from).collect();
    if let Some(after) = form::get(query, "starting_after") {
        let at = all.iter().position(|one| one["id"].as_str() == Some(after)).map_or(0, |at| at + 1);
        all.drain(..at);
    }
    json!({ "object": "list", "has_more": all.len() > limit, "data": all.into_iter().take(limit).collect::<Vec<_>>(), "url": "/v1/disputes" })
}
