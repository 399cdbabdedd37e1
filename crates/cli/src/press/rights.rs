//! Rights as they are given on the command line.

use counterfoil_core::Rights;

use crate::failure::Failure;
use crate::units;

/// One `--right`.
pub type Right = (String, String);

/// `key=value`.
pub fn parse(text: &str) -> Result<Right, String> {
    let (key, value) = text.split_once('=').ok_or("a right is KEY=VALUE, such as transfer=no")?;
    if key.is_empty() || value.is_empty() {
        return Err("a right is KEY=VALUE, such as transfer=no".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// All of them together; what is not named is as usual.
pub fn all(copies: u32, given: &[Right]) -> Result<Rights, Failure> {
    let mut rights = Rights { copies, ..Rights::default() };
    for (key, value) in given {
        if key == "copies" {
            return Err(Failure::usage("the number of copies is given by `--copies`"));
        }
        set(&mut rights, key, value)?;
    }
    Ok(rights)
}

/// One right. What is none of these is the program's own.
pub fn set(rights: &mut Rights, key: &str, value: &str) -> Result<(), Failure> {
    match key {
        "copies" => rights.copies = number(key, value)?,
        "download" => rights.download = yes(key, value)?,
        "upload" => rights.upload = yes(key, value)?,
        "upload_mib" => rights.upload_mib = Some(number(key, value)?),
        "upload_readable" => rights.upload_readable = yes(key, value)?,
        "update" => rights.update = yes(key, value)?,
        "play" => rights.play = yes(key, value)?,
        "transfer" => rights.transfer = yes(key, value)?,
        "expires" => rights.expires_at = Some(units::read_moment(value).map_err(Failure::usage)?),
        _ => {
            rights.attributes.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

fn number(key: &str, value: &str) -> Result<u32, Failure> {
    value.parse().map_err(|_| Failure::usage(format!("the right {key} is a number, not {value}")))
}

fn yes(key: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(Failure::usage(format!("the right {key} is yes or no, not {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::Timestamp;

    fn given(texts: &[&str]) -> Result<Rights, Failure> {
        all(1, &texts.iter().map(|text| parse(text).expect("key and value")).collect::<Vec<_>>())
    }

    #[test]
    fn rights_are_read_and_the_rest_is_the_programs() {
        let rights = given(&["transfer=no", "upload=yes", "upload_mib=512", "upload_readable=yes", "expires=2027-01-01", "region=eu"])
            .expect("all good");
        assert_eq!((rights.transfer, rights.upload, rights.play), (false, true, true));
        assert_eq!((rights.upload_mib, rights.upload_readable), (Some(512), true));
        assert_eq!(rights.expires_at, Some(Timestamp(1_798_761_600_000)));
        assert_eq!(rights.attributes.get("region").map(String::as_str), Some("eu"));
        assert_eq!(given(&["expires=2027-01-01T00:00:00Z"]).expect("a moment").expires_at, rights.expires_at);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for bad in [["play=perhaps"], ["expires=tomorrow"], ["copies=3"], ["upload_mib=much"], ["upload_readable=1"]] {
            assert_eq!(given(&bad).expect_err("bad").code, "usage");
        }
        assert!(parse("play").is_err() && parse("=x").is_err() && parse("x=").is_err());
    }
}
