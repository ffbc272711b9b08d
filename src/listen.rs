//! The listeners of this process.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

/// Listens on an address that a flag names.
///
/// # Errors
/// If it cannot; the text names the flag.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}; choose another address with {flag}"))
}

/// The same where whoever reaches the listener can wake and use every sandbox: says so if that is more than
/// this machine.
///
/// # Errors
/// As [`bind`].
pub(crate) async fn bind_open(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = bind(address, flag).await?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, flag, "{flag} {address} is open beyond this machine and nobody authenticates: whoever reaches it can wake and use every sandbox");
    }
    Ok(listener)
}
