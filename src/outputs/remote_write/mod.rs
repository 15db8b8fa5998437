//! Writes history to a time-series database by Prometheus remote write 1.0: protobuf and snappy over
//! HTTP.
//!
//! It knows no configuration file, and nothing of where the samples come from.

mod target;

pub use target::{BadTargetFile, RemoteWriteTarget, TargetCredentials, TargetFiles, TargetTls, default_name};
