//! What the tests and the demo stand on: the outside world, in miniature and on real sockets.
//!
//! `kore` is a stateful fake of the vendor that refuses what the real one refuses, `s3` a strict S3 server; `media`
//! makes the recordings. Each is a scenario's scenery, so they are built to be read at the call site, and they have
//! tests of their own.

#![allow(dead_code, unused_imports, reason = "each target that includes this uses its own part of it")]
#![allow(unreachable_pub, reason = "`pub` marks what scenarios may use; a test exports nothing")]

pub mod audit;
pub mod canaries;
pub mod kore;
pub mod media;
pub mod patience;
pub mod rows;
pub mod s3;
pub mod schema;
pub mod scene;
pub mod tls;
pub mod world;
