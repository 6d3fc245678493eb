//! kore-archiver

pub mod archive;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod decide;
pub mod hosts;
pub mod journey;
pub mod key;
pub mod kore;
pub mod media;
pub mod metrics;
pub mod pause;
pub mod queue;
pub mod receipt;
pub mod session;
pub mod transfer;
pub mod worker;
