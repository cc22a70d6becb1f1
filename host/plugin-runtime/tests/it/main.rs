//! The runtime from outside: hosts that load guests, good and hostile ones.
//!
//! The guests are modules written as text, made into components as the packer of the project makes them. What real
//! plugins do is tested elsewhere.

mod answers;
mod bench;
mod capabilities;
mod endurance;
mod facts;
mod left_alone;
mod limits;
mod loading;
mod operating;
mod policies;
mod reloading;
mod wild;
