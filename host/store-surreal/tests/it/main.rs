//! The store through its port, on every embedded engine, with real files, real races and real kills.

mod concurrency;
mod crash;
mod engine;
mod expectations;
mod feed;
mod lists;
mod migrations;
mod opening;
mod pages;
mod reads;
#[path = "../../src/record/samples.rs"]
mod samples;
