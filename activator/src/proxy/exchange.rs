//! Steps 4 to 7: find the endpoint, connect, send; and what is done when one of them fails.
//!
//! Connecting comes before sending, so whatever happens up to the connection costs the request nothing.
//! After bytes were sent only what is safe to repeat is repeated, once.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use reveille_crds::scaled_sandbox::Protocol;
use tokio::time::Instant;

use super::Wait;
use super::attempt::Attempts;
use super::patience::{Late, late};
use crate::Activator;
use crate::body::RequestBody;
use crate::error::{Awaited, Error};
use crate::grpc::Call;
use crate::metrics::{Metrics, Series};
use crate::naming::Naming;
use crate::parking::{Admission, Refusal, Waited};
use crate::proxy::spare;
use crate::route::Target;
use crate::slot::{Activity, HttpFacts};
use crate::upstream::{Connection, Risk, Unanswered};

/// Connections that may die under a request before a byte of it was written: one that was stale in the
/// pool, and a few by a server that closes what it has accepted.
const UNSENT: u32 = 5;
/// Pause before each of the latter.
const UNSENT_PAUSE: Duration = Duration::from_millis(20);

/// A shared connection that gave no answer for so long gets no further request: it may be dead, and the next
/// client would wait as long. Sooner it may be the client that is impatient.
const SUSPICIOUS: Duration = Duration::from_secs(5);

/// One request's way to an answer.
pub(super) struct Exchange<'a> {
    pub(super) activator: &'a Activator,
    pub(super) activity: &'a Activity,
    pub(super) target: &'a Target,
    /// UID of the one Sandbox that will do, where not every one of the target's does.
    pub(super) only: Option<Arc<str>>,
    pub(super) wait: Wait,
    pub(super) call: Option<Call>,
    pub(super) is_upgrade: bool,
    pub(super) naming: &'a Naming,
}

/// A response, the connection it came on, and what came before.
pub(super) struct Answer {
    pub(super) response: Response<()>,
    pub(super) connection: Connection,
    pub(super) waited: Option<Waited>,
    pub(super) call: Option<Call>,
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
            let outcome = self.send(&mut connection, request, admission.http).await;
            // The next in the lot may go: this one is answered, or has failed.
            drop(admission.pace);
            let failure = match outcome? {
                Ok(response) => {
                    return Ok(Answer {
                        response,
                        connection,
                        waited,
                        call: self.call,
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
            self.retries();
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
            let mut admission = admission.map_err(|refusal| self.refused(refusal))?;
            if self.call.is_some() && admission.http.protocol == Protocol::Auto {
                admission.endpoint.h2c = true;
            }
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
                None => tokio::select! {
                    biased;
                    opened = upstream.open(endpoint, self.is_upgrade) => match opened {
                        Ok(connection) => return Ok((connection, admission)),
                        Err(failure) => failure,
                    },
                    () = self.wait.over() => return Err(self.out_of_time(attempts.awaited())),
                },
            };
            // Asking for the endpoint anew is what finds out that the pod has gone meanwhile.
            let pause = attempts.failed(endpoint, failure, key, || {
                self.activity.slot().forget(endpoint);
                self.count(Series::forgot);
                upstream.drop_pod(&endpoint.pod);
            })?;
            drop(admission);
            match self.wait.left() {
                Some(left) if left <= pause => return Err(self.out_of_time(attempts.awaited())),
                _ => tokio::time::sleep(pause).await,
            }
            self.retries();
        }
    }

    /// The response's head, or how the exchange failed.
    ///
    /// # Errors
    /// If it takes too long.
    async fn send(
        &self,
        connection: &mut Connection,
        mut request: Request<RequestBody>,
        http: HttpFacts,
    ) -> Result<Result<Response<()>, Unanswered>, Error> {
        self.naming
            .address(request.headers_mut(), connection.address());
        let (key, sent) = (&self.target.key, Instant::now());
        if let Some(call) = &self.call {
            call.tell_left(request.headers_mut(), self.wait.elapsed());
        }
        let progress = request.body().progress();
        let is_sent = {
            let progress = progress.clone();
            move || progress.is_none_or(|progress| progress.is_complete())
        };
        let error = tokio::select! {
            biased;
            outcome = connection.send(request) => return Ok(outcome),
            // A stream of gRPC may rest for as long as it likes; its client has a deadline if it wants one.
            late = late(progress, http), if self.call.is_none() => match late {
                Late::Client(limit) => return Err(Error::Stalled(limit)),
                Late::Reading(limit) => Error::NotReading(key.clone(), limit),
                Late::Answer(limit) => Error::NoResponse(key.clone(), limit),
            },
            () = self.wait.over() => {
                let awaited = if is_sent() { Awaited::Answer } else { Awaited::Body };
                self.out_of_time(awaited)
            }
        };
        if sent.elapsed() >= SUSPICIOUS {
            connection.retire();
        }
        Err(error)
    }

    /// A dial or a send is made once more.
    fn retries(&self) {
        self.count(Series::retried);
    }

    fn count(&self, what: impl FnOnce(&Series, &Metrics)) {
        let metrics = &self.activator.metrics;
        let series = self.activity.slot().series();
        what(series.as_ref().unwrap_or(&metrics.strangers), metrics);
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Expired { stage, .. } if self.wait.left() == Some(Duration::ZERO) => {
                self.out_of_time(Awaited::Wake(stage))
            }
            Refusal::Delayed { reason, message } if self.wait.left() == Some(Duration::ZERO) => {
                self.out_of_time(Awaited::Delayed { reason, message })
            }
            refusal => Error::Refused(self.target.key.clone(), refusal),
        }
    }

    fn out_of_time(&self, awaited: Awaited) -> Error {
        let (key, waited) = (self.target.key.clone(), self.wait.elapsed());
        Error::OutOfTime {
            key,
            waited,
            awaited,
        }
    }
}
