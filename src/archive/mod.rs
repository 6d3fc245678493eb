//! The bucket.
pub mod s3;
pub mod store;
