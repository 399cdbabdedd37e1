//! One line about a person: a JSON object whose members are checked one by one, so that what is wrong is told by its column.

use counterfoil_core::{DeviceId, UserId};
use serde::Deserialize;

use crate::actions::checks::check_text;
use crate::actions::shop::{self, Checked};
use crate::api::shop::{NewDevice, NewUser};
use crate::problem::Problem;
use crate::store::device_info::Described;

/// Devices of one line: more than any policy allows one user.
const MOST_DEVICES: usize = 100;

/// A line that can be meant.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who, where the line says so.
    pub user: Option<UserId>,
    /// What the person was known by elsewhere.
    pub reference: Option<String>,
    /// The person; nobody where the line is about devices of somebody who is known.
    pub person: Option<Checked>,
    /// What they have.
    pub devices: Vec<Described>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, if that can be said.
    pub column: Option<&'static str>,
    /// What.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    devices: Vec<GivenDevice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenDevice {
    #[serde(default)]
    device_id: String,
    #[serde(default)]
    maker: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it: of several things the first.
    pub fn parse(text: &[u8]) -> Result<Self, Wrong> {
        // A list would be read as the members in their order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(Wrong { column: None, reason: "it is no JSON object of a person".to_owned() });
        }
        let given: Given = serde_json::from_slice(text).map_err(|error| Wrong { column: None, reason: unreadable(&error) })?;
        let user = filled(given.user_id).map(|text| text.parse::<UserId>()).transpose().map_err(|error| at("user_id", error))?;
        let reference = filled(given.reference);
        if let Some(reference) = &reference {
            check_text(reference).map_err(|problem| at("reference", said(problem)))?;
        }
        let person = match filled(given.name) {
            Some(name) => Some(person(name, given.email, given.address)?),
            None if filled(given.email).is_some() || filled(given.address).is_some() => return Err(at("name", "it is missing")),
            None => None,
        };
        if person.is_none() && user.is_none() {
            return Err(at("name", "it is missing"));
        }
        if person.is_none() && given.devices.is_empty() {
            return Err(at("name", "it is missing, and there is no device either"));
        }
        if given.devices.len() > MOST_DEVICES {
            return Err(at("device_id", format!("at most {MOST_DEVICES} devices a line")));
        }
        let devices = given.devices.into_iter().map(device).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { user, reference, person, devices })
    }
}

/// The rules are those of a shop; asked one after the other, each is told of its column.
fn person(name: String, email: Option<String>, address: Option<String>) -> Result<Checked, Wrong> {
    let check = |email: Option<String>, address: Option<String>| Checked::new(NewUser { name: name.clone(), email, address, device: None });
    check(None, None).map_err(|problem| at("name", said(problem)))?;
    check(email.clone(), None).map_err(|problem| at("email", said(problem)))?;
    check(email, address).map_err(|problem| at("address", said(problem)))
}

fn device(given: GivenDevice) -> Result<Described, Wrong> {
    let device_id: DeviceId = given.device_id.trim().parse().map_err(|error| at("device_id", error))?;
    let of = |maker, model, name| shop::described(NewDevice { device_id, maker, model, name });
    of(given.maker.clone(), None, None).map_err(|problem| at("maker", said(problem)))?;
    of(None, given.model.clone(), None).map_err(|problem| at("model", said(problem)))?;
    of(given.maker, given.model, given.name).map_err(|problem| at("device_name", said(problem)))
}

fn filled(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn at(column: &'static str, reason: impl ToString) -> Wrong {
    let reason = reason.to_string();
    // What a shop is told begins with the column.
    Wrong {
        column: Some(column),
        reason: reason.strip_prefix(column).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&reason).to_owned(),
    }
}

fn said(problem: Problem) -> String {
    problem.detail.unwrap_or(problem.title)
}

/// Without the place in the text: lines are numbered by whoever hands them in.
fn unreadable(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let words = said.split(" at line ").next().unwrap_or_default();
    format!("it is no JSON object of a person: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (Option<&'static str>, String) {
        let wrong = Line::parse(text.as_bytes()).expect_err(text);
        (wrong.column, wrong.reason)
    }

    #[test]
    fn a_line_is_a_person_with_devices_or_devices_of_somebody() {
        let device = DeviceId::from_bytes([1; 16]);
        let user = UserId::from_bytes([2; 16]);
        let line = format!(r#"{{"name":" Ada ","email":"","devices":[{{"device_id":"{device}","name":"desk"}}]}}"#);
        let line = Line::parse(line.as_bytes()).expect("good");
        assert_eq!(line.person.map(|person| person.person().name.clone()), Some("Ada".to_owned()));
        assert_eq!(line.devices.iter().map(|one| (one.device, one.name.as_deref())).collect::<Vec<_>>(), [(device, Some("desk"))]);
        let line = format!(r#"{{"user_id":"{user}","devices":[{{"device_id":"{device}"}}]}}"#);
        assert!(Line::parse(line.as_bytes()).is_ok_and(|line| line.person.is_none() && line.user == Some(user)));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_column() {
        let long = "x".repeat(201);
        let device = DeviceId::from_bytes([1; 16]);
        let cases = [
            ("x".to_owned(), None),
            ("[]".to_owned(), None),
            (r#"{"nmae":"Ada"}"#.to_owned(), None),
            (r#"{"user_id":"usr-x","name":"Ada"}"#.to_owned(), Some("user_id")),
            (r#"{"email":"ada@example.org"}"#.to_owned(), Some("name")),
            (format!(r#"{{"name":"{long}"}}"#), Some("name")),
            (format!(r#"{{"name":"Ada","reference":"{long}"}}"#), Some("reference")),
            (r#"{"name":"Ada","email":"ada"}"#.to_owned(), Some("email")),
            (format!(r#"{{"name":"Ada","address":"{}"}}"#, long.repeat(6)), Some("address")),
            (r#"{"name":"Ada","devices":[{}]}"#.to_owned(), Some("device_id")),
            (format!(r#"{{"name":"Ada","devices":[{{"device_id":"{device}","model":"{long}"}}]}}"#), Some("model")),
            (format!(r#"{{"name":"Ada","devices":[{{"device_id":"{device}","maker":"{long}"}}]}}"#), Some("maker")),
            (format!(r#"{{"name":"Ada","devices":[{{"device_id":"{device}","name":"{}"}}]}}"#, "x".repeat(101)), Some("device_name")),
        ];
        for (text, column) in cases {
            assert_eq!(wrong(&text).0, column, "{text}");
        }
        assert!(wrong(r#"{"nmae":"Ada"}"#).1.contains("nmae") && !wrong(r#"{"nmae":"Ada"}"#).1.contains("column"));
    }
}
