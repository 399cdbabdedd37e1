//! The table of events. Whatever is added here is documented by `UPDATE_DOCS=1` (tests/server/webhooks.rs), and told from then on.

mod media;
mod people;
mod titles;

use super::Event;

/// All events, by what they are about.
pub const EVENTS: &[Event] = &joined();

const PARTS: [&[Event]; 3] = [&media::EVENTS, &titles::EVENTS, &people::EVENTS];
const COUNT: usize = media::EVENTS.len() + titles::EVENTS.len() + people::EVENTS.len();

const fn joined() -> [Event; COUNT] {
    let mut all = [PARTS[0][0]; COUNT];
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[count] = PARTS[part][row];
            (count, row) = (count + 1, row + 1);
        }
        part += 1;
    }
    all
}
