//! `reveille activator`, and the flags that every activator has.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{CarrierArgs, ClusterArgs, FrontArgs, PolicyArgs, value};

/// `reveille activator`.
#[derive(Debug, Args)]
pub(crate) struct ActivatorCommand {
    /// Base URLs of the scalers' HTTP API, separated by commas: http://host:port. Wakes go there while
    /// NATS is down or does not answer; the next one is tried where one cannot be reached.
    #[arg(
        long,
        value_name = "URL",
        value_parser = value::api,
        env = "REVEILLE_SCALER_API",
        value_delimiter = ','
    )]
    pub(crate) scaler_api: Vec<String>,
    /// Time between knowing all sandboxes and taking clients: a sleep that was decided without this
    /// activator may still land within it.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = value::duration, env = "REVEILLE_SETTLE")]
    pub(crate) settle: Duration,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) carrier: CarrierArgs,
    #[command(flatten)]
    pub(crate) activator: ActivatorArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// Flags of whatever runs an activator.
#[derive(Debug, Args)]
#[command(next_help_heading = "Activator")]
pub(crate) struct ActivatorArgs {
    /// Listener for the sandboxes' clients, as host:port. Port 0 takes a free one; no host, as in :8080,
    /// listens on all addresses.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = value::address,
        env = "REVEILLE_LISTEN"
    )]
    pub(crate) listen: SocketAddr,
    /// Hosts `<name>.<namespace>.<DOMAIN>` reach a sandbox.
    #[arg(long, default_value = "sandbox.localhost", value_parser = value::domain, env = "REVEILLE_DOMAIN")]
    pub(crate) domain: String,
    /// Accept a loopback address in X-Sandbox-Pod-IP: pods on this machine have them.
    #[arg(long, env = "REVEILLE_ALLOW_LOOPBACK_POD_IP")]
    pub(crate) allow_loopback_pod_ip: bool,
    /// Most client connections at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 110_000,
        value_parser = value::limit::<usize>,
        env = "REVEILLE_MAX_CONNECTIONS"
    )]
    pub(crate) max_connections: usize,
    /// Most parked requests at a time, over all sandboxes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = value::limit::<u32>,
        env = "REVEILLE_MAX_PARKED"
    )]
    pub(crate) max_parked: u32,
    /// Wakes that one client may begin per minute; 0 is unlimited. A client is an address, of IPv6 a /64;
    /// behind --trusted-proxies the one that they name.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        env = "REVEILLE_WAKES_PER_CALLER"
    )]
    pub(crate) wakes_per_caller: u32,
    /// Wakes that may begin per minute for one sandbox; 0 is unlimited.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        env = "REVEILLE_WAKES_PER_SANDBOX"
    )]
    pub(crate) wakes_per_sandbox: u32,
    /// Wakes that a client or a sandbox that was quiet may begin at once, before --wakes-per-caller and
    /// --wakes-per-sandbox hold.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = value::limit::<u32>,
        env = "REVEILLE_WAKE_BURST"
    )]
    pub(crate) wake_burst: u32,
    /// Longest time from a request's last byte to its response's headers, where no policy says it.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = value::timeout, env = "REVEILLE_RESPONSE_HEADER_TIMEOUT")]
    pub(crate) response_header_timeout: Duration,
    /// Time that in-flight requests get to finish on shutdown.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration, env = "REVEILLE_GRACE")]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) front: FrontArgs,
}

impl ActivatorArgs {
    /// The settings that these flags are about.
    pub(crate) fn config(&self) -> reveille_activator::Config {
        reveille_activator::Config {
            domain: self.domain.clone(),
            path_routing_prefix: self.front.path_routing_prefix.clone(),
            trusted_proxies: self.front.trusted_proxies.clone(),
            allow_loopback_pod_ip: self.allow_loopback_pod_ip,
            total_parked: self.max_parked,
            connections: self.max_connections,
            wakes_per_caller: self.wakes_per_caller,
            wakes_per_sandbox: self.wakes_per_sandbox,
            wake_burst: self.wake_burst,
            response_header_timeout: self.response_header_timeout,
            grace: self.grace,
            ..reveille_activator::Config::default()
        }
    }
}
