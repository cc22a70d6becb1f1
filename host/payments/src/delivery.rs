//! Telling merchants: events become deliveries, deliveries become signed requests.
//!
//! Every step leaves its result in the store before the next one begins. [`audience`] says who hears of an event, [`routing`]
//! has it shaped once for each of them ([`shaping`]) and stores the bytes; [`dispatch`] signs and sends those bytes until the
//! receiver takes them or the [`schedule`] ends. A crash between sending and recording repeats a delivery with the same id and the same bytes, never loses one.

pub mod audience;
pub mod builtin_format;
pub mod dispatch;
pub mod listeners;
pub mod replay;
pub mod routing;
pub mod schedule;
pub mod shaping;
pub mod signing;
