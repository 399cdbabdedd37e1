//! What every operation of the API has in common, put into its description in one place: problems, reasons, the Idempotency-Key.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Completes a description that handlers wrote for what is theirs alone.
pub fn complete(openapi: &OpenApi) -> OpenApi {
    let mut document = serde_json::to_value(openapi).expect("a description is JSON");
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    serde_json::from_value(document).expect("a description with more responses is still one")
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let secured = operation.get("security").is_some();
    let mut statuses = vec!["429", "503", "default"];
    if secured {
        statuses.extend(["401", "403"]);
    }
    if path.contains('{') {
        statuses.push("404");
    }
    if operation.get("requestBody").is_some() {
        statuses.extend(["400", "413", "415", "422"]);
    }
    if secured && matches!(method, "post" | "patch" | "delete") {
        statuses.push("409");
        operation.as_object_mut().map(|operation| operation.entry("parameters").or_insert_with(|| json!([])));
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(idempotency_key());
        }
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for status in statuses {
        responses.entry(status).or_insert_with(|| json!({}));
    }
    for (status, response) in responses {
        if let Some(response) = response.as_object_mut() {
            complete_response(method, status, response);
        }
    }
}

fn complete_response(method: &str, status: &str, response: &mut Map<String, Value>) {
    let code = status.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let reason = code.and_then(|code| code.canonical_reason()).unwrap_or("Any other problem");
    if response.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
        response.insert("description".to_owned(), reason.into());
    }
    // The answer to a HEAD has no body (RFC 9110 §9.3.2).
    if method != "head" && code.is_none_or(|code| !code.is_success() && !code.is_redirection()) {
        let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        response.insert("content".to_owned(), problem);
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The same key and request within a day: one effect, and the same answer. Another request under it: 422.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
    })
}
