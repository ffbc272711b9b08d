//! How long a request that was handed to a connection may go without the head of its response.
//!
//! The clock of the response begins when the whole request was sent, as elsewhere: an upload may take hours.
//! Until then either side may rest for so long and no longer, and which of them did is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::body::{Progress, Stage};
use crate::slot::HttpFacts;

/// What took too long, and for how long it was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The client did not send on.
    Client(Duration),
    /// The sandbox did not read on.
    Reading(Duration),
    /// The sandbox has the whole request and did not answer.
    Answer(Duration),
}

/// Completes when one of the limits has passed. A body that waits for `100 Continue` has none.
pub(super) async fn late(progress: Option<Arc<Progress>>, http: HttpFacts) -> Late {
    let sent = Instant::now();
    let (idle, response) = (http.idle_timeout, http.response_timeout);
    loop {
        let stage = progress
            .as_ref()
            .map_or(Stage::Complete(sent), |it| it.stage());
        // A connection that asks for the first byte is waited for from the sending on.
        let since = |at: Instant| at.max(sent).elapsed();
        let (waited, limit, late): (_, _, fn(Duration) -> Late) = match stage {
            Stage::Agreement => (Duration::ZERO, idle, Late::Reading),
            Stage::Client(at) => (since(at), idle, Late::Client),
            Stage::Sandbox(at) => (since(at), idle, Late::Reading),
            Stage::Complete(at) => (since(at), response, Late::Answer),
            // The exchange is about to end by itself.
            Stage::Failed => (since(sent), response, Late::Answer),
        };
        let left = limit.saturating_sub(waited);
        if left.is_zero() {
            return late(limit);
        }
        // What is whole in a moment is to be answered that much later.
        sleep(left.min(response)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(idle: u64, response: u64) -> HttpFacts {
        HttpFacts {
            idle_timeout: Duration::from_secs(idle),
            response_timeout: Duration::from_secs(response),
            ..HttpFacts::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_body_the_response_is_waited_for_from_the_start() {
        let began = Instant::now();
        let late = late(None, http(1, 30)).await;
        assert_eq!(late, Late::Answer(Duration::from_secs(30)));
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
