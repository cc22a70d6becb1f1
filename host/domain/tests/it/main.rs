//! The domain's public face: what an invoice does in every situation, as tables, and laws that hold for all values.

mod amounts;
mod assessments;
mod invoice_states;
mod ledger;
mod seeded;
mod story;
