//! How the console says what the database and the audit log hold: roles, states, events, refusals.

use counterfoil_core::{Code, Kind, Timestamp};

use crate::auth::Role;
use crate::clock::rfc3339;

/// As what somebody works here.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Operator => "Operator",
        Role::Publisher => "Publisher",
        Role::Repair => "Repair centre",
        Role::Support => "Support",
        Role::Shop => "Shop",
        Role::Provider => "Provider",
        Role::Gateway => "Gateway",
        Role::User => "User",
    }
}

/// What kind of title.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Game => "Game",
        Kind::Music => "Music",
        Kind::Movie => "Film",
        Kind::App => "Application",
    }
}

/// A state as a coloured word: `{{ chip.text }}` in the class `chip {{ chip.tone }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// The word. It says all by itself; the colour repeats it.
    pub text: String,
    /// `good`, `bad`, `warn` or nothing.
    pub tone: &'static str,
}

impl Chip {
    /// Without a colour.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: "" }
    }

    /// As it should be.
    pub fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: "good" }
    }

    /// Somebody should look at it.
    pub fn warn(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: "warn" }
    }

    /// Ended, refused, dead.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: "bad" }
    }

    /// Of a state as the tables hold it.
    pub fn of(state: &str) -> Self {
        let text = match state {
            "settled" => "complete",
            "due" => "to be paid",
            other => other,
        };
        match state {
            "active" | "registered" | "settled" | "paid" | "done" | "delivered" | "unclaimed" => Self::good(text),
            "waiting" | "expected" | "due" | "issued" | "held" => Self::warn(text),
            "dead" | "revoked" | "retired" | "ended" | "declined" | "failed" | "withdrawn" | "exchanged" => Self::bad(text),
            _ => Self::plain(text),
        }
    }
}

/// Why something was refused, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The stable name.
    pub code: String,
    /// What the person was told.
    pub message: String,
    /// What they can do next.
    pub hint: String,
    /// What was wrong in this case, where that is known.
    pub detail: Option<String>,
}

impl Why {
    /// Of a code as the audit log holds it.
    pub fn of(code: &str, detail: Option<String>) -> Self {
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        Self {
            code: code.to_owned(),
            message: known.map_or_else(|| code.to_owned(), |code| sentence(code.message())),
            hint: known.map_or("", |code| code.hint()).to_owned(),
            detail,
        }
    }
}

/// What stands in capitals because its source does, as a sentence.
fn sentence(message: &str) -> String {
    let lower = if message.chars().any(char::is_lowercase) { message.to_owned() } else { message.to_lowercase() };
    let mut letters = lower.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// A moment as the filters of the templates take it.
pub fn at(moment: Timestamp) -> String {
    rfc3339(moment)
}

/// `22 Nov 2026, 12:31`, in UTC, of a moment as the documents hold it.
pub fn moment(rfc3339: &str) -> String {
    rfc3339
        .parse::<jiff::Timestamp>()
        .map_or_else(|_| rfc3339.to_owned(), |at| at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%-d %b %Y, %H:%M").to_string())
}

/// Who did it, as the audit log names them, for people.
pub fn actor(actor: &str) -> String {
    if let Some(id) = actor.strip_prefix("staff:") {
        return format!("staff {id}");
    }
    for (prefix, name) in [("/token/", "token "), ("/session/", "the user, signed in"), ("/device/", "device "), ("/card/", "card ")] {
        if let Some(rest) = actor.strip_prefix(prefix) {
            return if name.ends_with(' ') { format!("{name}{rest}") } else { name.to_owned() };
        }
    }
    match actor {
        "/web" => "at the website".to_owned(),
        "operator" => "the operator, on the server".to_owned(),
        other => other.trim_start_matches('/').to_owned(),
    }
}

/// What an event of the audit log means.
pub fn event(event: &str) -> String {
    if let Ok(place) = EVENTS.binary_search_by_key(&event, |(known, _)| known) {
        return EVENTS[place].1.to_owned();
    }
    match event.strip_suffix(".refused") {
        Some(what) => format!("Refused: {}", what.replace('_', " ")),
        None => event.replace(['.', '_'], " "),
    }
}

/// In the order of the alphabet.
const EVENTS: &[(&str, &str)] = &[
    ("account.address_asked", "Another e-mail address was asked for"),
    ("account.address_changed", "E-mail address changed"),
    ("account.address_confirmed", "E-mail address confirmed"),
    ("account.code_refused", "A wrong one-time code at sign-in"),
    ("account.codes_off", "One-time codes turned off"),
    ("account.codes_on", "One-time codes turned on"),
    ("account.made", "Account made"),
    ("account.passkey_kept", "Passkey added"),
    ("account.passkey_removed", "Passkey removed"),
    ("account.password_changed", "Password changed"),
    ("account.password_refused", "A wrong password, asked for again"),
    ("account.password_reset", "Password reset"),
    ("account.recovery_codes_drawn", "New recovery codes for the account"),
    ("account.recovery_refused", "A wrong recovery code for the account"),
    ("account.reset_asked", "A link for a forgotten password was mailed"),
    ("account.session_ended", "Signed out"),
    ("account.sessions_ended", "Signed out everywhere"),
    ("account.sign_in_refused", "A wrong password at sign-in"),
    ("account.signed_in", "Signed in"),
    ("balance.topped_up", "Balance topped up"),
    ("batch.made", "Batch made"),
    ("batch.refresh_ordered", "Refresh of all its media ordered"),
    ("batch.rights_changed", "Rights of all its media changed"),
    ("card.reissue_asked", "A new card was asked for"),
    ("card.reissue_declined", "The new card was declined"),
    ("card.replaced", "Card replaced; the old one is dead"),
    ("card.revoked", "Card revoked"),
    ("channel.changed", "Channel changed"),
    ("claim.granted", "Copy claimed"),
    ("claim.repeated", "The same copy claimed again, before it was complete"),
    ("content_key.handed_out", "Content key handed to the publisher"),
    ("copy.confirmed", "Copy complete"),
    ("delta.published", "Delta published"),
    ("device.announced", "Device announced: it may register"),
    ("device.old_turned_up", "A device or drive that was exchanged has turned up, and was refused"),
    ("devices.active", "Devices counted"),
    ("feed.taken", "Feed taken"),
    ("grant.rebound", "Copies go on with the new card"),
    ("holder.registered", "Reserved for its user"),
    ("identities.pressed", "Identities of its media handed out"),
    ("inbox.done", "A job of a device is done"),
    ("library.healed", "A damaged copy healed"),
    ("license.confirmed", "Installation complete"),
    ("license.delivered", "License fetched"),
    ("license.issued", "License issued"),
    ("license.renewed", "License renewed"),
    ("license.reopened", "License reopened"),
    ("license.repeated", "The same license asked for again"),
    ("license.revoked", "License revoked"),
    ("license.transferred", "License moved to another device"),
    ("media.imported", "Media imported"),
    ("media.rights_changed", "Rights of some of its media changed"),
    ("medium.freed", "A copy is free again, after a repair"),
    ("medium.inspected", "Looked at"),
    ("medium.refresh_ordered", "Refresh ordered"),
    ("medium.refreshed", "Refreshed: it has proven itself under a newer claim secret"),
    ("medium.retired", "Taken out of use"),
    ("medium.rights_changed", "Rights changed"),
    ("medium.superseded_presented", "An old copy of this medium, or a clone, was presented and refused"),
    ("medium.verified", "Vouched for to a provider"),
    ("order.ended", "Order ended"),
    ("order.paid", "Order paid"),
    ("order.placed", "Ordered"),
    ("patch.published", "Patch published"),
    ("person.erased", "The person's data was erased"),
    ("picture.put", "Picture of the title changed"),
    ("picture.removed", "Picture of the title removed"),
    ("release.changed", "Release changed"),
    ("release.published", "Release published"),
    ("rule.removed", "Rule removed"),
    ("rule.set", "Rule set"),
    ("save_key.sealed", "Key for saves handed out"),
    ("selection.granted", "Supplement granted"),
    ("sign_in_name.released", "Sign-in name given up"),
    ("sign_in_name.taken", "Sign-in name taken"),
    ("staff.added", "Added to the staff"),
    ("staff.ended", "Ended"),
    ("staff.link_made", "One-time link made"),
    ("staff.set_up", "Password set up with the one-time link"),
    ("status.changed", "Status reported"),
    ("title.listed", "Listing in the store changed"),
    ("title.made", "Title made"),
    ("title.sent", "Sent to a device"),
    ("update.keys", "Keys for an update handed out"),
    ("update.repeated", "Keys for the same update handed out again"),
    ("upload.begun", "Upload begun"),
    ("upload.complete", "Upload complete"),
    ("upload.removed", "Upload removed"),
    ("user.assigned", "Written down by the shop"),
    ("user.exchanged", "Device or drive exchanged"),
    ("user.recovery_code_made", "Recovery code for the card made"),
    ("user.recovery_refused", "A wrong recovery code for the card"),
    ("user.registered", "Registered"),
    ("users.imported", "Users imported"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_refusals_are_told_in_words() {
        assert!(EVENTS.is_sorted_by_key(|(known, _)| known));
        assert_eq!(event("claim.granted"), "Copy claimed");
        assert_eq!(event("claim.refused"), "Refused: claim");
        assert_eq!(event("thing.new_event"), "thing new event");
        let why = Why::of("medium_spent", None);
        assert_eq!(why.message, "Content cannot be copied from this media");
        assert!(!why.hint.is_empty());
        assert_eq!(Why::of("<b>", None).message, "<b>");
    }
}
