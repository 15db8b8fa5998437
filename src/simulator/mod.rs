//! A stand-in for the Web API. Its HTTP side is not written yet; the traffic model beside this file waits for it.

/// Arguments of `simulate`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {}
