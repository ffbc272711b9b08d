//! One attempt to reach a pod, and what its failure means.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time of one attempt: long enough for two lost SYNs (resent after 1 s), short enough to find
/// out about a pod that is gone while its client still waits.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Silence after which the kernel asks the pod's whether it is there, and the time between two such
/// questions. A user timeout decides how many it takes (tcp(7)).
const KEEPALIVE: u32 = 15;
const KEEPALIVE_INTERVAL: u32 = 5;
/// The least time without a word of the pod's kernel after which a connection is dead.
const DEAD_AFTER: Duration = Duration::from_secs(60);

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

/// Opens a TCP connection. It ends by itself once the pod's kernel has confirmed nothing for `silence`: a
/// node that died says no word. To the kernel a pod that does not read is silent too, so `silence` must not be
/// shorter than the time that a pod may leave a body unread; without one only the pod's kernel has to answer,
/// for what may be left unread without end.
pub(crate) async fn dial(
    address: SocketAddr,
    silence: Option<Duration>,
) -> Result<TcpStream, Failure> {
    let stream = match timeout(ATTEMPT, TcpStream::connect(address)).await {
        Ok(outcome) => outcome.map_err(classify)?,
        Err(_) => return Err(Failure::Unreachable(ErrorKind::TimedOut.into())),
    };
    // A request head and its body are written apart; waiting for an ACK in between costs 40 ms.
    stream.set_nodelay(true).map_err(Failure::Local)?;
    let silence = silence.map(|silence| silence.max(DEAD_AFTER));
    watch_over(&stream, silence).map_err(|errno| Failure::Local(errno.into()))?;
    Ok(stream)
}

fn watch_over(stream: &TcpStream, silence: Option<Duration>) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL)?;
    let Some(silence) = silence else {
        return Ok(());
    };
    // The kernel takes a signed number.
    let most = i32::MAX.unsigned_abs();
    let millis = u32::try_from(silence.as_millis()).unwrap_or(most).min(most);
    setsockopt(stream, sockopt::TcpUserTimeout, &millis)
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
        let failure = dial(address, None).await;
        assert!(matches!(failure, Err(Failure::Refused(_))));
    }

    #[tokio::test]
    async fn the_kernel_finds_out_about_a_pod_that_is_silent() {
        use nix::sys::socket::getsockopt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (silence, within) in [
            (0, 60_000),
            (300, 300_000),
            (u64::MAX, i32::MAX.unsigned_abs()),
        ] {
            let stream = dial(address, Some(Duration::from_secs(silence)))
                .await
                .unwrap();
            assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
            assert_eq!(
                getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(),
                KEEPALIVE
            );
            assert_eq!(
                getsockopt(&stream, sockopt::TcpKeepInterval).unwrap(),
                KEEPALIVE_INTERVAL
            );
            assert_eq!(
                getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(),
                within
            );
        }
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
