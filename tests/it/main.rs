//! The integration tests, in one binary: linking once is most of their cost.

#[path = "../support/mod.rs"]
mod support;

mod bent_rows;
mod budget;
mod commands;
mod errors;
mod journeys;
mod kore_refusals;
mod kore_timelines;
mod kore_wire;
mod leases;
mod media_samples;
mod queue_faults;
mod rows;
mod s3_adapter;
mod s3_refusals;
mod statuses;
