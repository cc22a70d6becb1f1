//! The use cases on doubles of their ports: a scripted chain, a store in memory whose commits fail on request, a clock that
//! stands still.

mod access;
mod attempts;
mod audit;
mod catching_up;
mod delivery;
mod dispatch;
mod distrust;
mod doubles;
mod endpoint_standing;
mod endpoints;
mod feed;
mod freezing;
mod gap;
mod internal;
mod invoicing;
mod keys;
mod lag;
mod lone_voice;
mod money_stories;
mod plugin_values;
mod random_forks;
mod random_schedules;
mod receiver_faults;
mod reorgs;
mod replay;
mod rescan;
mod resolution;
mod routing;
mod scan_faults;
mod scanning;
mod settlement;
mod store_double;
mod story;
mod world;
