#![doc = include_str!("../README.md")]

pub mod session;
pub mod clock;
pub mod backoff;
pub mod key;
pub mod hosts;
pub mod receipt;
pub mod media;
pub mod words;
pub mod source;
pub mod schedule;
pub mod decide;
pub mod pause;
pub mod queue;
pub mod worker;
pub mod journey;
pub mod kore;
pub mod transfer;
pub mod flights;
pub mod archive;
pub mod config;
pub mod telemetry;
pub mod metrics;
pub mod http;
pub mod shutdown;
pub mod app;
pub mod commands;

#[cfg(test)]
mod corpus;
