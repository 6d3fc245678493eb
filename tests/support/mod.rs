//! What the integration tests and the demo share: servers that stand in for the outside world, on real sockets.

pub mod s3;
