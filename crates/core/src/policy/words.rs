//! The terms of a title in plain words, the same on pages and on the command line.

use super::{Policy, SourceDevice};

impl Policy {
    /// One sentence for each thing that a buyer should know.
    pub fn in_words(&self) -> Vec<String> {
        let mut words = vec![self.term(), self.at_once()];
        words.extend(self.moving());
        words.push(self.lease());
        words.push(match self.refund_days {
            0 => "It cannot be given back.".to_owned(),
            days => format!("You can give it back within {} and get your money back.", counted(days, "day")),
        });
        if self.trial_days > 0 {
            words.push(format!("You can try it once for {} without paying.", counted(self.trial_days, "day")));
        }
        if self.control_program {
            words.push("A program of the publisher may run when it is installed and removed, shut off from your other files.".to_owned());
        }
        words
    }

    fn term(&self) -> String {
        match self.term_days {
            None => "It is yours for good.".to_owned(),
            Some(days) => format!("It lasts for {} from the purchase.", counted(days, "day")),
        }
    }

    fn at_once(&self) -> String {
        match self.devices {
            1 => "It runs on one of your devices at a time.".to_owned(),
            devices => format!("It runs on up to {devices} of your devices at a time."),
        }
    }

    fn moving(&self) -> Vec<String> {
        if self.transfers == 0 {
            return vec!["It cannot be moved to another device.".to_owned()];
        }
        let often = format!(
            "You can move it to another of your devices {} in {}, without paying again.",
            counted(self.transfers, "time"),
            counted(self.transfer_days, "day")
        );
        match self.source {
            SourceDevice::Kept => vec![often],
            SourceDevice::Deregistered => {
                vec![often, "Moving takes everything off the old device, which is no longer one of your devices then.".to_owned()]
            }
        }
    }

    fn lease(&self) -> String {
        let every = match self.lease_days {
            0 => return "It runs without the network, however long.".to_owned(),
            days => counted(days, "day"),
        };
        match self.grace_days {
            0 => format!("The device has to reach the network once in {every}."),
            grace => {
                format!("The device has to reach the network once in {every}; it warns for {} before it stops.", counted(grace, "day"))
            }
        }
    }
}

/// `one day`, `2 days`.
fn counted(count: u32, what: &str) -> String {
    if count == 1 { format!("one {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_terms_are_said_in_five_sentences() {
        assert_eq!(
            Policy::default().in_words(),
            [
                "It is yours for good.",
                "It runs on one of your devices at a time.",
                "You can move it to another of your devices 3 times in 30 days, without paying again.",
                "The device has to reach the network once in 30 days; it warns for 7 days before it stops.",
                "You can give it back within 14 days and get your money back.",
            ]
        );
    }

    #[test]
    fn every_term_is_said_where_it_differs() {
        let words = |policy: Policy| policy.in_words().join("\n");
        let usual = words(Policy::default());
        for (changed, said) in [
            (Policy { devices: 3, ..Policy::default() }, "up to 3 of your devices"),
            (Policy { transfers: 0, ..Policy::default() }, "cannot be moved"),
            (Policy { transfers: 1, transfer_days: 1, ..Policy::default() }, "one time in one day"),
            (Policy { source: SourceDevice::Deregistered, ..Policy::default() }, "no longer one of your devices"),
            (Policy { lease_days: 0, ..Policy::default() }, "without the network"),
            (Policy { grace_days: 0, ..Policy::default() }, "once in 30 days."),
            (Policy { refund_days: 0, ..Policy::default() }, "cannot be given back"),
            (Policy { trial_days: 5, ..Policy::default() }, "try it once for 5 days"),
            (Policy { term_days: Some(365), ..Policy::default() }, "lasts for 365 days"),
            (Policy { control_program: true, ..Policy::default() }, "program of the publisher"),
        ] {
            let found = words(changed);
            assert!(found.contains(said) && !usual.contains(said), "{said} in {found}");
        }
    }
}
