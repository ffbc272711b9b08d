//! One attempt to reach a pod, and what its failure means.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time of one attempt: long enough for two lost SYNs (resent after 1 s), short enough to find
/// out about a pod that is gone while its client still waits.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Somebody is there and nobody listens: too early, or the wrong port.
    #[error("refused: {0}")]
    Refused(Error),
    /// Nobody is there.
    #[error("unreachable: {0}")]
    Unreachable(Error),
    /// This process cannot open connections.
    #[error("local resources: {0}")]
    Local(Error),
}

/// Opens a TCP connection.
pub(crate) async fn dial(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = match timeout(ATTEMPT, TcpStream::connect(address)).await {
        Ok(outcome) => outcome.map_err(classify)?,
        Err(_) => return Err(Failure::Unreachable(ErrorKind::TimedOut.into())),
    };
    // A request head and its body are written apart; waiting for an ACK in between costs 40 ms.
    stream.set_nodelay(true).map_err(Failure::Local)?;
    Ok(stream)
}

fn classify(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted => Failure::Refused(error),
        // EMFILE and ENFILE have no kind of their own.
        ErrorKind::AddrNotAvailable
        | ErrorKind::AddrInUse
        | ErrorKind::OutOfMemory
        | ErrorKind::PermissionDenied => Failure::Local(error),
        _ if matches!(error.raw_os_error(), Some(code) if is_out_of_files(code)) => {
            Failure::Local(error)
        }
        _ => Failure::Unreachable(error),
    }
}

fn is_out_of_files(code: i32) -> bool {
    code == nix::errno::Errno::EMFILE as i32 || code == nix::errno::Errno::ENFILE as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_without_a_listener_is_refused() {
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = silent.local_addr().unwrap();
        assert!(matches!(dial(address).await, Err(Failure::Refused(_))));
    }

    #[test]
    fn a_pod_that_is_gone_is_not_a_port_that_refuses() {
        let of = |errno: nix::errno::Errno| classify(Error::from_raw_os_error(errno as i32));
        assert!(matches!(
            of(nix::errno::Errno::EHOSTUNREACH),
            Failure::Unreachable(_)
        ));
        assert!(matches!(
            of(nix::errno::Errno::ETIMEDOUT),
            Failure::Unreachable(_)
        ));
        assert!(matches!(of(nix::errno::Errno::EMFILE), Failure::Local(_)));
    }
}
