//! The use cases on doubles of their ports: a scripted chain, a store in memory whose commits fail on request, a clock that
//! stands still.

mod access;
mod attempts;
mod delivery;
mod dispatch;
mod distrust;
mod doubles;
mod invoicing;
mod money_stories;
mod random_schedules;
mod routing;
mod scan_faults;
mod scanning;
mod settlement;
mod store_double;
mod story;
mod world;
