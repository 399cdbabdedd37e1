//! Repair (C14): the exchange of a device or drive in a user entry, and what follows from it in other families; likewise what follows from
//! the reissue of a card (C15).

pub mod bury;
pub mod entitle;
pub mod exchange;
pub mod free;
pub mod rebind;
pub mod turned_up;
