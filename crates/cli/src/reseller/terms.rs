//! `reseller terms`: a gateway's share, changed from a day on (C17).

use clap::Args;
use counterfoil_core::GatewayId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{fresh_key, path, percent, share};
use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;

/// Show a gateway's share from day to day, or change it from a day on
///
/// What was charged before keeps the share that it was charged under, in statements and settlements as well. What somebody is just being asked a price
/// for is charged under the share that held when they were asked.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil reseller terms gwy-…
  counterfoil reseller terms gwy-… --share 35
  counterfoil reseller terms gwy-… --share 35 --from 2026-12-01")]
pub struct Terms {
    /// Its ID
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
    /// Its share of every price from then on, in percent, to two decimals
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: Option<u32>,
    /// The day, in UTC, or a moment such as 2026-12-01T06:00:00Z; from now on where it is not said
    #[arg(long, value_name = "DATE", requires = "share", value_parser = moment)]
    from: Option<String>,
}

/// A share from a moment on, as the authority shows it.
#[derive(Deserialize, Serialize)]
pub(super) struct Since {
    since: String,
    share: u32,
    created_at: String,
}

impl Since {
    /// A line of a list.
    pub fn words(&self) -> String {
        format!("    {} since {}\n", percent(self.share), self.since)
    }
}

impl Terms {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let at = path(self.gateway, "/terms");
        let Some(share) = self.share else {
            let terms = api.all::<Since>(&at).collect::<Result<Vec<_>, _>>()?;
            return context.output.result(&json!({ "items": terms }), || terms.iter().map(Since::words).collect());
        };
        let set: Since = api.post(&at, Some(&fresh_key()), &json!({ "share": share, "from": self.from }))?;
        context.output.result(&set, || format!("{} of every price from {} on\n", percent(set.share), set.since))
    }
}

/// A day begins at midnight in UTC, as a month of a settlement does; the authority reads the rest.
fn moment(text: &str) -> Result<String, String> {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_day = |text: &str| {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next(), parts.next(), parts.next());
        year.is_some_and(|part| digits(part, 4))
            && [month, day].iter().all(|part| part.is_some_and(|part| digits(part, 2)))
            && parts.next().is_none()
    };
    match text.split_once('T') {
        None if is_day(text) => Ok(format!("{text}T00:00:00Z")),
        Some((day, _)) if is_day(day) => Ok(text.to_owned()),
        _ => Err("a day is written as 2026-12-01".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_a_day_is_its_midnight_in_utc() {
        assert_eq!(moment("2026-12-01").as_deref(), Ok("2026-12-01T00:00:00Z"));
        assert_eq!(moment("2026-12-01T06:00:00+02:00").as_deref(), Ok("2026-12-01T06:00:00+02:00"));
        for bad in ["", "2026-12", "1.12.2026", "2026-12-01-01", "tomorrow", "2026-1-1"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
