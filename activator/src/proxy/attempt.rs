//! How long the attempts to connect go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::retry::Dial;
use reveille_crds::SandboxKey;
use tokio::time::Instant;

use crate::dial::Failure;
use crate::error::{Awaited, Error};
use crate::parking::Refusal;
use crate::slot::Endpoint;

/// Pods that may turn out to be gone under one request. The first one is a watch that lags; after the
/// second the fault lies elsewhere.
const UNREACHABLE: u32 = 2;

/// The failed attempts of one request.
#[derive(Default)]
pub(super) struct Attempts {
    refusing: Option<Refusing>,
    unreachable: u32,
}

/// The refusing port that is being dialled, with its pod.
struct Refusing {
    pod: Arc<str>,
    address: SocketAddr,
    dial: Dial,
    since: std::time::Instant,
    /// The pod was on its way up when the dial began.
    is_young: bool,
}

impl Attempts {
    /// What somebody waits for whose time is over.
    pub(super) fn awaited(&self) -> Awaited {
        if self.refusing.is_some() {
            Awaited::Port
        } else {
            Awaited::Connection
        }
    }

    /// What to do about a failure: how long to pause before asking for the endpoint again. Calls
    /// `forget` if the endpoint must not be tried again.
    ///
    /// # Errors
    /// If there have been enough attempts.
    pub(super) fn failed(
        &mut self,
        endpoint: &Endpoint,
        failure: Failure,
        key: &SandboxKey,
        forget: impl FnOnce(),
    ) -> Result<Duration, Error> {
        let give_up = |text: String| Err(Error::Connect(key.clone(), text.into()));
        match failure {
            Failure::Local(error) => Err(Error::Exhausted(error)),
            Failure::Unreachable(error) => {
                forget();
                self.unreachable += 1;
                if self.unreachable > UNREACHABLE {
                    give_up(error.to_string())
                } else {
                    Ok(Duration::ZERO)
                }
            }
            Failure::Refused(error) => {
                let now = Instant::now().into_std();
                let refusing = self.refusing(endpoint);
                match refusing.dial.next(now) {
                    Some(at) => Ok(at.saturating_duration_since(now)),
                    // It is on its way up, as far as anybody knows.
                    None if refusing.is_young => {
                        let waited = now.saturating_duration_since(refusing.since);
                        let refusal = Refusal::not_answering(waited);
                        Err(Error::Refused(key.clone(), refusal))
                    }
                    None => give_up(error.to_string()),
                }
            }
        }
    }

    /// This endpoint, refusing; another pod or port begins a new dial.
    fn refusing(&mut self, endpoint: &Endpoint) -> &mut Refusing {
        let is_same = |refusing: &Refusing| {
            refusing.pod == endpoint.pod && refusing.address == endpoint.address
        };
        let refusing = self.refusing.take().filter(is_same);
        let refusing = refusing.unwrap_or_else(|| Refusing::begin(endpoint));
        self.refusing.insert(refusing)
    }
}

impl Refusing {
    fn begin(endpoint: &Endpoint) -> Self {
        let now = Instant::now().into_std();
        Self {
            pod: Arc::clone(&endpoint.pod),
            address: endpoint.address,
            dial: Dial::start(endpoint.young_until, now),
            since: now,
            is_young: endpoint.young_until.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind};

    use super::*;

    fn endpoint(pod: &str) -> Endpoint {
        Endpoint {
            pod: pod.into(),
            address: ([127, 0, 0, 1], 80).into(),
            h2c: false,
            silence: Duration::ZERO,
            young_until: None,
        }
    }

    fn refused() -> Failure {
        Failure::Refused(IoError::from(ErrorKind::ConnectionRefused))
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_refuses_is_dialled_for_a_while_and_never_forgotten() {
        let key = SandboxKey::new("default", "alice").unwrap();
        let (mut attempts, began) = (Attempts::default(), Instant::now());
        let never = || panic!("a wrong port must not strand its pod");
        while let Ok(pause) = attempts.failed(&endpoint("a"), refused(), &key, never) {
            tokio::time::advance(pause).await;
        }
        let took = began.elapsed();
        assert!(
            (Duration::from_secs(1)..=Duration::from_millis(1500)).contains(&took),
            "{took:?}"
        );
        // Another pod is another dial.
        assert!(
            attempts
                .failed(&endpoint("b"), refused(), &key, never)
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_young_pod_is_dialled_for_as_long_as_one_waits_and_is_no_bad_gateway_then() {
        let key = SandboxKey::new("default", "alice").unwrap();
        let (mut attempts, began) = (Attempts::default(), Instant::now());
        let until = began + Duration::from_secs(20);
        let young = Endpoint {
            young_until: Some(until.into_std()),
            ..endpoint("a")
        };
        let error = loop {
            match attempts.failed(&young, refused(), &key, || {}) {
                Ok(pause) => tokio::time::advance(pause).await,
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.status().as_u16(), error.reason()),
            (503, "NotAnswering")
        );
        assert!(error.retry_after().is_some());
        assert!(began.elapsed() > Duration::from_secs(19));
    }

    #[test]
    fn a_pod_that_is_gone_is_forgotten_and_asked_for_anew_a_few_times() {
        let key = SandboxKey::new("default", "alice").unwrap();
        let (mut attempts, mut forgotten) = (Attempts::default(), 0);
        let gone = || Failure::Unreachable(IoError::from(ErrorKind::HostUnreachable));
        for _ in 0..UNREACHABLE {
            let pause = attempts.failed(&endpoint("a"), gone(), &key, || forgotten += 1);
            assert_eq!(pause.unwrap(), Duration::ZERO);
        }
        let error = attempts
            .failed(&endpoint("a"), gone(), &key, || forgotten += 1)
            .unwrap_err();
        assert_eq!((error.kind(), forgotten), ("ConnectFailed", 3));
    }
}
