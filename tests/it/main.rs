//! The integration tests, in one binary: linking once is most of their cost.

#[path = "../support/mod.rs"]
mod support;

mod bucket;
mod calls;
mod downloads;
mod journeys;
mod keys;
mod kore_refusals;
mod kore_timelines;
mod kore_wire;
mod media_samples;
mod restarts;
mod s3_adapter;
mod s3_refusals;
mod sidecars;
mod suspects;
