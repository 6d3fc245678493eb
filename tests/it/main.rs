//! Everything that is tested through real sockets, in one binary so that it links once.

#[path = "../support/mod.rs"]
mod support;

mod kore_refusals;
mod kore_timelines;
mod kore_wire;
mod media_samples;
