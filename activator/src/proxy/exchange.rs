//! Steps 4 to 7: find the endpoint, connect, send; and what is done when one of them fails.
//!
//! Connecting comes before sending, so whatever happens up to the connection costs the request nothing.
//! After bytes were sent only what is safe to repeat is repeated, once.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Wait;
use super::attempt::Attempts;
use super::tally::namespace;
use crate::Activator;
use crate::body::RequestBody;
use crate::error::Error;
use crate::parking::{Admission, Refusal, Waited};
use crate::proxy::spare;
use crate::route::Target;
use crate::slot::Activity;
use crate::upstream::{Connection, Risk, Unanswered};

/// Connections that may die under a request before a byte of it was written: one that was stale in the
/// pool, and a few by a server that closes what it has accepted.
const UNSENT: u32 = 5;
/// Pause before each of the latter.
const UNSENT_PAUSE: Duration = Duration::from_millis(20);

/// One request's way to an answer.
pub(super) struct Exchange<'a> {
    pub(super) activator: &'a Activator,
    pub(super) activity: &'a Activity,
    pub(super) target: &'a Target,
    /// UID of the one Sandbox that will do, where not every one of the target's does.
    pub(super) only: Option<Arc<str>>,
    pub(super) wait: Wait,
    pub(super) is_upgrade: bool,
}

/// A response, the connection it came on, and what came before.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) connection: Connection,
    pub(super) waited: Option<Waited>,
}

impl Exchange<'_> {
    /// Sends the request to the sandbox, wherever and whenever that is.
    pub(super) async fn run(&self, mut request: Request<RequestBody>) -> Result<Answer, Error> {
        let mut waited = None;
        let mut unsent = 0;
        let mut sent = 0;
        loop {
            let mut spare = if sent == 0 && !self.is_upgrade {
                spare(&request)
            } else {
                None
            };
            let risk = if spare.is_some() {
                Risk::Repeatable
            } else {
                Risk::Once
            };
            // A second try does not trust the pool again.
            let risk = if unsent + sent == 0 { Some(risk) } else { None };
            let (mut connection, admission) = self.connect(risk, &mut waited).await?;
            let progress = request.body().progress();
            let limit = admission.http.response_timeout;
            let outcome = self.send(&mut connection, request, limit).await;
            // The next in the lot may go: this one is answered, or has failed.
            drop(admission.pace);
            let failure = match outcome? {
                Ok(response) => {
                    return Ok(Answer {
                        response,
                        connection,
                        waited,
                    });
                }
                Err(failure) => failure,
            };
            if progress.is_some_and(|progress| progress.has_failed()) {
                return Err(Error::RequestBody(failure.error.to_string()));
            }
            request = match (failure.unsent, spare.take()) {
                (Some(request), _) if unsent < UNSENT => {
                    if unsent > 0 {
                        tokio::time::sleep(UNSENT_PAUSE).await;
                    }
                    unsent += 1;
                    *request
                }
                (None, Some(spare)) => {
                    sent += 1;
                    spare
                }
                _ => {
                    return Err(Error::Exchange(
                        self.target.key.clone(),
                        failure.error.to_string(),
                    ));
                }
            };
        }
    }

    /// A connection to the sandbox, waking it first if it sleeps and again if it fell asleep meanwhile.
    /// With a `risk` one from the pool will do.
    async fn connect(
        &self,
        risk: Option<Risk>,
        waited: &mut Option<Waited>,
    ) -> Result<(Connection, Admission), Error> {
        let key = &self.target.key;
        let mut attempts = Attempts::default();
        let upstream = &self.activator.upstream;
        loop {
            let parking = &self.activator.parking;
            let admission = parking
                .endpoint(self.activity, self.target.port, self.wait.left())
                .await;
            let admission = admission.map_err(|refusal| Error::Refused(key.clone(), refusal))?;
            if let Some(only) = &self.only
                && *only != admission.sandbox_uid
            {
                return Err(Error::NotFound(key.clone()));
            }
            if waited.is_none() {
                *waited = admission.waited;
            }
            let endpoint = &admission.endpoint;
            let pooled = risk
                .filter(|_| !self.is_upgrade)
                .and_then(|risk| upstream.reuse(endpoint, risk));
            let failure = match pooled {
                Some(connection) => return Ok((connection, admission)),
                None => match upstream.open(endpoint, self.is_upgrade).await {
                    Ok(connection) => return Ok((connection, admission)),
                    Err(failure) => failure,
                },
            };
            // Asking for the endpoint anew is what finds out that the pod has gone meanwhile.
            let pause = attempts.failed(endpoint, failure, key, || {
                self.activity.slot().forget(endpoint);
                self.activator
                    .metrics
                    .cache_invalidations
                    .get_or_create(&namespace(&self.target.key))
                    .inc();
                upstream.drop_pod(&endpoint.pod);
            })?;
            drop(admission);
            match self.wait.left() {
                Some(left) if left <= pause => return Err(self.expired(left)),
                _ => tokio::time::sleep(pause).await,
            }
        }
    }

    /// The response's head, or how the exchange failed.
    ///
    /// # Errors
    /// If it takes too long.
    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<RequestBody>,
        limit: Duration,
    ) -> Result<Result<Response<Incoming>, Unanswered>, Error> {
        let limit = self.wait.left().map_or(limit, |left| left.min(limit));
        match timeout(limit, connection.send(request)).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => {
                connection.retire();
                Err(Error::NoResponse(self.target.key.clone(), limit))
            }
        }
    }

    fn expired(&self, waited: Duration) -> Error {
        Error::Refused(
            self.target.key.clone(),
            Refusal::Expired {
                waited,
                stage: "its port refuses connections",
            },
        )
    }
}
