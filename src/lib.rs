//! kore-archiver

pub mod archive;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod hosts;
pub mod key;
pub mod kore;
pub mod media;
pub mod receipt;
pub mod session;
pub mod telemetry;
