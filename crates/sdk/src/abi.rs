//! The C ABI: pointers become references and text here, and panics become failures. The only module with `unsafe` in it.
//!
//! # Safety
//! One contract for all functions, the caller's side of which `include/counterfoil.h` says: a pointer is NULL or points to what its type says,
//! for as long as the call lasts; text ends at a NUL; a handle came from this library, was not freed, and while it is freed no other thread uses
//! it; what is pointed to by an out-parameter or buffer is written by nobody else meanwhile.
#![expect(unsafe_code, reason = "a C ABI is made of raw pointers and exported names")]
#![expect(clippy::missing_safety_doc, reason = "one contract for all of them, at the head of the module")]

mod pointers;

use std::ffi::{CStr, c_char};
use std::{ptr, slice};

use counterfoil_core::Timestamp;

use crate::check::{self, Asked};
use crate::{Entries, Failure, File, License, Opened};
use pointers::{Out, answered, free, handle, keys_in, needed_text, path, text, title_in};

/// Version of this ABI: another one where something that programs rely on has changed, not where something was added.
pub const COUNTERFOIL_ABI_VERSION: u32 = 1;
/// What a function answers that did what it was asked; otherwise it is a [`crate::failure::Kind`].
pub const COUNTERFOIL_OK: i32 = 0;

/// `counterfoil_abi_version`
#[unsafe(no_mangle)]
pub extern "C" fn counterfoil_abi_version() -> u32 {
    COUNTERFOIL_ABI_VERSION
}

/// `counterfoil_verify`: [`check::verify`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_verify(
    token: *const c_char,
    keys: *const c_char,
    title: *const c_char,
    device: *const c_char,
    at: i64,
    license: *mut *mut License,
    error: *mut *mut Failure,
) -> i32 {
    // SAFETY: the contract of the module.
    let license = unsafe { Out::new(license) };
    let answer = || {
        // SAFETY: the contract of the module.
        let (token, keys, title, device) =
            unsafe { (needed_text("token", token)?, keys_in(keys)?, title_in(title)?, text("device", device)?) };
        let keys = keys.ok_or_else(|| Failure::usage("`keys` is NULL"))?;
        let device = device.map(|id| id.parse().map_err(|why| Failure::usage(&format!("`device` is no device ID: {why}")))).transpose()?;
        let at = match at {
            0 => None,
            1.. => Some(Timestamp(at.saturating_mul(1000))),
            _ => return Err(Failure::usage("`at` is before 1970")),
        };
        license.give(check::verify(token, &keys, &title, device, at)?);
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_check`: [`check::check`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_check(
    title: *const c_char,
    keys: *const c_char,
    library: *const c_char,
    home: *const c_char,
    license: *mut *mut License,
    error: *mut *mut Failure,
) -> i32 {
    // SAFETY: the contract of the module.
    let license = unsafe { Out::new(license) };
    let answer = || {
        // SAFETY: the contract of the module.
        let (title, keys, library, home) = unsafe { (title_in(title)?, keys_in(keys)?, path(library), path(home)) };
        let found = check::check(&Asked { title: &title, keys: keys.as_ref(), library, home })?;
        found.into_iter().for_each(|found| license.give(found));
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_license_token`: [`License::token`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_token(license: *const License) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { license.as_ref() }.map_or(ptr::null(), |license| license.token().as_ptr())
}

/// `counterfoil_license_claims`: [`License::claims`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_claims(license: *const License) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { license.as_ref() }.map_or(ptr::null(), |license| license.claims().as_ptr())
}

/// `counterfoil_license_attribute`: [`License::attribute`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_attribute(license: *const License, name: *const c_char) -> *const c_char {
    // SAFETY: the contract of the module.
    let (license, name) = unsafe { (license.as_ref(), text("name", name)) };
    let found = license.zip(name.ok().flatten()).and_then(|(license, name)| license.attribute(name));
    found.map_or(ptr::null(), CStr::as_ptr)
}

/// `counterfoil_license_good_until`: [`License::good_until`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_good_until(license: *const License) -> i64 {
    // SAFETY: the contract of the module.
    unsafe { license.as_ref() }.map_or(0, License::good_until)
}

/// `counterfoil_license_grace_until`: [`License::grace_until`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_grace_until(license: *const License) -> i64 {
    // SAFETY: the contract of the module.
    unsafe { license.as_ref() }.map_or(0, License::grace_until)
}

/// `counterfoil_license_trial`: [`License::trial`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_trial(license: *const License) -> i32 {
    // SAFETY: the contract of the module.
    unsafe { license.as_ref() }.is_some_and(License::trial).into()
}

/// `counterfoil_license_free`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_license_free(license: *mut License) {
    // SAFETY: the contract of the module.
    unsafe { free(license) }
}

/// `counterfoil_open`: [`Opened::open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_open(
    title: *const c_char,
    keys: *const c_char,
    library: *const c_char,
    home: *const c_char,
    license: *mut *mut License,
    opened: *mut *mut Opened,
    error: *mut *mut Failure,
) -> i32 {
    // SAFETY: the contract of the module.
    let (license, opened) = unsafe { (Out::new(license), Out::new(opened)) };
    let answer = || {
        let opened = opened.needed("opened")?;
        // SAFETY: the contract of the module.
        let (title, keys, library, home) = unsafe { (title_in(title)?, keys_in(keys)?, path(library), path(home)) };
        let (open, found) = Opened::open(&Asked { title: &title, keys: keys.as_ref(), library, home })?;
        found.into_iter().for_each(|found| license.give(found));
        opened.give(open);
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_close`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_close(opened: *mut Opened) {
    // SAFETY: the contract of the module.
    unsafe { free(opened) }
}

/// `counterfoil_file_open`: [`Opened::file`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_file_open(
    opened: *const Opened,
    path: *const c_char,
    file: *mut *mut File,
    error: *mut *mut Failure,
) -> i32 {
    // SAFETY: the contract of the module.
    let file = unsafe { Out::new(file) };
    let answer = || {
        let file = file.needed("file")?;
        // SAFETY: the contract of the module.
        let (opened, path) = unsafe { (handle("opened", opened)?, needed_text("path", path)?) };
        file.give(opened.file(path)?);
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_file_size`: [`File::size`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_file_size(file: *const File) -> u64 {
    // SAFETY: the contract of the module.
    unsafe { file.as_ref() }.map_or(0, File::size)
}

/// `counterfoil_file_read`: [`File::read`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_file_read(
    file: *const File,
    offset: u64,
    buffer: *mut u8,
    length: usize,
    count: *mut usize,
    error: *mut *mut Failure,
) -> i32 {
    let answer = || {
        // SAFETY: the contract of the module.
        let (file, count) = unsafe { (handle("file", file)?, count.as_mut()) };
        let count = count.ok_or_else(|| Failure::usage("`count` is NULL"))?;
        *count = 0;
        if buffer.is_null() && length > 0 {
            return Err(Failure::usage("`buffer` is NULL"));
        }
        if length > isize::MAX.unsigned_abs() {
            return Err(Failure::usage("`length` is longer than any buffer can be"));
        }
        let buffer = match length {
            0 => &mut [],
            // SAFETY: not NULL, no longer than a slice may be, and by the contract of the module the caller's to be written for this call.
            _ => unsafe { slice::from_raw_parts_mut(buffer, length) },
        };
        *count = file.read(offset, buffer)?;
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_file_close`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_file_close(file: *mut File) {
    // SAFETY: the contract of the module.
    unsafe { free(file) }
}

/// `counterfoil_list`: [`Opened::list`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_list(
    opened: *const Opened,
    directory: *const c_char,
    entries: *mut *mut Entries,
    error: *mut *mut Failure,
) -> i32 {
    // SAFETY: the contract of the module.
    let entries = unsafe { Out::new(entries) };
    let answer = || {
        let entries = entries.needed("entries")?;
        // SAFETY: the contract of the module.
        let (opened, directory) = unsafe { (handle("opened", opened)?, text("directory", directory)?) };
        entries.give(opened.list(directory.unwrap_or_default())?);
        Ok(())
    };
    // SAFETY: the contract of the module.
    unsafe { answered(error, answer) }
}

/// `counterfoil_entries_count`: [`Entries::count`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_entries_count(entries: *const Entries) -> usize {
    // SAFETY: the contract of the module.
    unsafe { entries.as_ref() }.map_or(0, Entries::count)
}

/// `counterfoil_entries_name`: [`Entries::get`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_entries_name(entries: *const Entries, index: usize) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { entries.as_ref() }.and_then(|entries| entries.get(index)).map_or(ptr::null(), |(name, ..)| name.as_ptr())
}

/// `counterfoil_entries_kind`: [`Entries::get`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_entries_kind(entries: *const Entries, index: usize) -> i32 {
    // SAFETY: the contract of the module.
    unsafe { entries.as_ref() }.and_then(|entries| entries.get(index)).map_or(0, |(_, kind, _)| kind)
}

/// `counterfoil_entries_size`: [`Entries::get`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_entries_size(entries: *const Entries, index: usize) -> u64 {
    // SAFETY: the contract of the module.
    unsafe { entries.as_ref() }.and_then(|entries| entries.get(index)).map_or(0, |(.., size)| size)
}

/// `counterfoil_entries_free`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_entries_free(entries: *mut Entries) {
    // SAFETY: the contract of the module.
    unsafe { free(entries) }
}

/// `counterfoil_error_code`: [`Failure::code`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_error_code(error: *const Failure) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.code().as_ptr())
}

/// `counterfoil_error_message`: [`Failure::message`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_error_message(error: *const Failure) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.message().as_ptr())
}

/// `counterfoil_error_hint`: [`Failure::hint`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_error_hint(error: *const Failure) -> *const c_char {
    // SAFETY: the contract of the module.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.hint().as_ptr())
}

/// `counterfoil_error_free`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn counterfoil_error_free(error: *mut Failure) {
    // SAFETY: the contract of the module.
    unsafe { free(error) }
}

// Handles are read by several threads at once, and freed by any.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<License>();
    shared::<Opened>();
    shared::<File>();
    shared::<Entries>();
    shared::<Failure>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        let mut error = ptr::null_mut();
        // SAFETY: `error` outlives the call, and is freed once.
        unsafe {
            assert_eq!(answered(&raw mut error, || panic!("on purpose")), 3);
            assert_eq!(CStr::from_ptr(counterfoil_error_code(error)), c"internal");
            counterfoil_error_free(error);
        }
    }
}
