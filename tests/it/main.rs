//! The integration tests, in one binary: linking once is most of their cost.

#[path = "../support/mod.rs"]
mod support;

mod acceptance;
mod aws_policy;
mod bent_rows;
mod bucket;
mod budget;
mod calls;
mod check;
mod commands;
mod docs;
mod downloads;
mod errors;
mod figures;
mod frugality;
mod journeys;
mod keys;
mod kore_refusals;
mod kore_timelines;
mod kore_wire;
mod layers;
mod leaks;
mod leases;
mod logs;
mod media_samples;
mod memory;
mod page;
mod panics;
mod places;
mod queue_faults;
mod reconcile;
mod restarts;
mod role;
mod rows;
mod s3_adapter;
mod s3_refusals;
mod schedule;
mod service;
mod sidecar_schema;
mod sidecars;
mod statuses;
mod suspects;
mod tls;
