//! A row about a person, or about a device of one, as the authority takes it.

use serde_json::{Map, Value, json};

use super::rows::Row;

/// Columns of a person.
const PERSON: [&str; 5] = ["user_id", "reference", "name", "email", "address"];
/// Columns of a device, and what they are called within a list of devices.
const DEVICE: [(&str, &str); 4] = [("device_id", "device_id"), ("maker", "maker"), ("model", "model"), ("device_name", "name")];
/// A list of devices, in JSON Lines.
const DEVICES: &str = "devices";
/// Of an export: who wrote it down, and when. Not taken over.
const SAID: [&str; 2] = ["created_by", "created_at"];
/// Of an export: that this is over.
const OVER: [&str; 2] = ["erased_at", "retired_at"];

/// Whether there is such a column.
pub fn is_column(name: &str) -> bool {
    let device = DEVICE.iter().map(|(column, _)| *column);
    device.chain(PERSON).chain(SAID).chain(OVER).chain([DEVICES]).any(|column| column == name)
}

/// The columns, for people.
pub fn columns() -> String {
    PERSON.into_iter().chain(DEVICE.iter().map(|(column, _)| *column)).collect::<Vec<_>>().join(", ")
}

/// What the authority is told; nothing of an export's row about a person who was erased or a device that was taken out.
///
/// # Errors
/// The column and what is wrong there.
pub fn line(row: &Row) -> Result<Option<Value>, (String, String)> {
    let fields = &row.fields;
    if let Some(unknown) = fields.keys().find(|name| !is_column(name)) {
        return Err((unknown.clone(), format!("there is no such column; those are {}", columns())));
    }
    if OVER.iter().any(|column| fields.contains_key(*column)) {
        return Ok(None);
    }
    let mut line = Map::new();
    for column in PERSON {
        if let Some(text) = text(fields, column)? {
            line.insert(column.to_owned(), text.into());
        }
    }
    let mut devices = match fields.get(DEVICES) {
        None => vec![],
        Some(Value::Array(devices)) => devices.clone(),
        Some(_) => return Err((DEVICES.to_owned(), "it is a list, which only JSON Lines can hold".to_owned())),
    };
    let mut device = Map::new();
    for (column, name) in DEVICE {
        if let Some(text) = text(fields, column)? {
            device.insert(name.to_owned(), text.into());
        }
    }
    if !device.is_empty() {
        if !device.contains_key("device_id") {
            return Err(("device_id".to_owned(), "it is missing, and the row says something of the device".to_owned()));
        }
        devices.push(device.into());
    }
    line.insert(DEVICES.to_owned(), json!(devices));
    Ok(Some(line.into()))
}

fn text(fields: &Map<String, Value>, column: &str) -> Result<Option<String>, (String, String)> {
    match fields.get(column) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // A customer number that somebody has written as one.
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err((column.to_owned(), "it is a text".to_owned())),
    }
}
