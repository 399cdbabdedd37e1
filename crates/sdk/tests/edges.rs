//! The edges of the ABI: NULL, text that is none, licenses that are not good, homes and libraries that are not there.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
#![expect(unsafe_code, reason = "it is C's side of the ABI that is tested")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every call keeps to the contract of `abi`: NULL, or what lives longer than the call"
)]

use counterfoil_core::license::LICENSE_TYP;
use counterfoil_core::{DeviceId, GrantId, License, LicenseId, LicensedDevice};
use counterfoil_format::jws::sign_compact;
use counterfoil_format::jwt::{KeyList, ListedKey};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_sdk::abi::*;
use counterfoil_sdk::{Failure, File, Opened};
use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::{null, null_mut};

const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);
const OTHER: DeviceId = DeviceId::from_bytes([2; 16]);
const ISSUED: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

/// Good for 30 days and 7 more.
fn license() -> License {
    License {
        iss: "authority.example".into(),
        sub: LicenseId::from_bytes([3; 16]),
        jti: "1".into(),
        iat: ISSUED,
        exp: Some(ISSUED + 30 * DAY),
        grace: 7 * DAY,
        ends: false,
        cnf: LicensedDevice { kid: DEVICE },
        title: "sky-raider".parse().unwrap(),
        release: "1.0.0".parse().unwrap(),
        grant: GrantId::from_bytes([4; 16]),
        trial: false,
        devices: 1,
        control_program: false,
        attributes: [("edition".to_owned(), "pro".to_owned())].into(),
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// What is asked, each part of it to be spoiled.
struct Question {
    token: CString,
    keys: CString,
    title: CString,
    device: CString,
    at: i64,
}

impl Question {
    fn good() -> Self {
        Self::of(&license())
    }

    fn of(license: &License) -> Self {
        Self::signed(license, &key(7), None)
    }

    fn signed(license: &License, signer: &SigningKey, retired_at: Option<i64>) -> Self {
        let keys = KeyList { keys: vec![ListedKey::new("k1", &key(7).verifying_key(), retired_at)] };
        Self {
            token: c(&sign_compact(LICENSE_TYP, "k1", license, signer)),
            keys: c(&serde_json::to_string(&keys).unwrap()),
            title: c("sky-raider"),
            device: c(&DEVICE.to_string()),
            at: ISSUED + DAY,
        }
    }

    /// Number and code; and what is read of a license that is good.
    fn ask(&self) -> (i32, String) {
        let (mut license, mut error) = (null_mut(), null_mut());
        let (token, keys, title, device) = (self.token.as_ptr(), self.keys.as_ptr(), self.title.as_ptr(), self.device.as_ptr());
        let number = unsafe { counterfoil_verify(token, keys, title, device, self.at, &raw mut license, &raw mut error) };
        assert_eq!(number == COUNTERFOIL_OK, !license.is_null(), "a license comes with a yes, and with nothing else");
        let code = taken(number, error);
        unsafe { counterfoil_license_free(license) };
        (number, code)
    }
}

/// The code of an error that is freed; `ok` where there is none.
fn taken(number: i32, error: *mut Failure) -> String {
    assert_eq!(number == COUNTERFOIL_OK, error.is_null(), "an error comes with every no, and with no yes");
    if error.is_null() {
        return "ok".to_owned();
    }
    let read = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned();
    let (code, message) = unsafe { (read(counterfoil_error_code(error)), read(counterfoil_error_message(error))) };
    assert!(!message.is_empty() && !unsafe { read(counterfoil_error_hint(error)) }.is_empty(), "{code}");
    unsafe { counterfoil_error_free(error) };
    code
}

fn refused(code: &str) -> (i32, String) {
    (1, code.to_owned())
}

fn usage() -> (i32, String) {
    (2, "usage".to_owned())
}

#[test]
fn a_good_license_says_what_it_says() {
    let question = Question::good();
    assert_eq!(question.ask(), (0, "ok".to_owned()));
    let mut license = null_mut();
    let (token, keys, title) = (question.token.as_ptr(), question.keys.as_ptr(), question.title.as_ptr());
    let number = unsafe { counterfoil_verify(token, keys, title, question.device.as_ptr(), question.at, &raw mut license, null_mut()) };
    assert_eq!(number, 0);
    let read = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned();
    unsafe {
        assert_eq!(read(counterfoil_license_token(license)), question.token.to_str().unwrap());
        assert_eq!(serde_json::from_str::<License>(&read(counterfoil_license_claims(license))).unwrap(), self::license());
        assert_eq!(read(counterfoil_license_attribute(license, c"edition".as_ptr())), "pro");
        assert!(counterfoil_license_attribute(license, c"colour".as_ptr()).is_null());
        assert!(counterfoil_license_attribute(license, c"\xff".as_ptr()).is_null());
        assert!(counterfoil_license_attribute(license, null()).is_null());
        assert_eq!(counterfoil_license_good_until(license), ISSUED + 30 * DAY);
        assert_eq!(counterfoil_license_grace_until(license), 0);
        assert_eq!(counterfoil_license_trial(license), 0);
        counterfoil_license_free(license);
    }
}

#[test]
fn time_counts_as_for_run() {
    let at = |at: i64| Question { at, ..Question::good() }.ask();
    assert_eq!(at(ISSUED + 30 * DAY - 1).1, "ok");
    assert_eq!(at(ISSUED + 37 * DAY - 1).1, "ok", "within the grace period");
    assert_eq!(at(ISSUED + 37 * DAY), refused("license_expired"));
    assert_eq!(at(i64::MAX), refused("license_expired"));
    assert_eq!(at(1).1, "ok", "a clock that is behind gains nothing and costs nothing");
    assert_eq!(at(-1), usage());
    let forever = License { exp: None, grace: 0, ..license() };
    assert_eq!(Question { at: i64::MAX, ..Question::of(&forever) }.ask().1, "ok");
    // By the clock of this computer: made long ago, and long over.
    let old = License { iat: 1_000_000_000, exp: Some(1_000_000_001), ..license() };
    assert_eq!(Question { at: 0, ..Question::of(&old) }.ask(), refused("license_expired"));
    let mut license = null_mut();
    let late = Question { at: ISSUED + 31 * DAY, ..Question::good() };
    let (token, keys, title) = (late.token.as_ptr(), late.keys.as_ptr(), late.title.as_ptr());
    unsafe {
        assert_eq!(counterfoil_verify(token, keys, title, late.device.as_ptr(), late.at, &raw mut license, null_mut()), 0);
        assert_eq!(counterfoil_license_grace_until(license), ISSUED + 37 * DAY, "people are to be warned");
        counterfoil_license_free(license);
    }
}

#[test]
fn what_is_not_this_license_is_refused() {
    let good = Question::good;
    assert_eq!(Question { device: c(&OTHER.to_string()), ..good() }.ask(), refused("run_not_permitted"));
    assert_eq!(Question { title: c("sea-raider"), ..good() }.ask(), refused("license_invalid"));
    assert_eq!(Question::signed(&license(), &key(8), None).ask(), refused("license_invalid"));
    assert_eq!(Question::signed(&license(), &key(7), Some(ISSUED - 1)).ask(), refused("license_invalid"), "its key was retired before");
    assert_eq!(Question::signed(&license(), &key(7), Some(ISSUED)).ask().1, "ok");
    assert_eq!(Question { keys: c(r#"{"keys":[]}"#), ..good() }.ask(), refused("license_invalid"));
    let other_kind = c(&sign_compact("counterfoil-rights+jwt", "k1", &license(), &key(7)));
    assert_eq!(Question { token: other_kind, ..good() }.ask(), refused("license_invalid"));
    for garbage in ["", ".", "..", "...", "{", "{}", "null", "é", &"a".repeat(1 << 20)] {
        assert_eq!(Question { token: c(garbage), ..good() }.ask(), refused("license_invalid"), "{:.9}", garbage);
    }
}

/// Not one bit of a license can be changed.
#[test]
fn a_license_with_any_letter_changed_is_refused() {
    let token = Question::good().token.into_bytes();
    for at in 0..token.len() {
        let mut changed = token.clone();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let question = Question { token: CString::new(changed).unwrap(), ..Question::good() };
        assert_eq!(question.ask(), refused("license_invalid"), "letter {at}");
    }
}

#[test]
fn mistakes_of_the_caller_are_said_and_do_no_harm() {
    let good = Question::good;
    let not_text = || CString::new([0xff, 0xfe]).unwrap();
    for question in [
        Question { token: not_text(), ..good() },
        Question { keys: not_text(), ..good() },
        Question { title: not_text(), ..good() },
        Question { device: not_text(), ..good() },
        Question { keys: c("no keys"), ..good() },
        Question { keys: c(""), ..good() },
        Question { title: c(""), ..good() },
        Question { title: c("../../etc"), ..good() },
        Question { device: c("dev-0"), ..good() },
        Question { device: c(""), ..good() },
    ] {
        assert_eq!(question.ask(), usage());
    }
    let (token, keys, title) = (good().token, good().keys, good().title);
    for (token, keys, title) in
        [(null(), keys.as_ptr(), title.as_ptr()), (token.as_ptr(), null(), title.as_ptr()), (token.as_ptr(), keys.as_ptr(), null())]
    {
        let mut error = null_mut();
        let number = unsafe { counterfoil_verify(token, keys, title, null(), 0, null_mut(), &raw mut error) };
        assert_eq!((number, taken(number, error)), usage());
        // Nobody wants to know why, and it is no yes all the same.
        assert_eq!(unsafe { counterfoil_verify(token, keys, title, null(), 0, null_mut(), null_mut()) }, 2);
    }
}

#[test]
fn what_is_null_is_nothing() {
    assert_eq!(counterfoil_abi_version(), COUNTERFOIL_ABI_VERSION);
    unsafe {
        counterfoil_license_free(null_mut());
        counterfoil_error_free(null_mut());
        counterfoil_close(null_mut());
        counterfoil_file_close(null_mut());
        counterfoil_entries_free(null_mut());
        assert!(counterfoil_license_token(null()).is_null() && counterfoil_license_claims(null()).is_null());
        assert!(counterfoil_license_attribute(null(), c"edition".as_ptr()).is_null());
        assert_eq!((counterfoil_license_good_until(null()), counterfoil_license_grace_until(null())), (0, 0));
        assert_eq!(counterfoil_license_trial(null()), 0);
        assert!(counterfoil_error_code(null()).is_null() && counterfoil_error_message(null()).is_null());
        assert!(counterfoil_error_hint(null()).is_null());
        assert_eq!((counterfoil_file_size(null()), counterfoil_entries_count(null())), (0, 0));
        assert!(counterfoil_entries_name(null(), 0).is_null());
        assert_eq!((counterfoil_entries_kind(null(), 0), counterfoil_entries_size(null(), 0)), (0, 0));
    }
    let (mut count, mut error) = (1_usize, null_mut());
    let number = unsafe { counterfoil_file_read(null(), 0, null_mut(), 0, &raw mut count, &raw mut error) };
    assert_eq!((number, taken(number, error)), usage());
    let (mut file, mut error): (*mut File, _) = (null_mut(), null_mut());
    let number = unsafe { counterfoil_file_open(null(), c"game".as_ptr(), &raw mut file, &raw mut error) };
    assert_eq!((number, taken(number, error)), usage());
    let number = unsafe { counterfoil_list(null(), null(), null_mut(), null_mut()) };
    assert_eq!(number, 2);
}

/// What stood in an out-parameter before is not taken for a handle.
#[test]
fn out_parameters_are_set_whatever_comes_of_the_call() {
    let stale = std::ptr::dangling_mut();
    let (mut license, mut error) = (stale, std::ptr::dangling_mut());
    let number = unsafe { counterfoil_verify(null(), null(), null(), null(), 0, &raw mut license, &raw mut error) };
    assert!(license.is_null());
    assert_eq!((number, taken(number, error)), usage());
}

fn path(path: &std::path::Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

#[test]
fn without_home_or_library_there_is_no_yes_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let (home, library) = (directory.path().join("home"), directory.path().join("library"));
    let ask = |keys: *const c_char| {
        let (mut license, mut error) = (null_mut(), null_mut());
        let (home, library) = (path(&home), path(&library));
        let (title, at) = (c"sky-raider".as_ptr(), library.as_ptr());
        let checked = unsafe { counterfoil_check(title, keys, at, home.as_ptr(), &raw mut license, &raw mut error) };
        assert!(license.is_null());
        let said = (checked, taken(checked, error));
        let (mut opened, mut error): (*mut Opened, _) = (null_mut(), null_mut());
        let number = unsafe { counterfoil_open(title, keys, at, home.as_ptr(), null_mut(), &raw mut opened, &raw mut error) };
        assert!(opened.is_null());
        assert_eq!((number, taken(number, error)), said, "both judge alike");
        said
    };
    let everything = || std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(ask(null()), (3, "no_home".to_owned()));
    assert_eq!(everything(), 0);
    std::fs::create_dir(&home).unwrap();
    assert_eq!(ask(null()), (3, "no_library".to_owned()));
    std::fs::create_dir(&library).unwrap();
    std::fs::write(library.join("library.json"), r#"{"counterfoil_library":1}"#).unwrap();
    assert_eq!(ask(null()), (3, "no_title".to_owned()));
    assert_eq!(ask(c"no keys".as_ptr()), usage());
    assert_eq!((everything(), std::fs::read_dir(&home).unwrap().count()), (2, 0), "who looks leaves no traces");
    std::fs::write(library.join("library.json"), "{").unwrap();
    assert_eq!(ask(null()), (3, "damaged".to_owned()));
}
