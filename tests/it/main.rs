//! The integration tests, in one binary: linking once is most of their cost.

#[path = "../support/mod.rs"]
mod support;

mod acceptance;
mod bucket;
mod docs;
mod downloads;
mod journeys;
mod keys;
mod kore_refusals;
mod kore_timelines;
mod kore_wire;
mod layers;
mod media_samples;
mod restarts;
mod s3_adapter;
mod s3_refusals;
mod sidecar_schema;
mod sidecars;
mod suspects;
