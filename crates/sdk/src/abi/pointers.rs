//! What C hands over, as references and text; and what it gets back.
//!
//! # Safety
//! The contract of [`super`], which "the contract of the module" means below.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use counterfoil_core::TitleId;
use counterfoil_format::jwt::KeyList;

use super::COUNTERFOIL_OK;
use crate::Failure;

/// Where a handle goes; nobody may want it.
pub(super) struct Out<T>(*mut *mut T);

impl<T> Out<T> {
    /// Nothing is there until something is given.
    ///
    /// # Safety
    /// That of the module, until the call ends.
    pub(super) unsafe fn new(to: *mut *mut T) -> Self {
        if !to.is_null() {
            // SAFETY: not NULL, and by the contract of the module the caller's to be written. What was there may be anything, and is not read.
            unsafe { to.write(ptr::null_mut()) }
        }
        Self(to)
    }

    /// For those without which the call makes no sense.
    pub(super) fn needed(&self, name: &str) -> Result<&Self, Failure> {
        if self.0.is_null() { Err(Failure::usage(&format!("`{name}` is NULL"))) } else { Ok(self) }
    }

    pub(super) fn give(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: as in `new`, which is how this came to be.
            unsafe { self.0.write(Box::into_raw(Box::new(value))) }
        }
    }
}

/// Does it, and says how it went. No panic leaves here: what unwinds drops its own, and handles are not changed by being used.
///
/// # Safety
/// That of the module.
pub(super) unsafe fn answered(error: *mut *mut Failure, answer: impl FnOnce() -> Result<(), Failure>) -> i32 {
    // SAFETY: the contract of the module.
    let error = unsafe { Out::new(error) };
    match catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Err(Failure::panicked())) {
        Ok(()) => COUNTERFOIL_OK,
        Err(failure) => {
            let kind = failure.kind() as i32;
            error.give(failure);
            kind
        }
    }
}

/// # Safety
/// That of the module.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by the contract of the module it came from `Out::give`, and is freed once.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// # Safety
/// That of the module.
pub(super) unsafe fn handle<'a, T>(name: &str, handle: *const T) -> Result<&'a T, Failure> {
    // SAFETY: the contract of the module.
    unsafe { handle.as_ref() }.ok_or_else(|| Failure::usage(&format!("`{name}` is NULL")))
}

/// Text of the caller's, where there is any.
///
/// # Safety
/// That of the module.
pub(super) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and by the contract of the module it ends at a NUL and stays as it is during the call.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Failure::usage(&format!("`{name}` is not UTF-8")))
}

/// The same, where there has to be some.
///
/// # Safety
/// That of the module.
pub(super) unsafe fn needed_text<'a>(name: &str, of: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the contract of the module.
    unsafe { text(name, of) }?.ok_or_else(|| Failure::usage(&format!("`{name}` is NULL")))
}

/// A path, which need not be UTF-8. An empty one is none, as an empty variable of the environment is.
///
/// # Safety
/// That of the module.
pub(super) unsafe fn path<'a>(path: *const c_char) -> Option<&'a Path> {
    if path.is_null() {
        return None;
    }
    // SAFETY: as in `text`.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    (!bytes.is_empty()).then(|| Path::new(OsStr::from_bytes(bytes)))
}

/// # Safety
/// That of the module.
pub(super) unsafe fn title_in(title: *const c_char) -> Result<TitleId, Failure> {
    // SAFETY: the contract of the module.
    let title = unsafe { needed_text("title", title) }?;
    title.parse().map_err(|why| Failure::usage(&format!("`title` is no title: {why}")))
}

/// # Safety
/// That of the module.
pub(super) unsafe fn keys_in(keys: *const c_char) -> Result<Option<KeyList>, Failure> {
    // SAFETY: the contract of the module.
    let keys = unsafe { text("keys", keys) }?;
    let parse = |keys: &str| KeyList::parse(keys.as_bytes()).map_err(|_| Failure::usage("`keys` is no JWK set"));
    keys.map(parse).transpose()
}
