//! The bucket.
pub mod store;
