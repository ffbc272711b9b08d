//! Calls to an API that may be away: each has a deadline, and is made again in growing steps.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio_util::sync::CancellationToken;

/// Whose writes these are.
pub(super) const MANAGER: &str = "testbed-node";

/// Deadline of one call.
const DEADLINE: Duration = Duration::from_secs(10);

const FIRST_STEP: Duration = Duration::from_millis(50);
const LONGEST_STEP: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The API answered so, or could not be reached.
    #[error(transparent)]
    Call(#[from] kube::Error),
    /// No answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
}

impl Failure {
    /// The HTTP status of the API's answer.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Call(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// Makes one call.
pub(super) async fn call<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Late),
    }
}

/// Makes a call again until it succeeds, or the API says that it never will (4xx but for 429); `None`
/// when `end` came first.
pub(super) async fn insist<T, F>(
    what: &str,
    end: &CancellationToken,
    mut make: impl FnMut() -> F,
) -> Option<Result<T, Failure>>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut steps = Steps::default();
    loop {
        let answer = tokio::select! {
            biased; // what nobody needs any more is not asked for
            () = end.cancelled() => return None,
            answer = call(make()) => answer,
        };
        let failure = match answer {
            Ok(value) => return Some(Ok(value)),
            Err(failure) => failure,
        };
        if failure
            .code()
            .is_some_and(|code| (400..500).contains(&code) && code != 429)
        {
            return Some(Err(failure));
        }
        tracing::debug!(%failure, "{what}: will try again");
        tokio::select! {
            biased; // as above
            () = end.cancelled() => return None,
            () = tokio::time::sleep(steps.step()) => {}
        }
    }
}

/// Growing steps between tries.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    next: Duration,
}

impl Default for Steps {
    fn default() -> Self {
        Self { next: FIRST_STEP }
    }
}

impl Steps {
    fn step(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST_STEP);
        step
    }
}

impl Iterator for Steps {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.step())
    }
}

impl Backoff for Steps {
    fn reset(&mut self) {
        *self = Self::default();
    }
}
