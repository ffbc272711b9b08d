//! A clock that stands still while anything can happen, bytes on their way through the kernel included.

use std::net::UdpSocket;
use std::time::Duration;

use tokio::runtime::Builder;

/// Bytes to arrive take at most so many steps of the kernel: the three of a connection being opened, and one to
/// tell of it.
const STEPS: usize = 4;

/// Runs a test on a paused clock, which moves on to the next timer when no task is ready and no socket has
/// news.
///
/// What was sent over loopback may still wait for the kernel then: it mostly delivers within the call that
/// sends, and on a busy machine a moment later, in the order of sending. A datagram that was sent last and has
/// arrived says that all before it has.
pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    let marker = UdpSocket::bind("127.0.0.1:0").unwrap();
    marker.connect(marker.local_addr().unwrap()).unwrap();
    marker
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let everything_arrives = move || {
        for _ in 0..STEPS {
            marker.send(&[0]).unwrap();
            marker.recv(&mut [0]).unwrap();
        }
    };
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(everything_arrives)
        .build()
        .unwrap()
        .block_on(test)
}
