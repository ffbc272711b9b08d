//! The life of a request, step by step. Dropping the future at any step gives everything back: the
//! ticket, the count of the sandbox's activity, the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Activator;
use crate::body::{Body, FromClient, RequestBody, TrackedBody};
use crate::config::Config;
use crate::error::Error;
use crate::front;
use crate::grpc::Call;
use crate::headers;
use crate::metrics::Metrics;
use crate::naming::Naming;
use crate::rescue;
use crate::route::{Route, Router};
use crate::server::{Client, Serving, Tasks};
use crate::slot::Activity;
use crate::stream::Kind;
use crate::tunnel::{self, Switch};
use crate::upstream::Upstream;
use crate::way;

mod attempt;
mod exchange;
mod find;
mod patience;
mod tally;

use exchange::{Answer, Exchange};
pub(crate) use find::find;
pub(crate) use tally::Tally;

/// What all connections serve their requests with.
pub(crate) struct Proxy {
    activator: Arc<Activator>,
    router: Router,
    tasks: Tasks,
}

/// The client hung up: nobody is left to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client left")]
pub(crate) struct Gone;

impl Proxy {
    pub(crate) fn new(activator: Arc<Activator>) -> Self {
        let router = Router::new(&activator.config);
        Self {
            activator,
            router,
            tasks: Tasks::new(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.activator.config
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.activator.upstream
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.activator.metrics
    }

    /// Tunnels and h2 streams.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Answers one request, come what may.
    ///
    /// # Errors
    /// If the client is gone.
    pub(crate) async fn serve(
        &self,
        client: &Client,
        request: Request<FromClient>,
        serving: Serving,
    ) -> Result<Response<Body>, Gone> {
        let (version, call) = (request.version(), Call::of(&request));
        let mut tally = Tally::begin(&self.activator, &request);
        let tether = Arc::clone(serving.tether());
        let reader = self.config().pages.reader(request.headers());
        let outcome = tokio::select! {
            // An answer that is there is given: whether the client is there too shows in the writing.
            biased;
            outcome = self.forward(client, request, call, serving, &mut tally) => outcome,
            // h2 tells by itself, and per stream.
            () = client.gone(), if version < Version::HTTP_2 => Err(Error::ClientGone),
            () = tether.leaving() => Err(Error::ShuttingDown),
        };
        match outcome {
            Ok(response) => Ok(tally.follow(response)),
            Err(Error::ClientGone) => Err(Gone),
            Err(error) => {
                tally.failed(&error);
                let sandbox = tally.sandbox();
                let mut response = rescue::respond(&error, sandbox, version, call.is_some());
                if let Some(reader) = reader {
                    reader.let_in(response.headers_mut());
                }
                Ok(tally.follow(response))
            }
        }
    }

    async fn forward(
        &self,
        client: &Client,
        request: Request<FromClient>,
        call: Option<Call>,
        serving: Serving,
        tally: &mut Tally,
    ) -> Result<Response<Body>, Error> {
        let (mut parts, incoming) = request.into_parts();

        // 1 route
        headers::check_framing(&parts.headers)?;
        headers::check_target(&parts)?;
        // HTTP/1.1 refuses more while it reads them.
        if parts.headers.len() > self.activator.config.header_count {
            return Err(Error::TooManyFields(self.activator.config.header_count));
        }
        let switch = tunnel::wanted(&mut parts, serving.tether())?;
        let config = self.config();
        let mut target = match self.router.route(&parts) {
            Ok(Route::Sandbox(target)) => target,
            Ok(Route::Health) => return Ok(health()),
            Ok(Route::Front) => return Ok(front::page(self.router.domain(), &parts)),
            Err(error) => match config.pages.preflight(&parts) {
                Some(answer) => return Ok(answer.map(|()| Body::empty())),
                None => return Err(error),
            },
        };
        headers::count_hop(&mut parts)?;

        // 2 authorize: every caller may reach every sandbox; the mode `none` is the only one so far
        let way = way::of(&parts, client.address(), &config.trusted_proxies);
        config.pages.admit(&parts, &way, &target, &config.domain)?;

        // 3 begin activity
        let deadline = call.and_then(|call| call.timeout);
        target.wait = target.wait.into_iter().chain(deadline).min();
        let wait = Wait::begin(target.wait);
        let (slot, only) = find(&self.activator.directory, &target).await?;
        tally.found(&target.key, slot.series());
        let activity = slot.begin().by(way::caller(way.client));
        let activity = activity.asks(&parts.method, &parts.uri, switch.is_some());

        // 4 directory, 5 park, 6 connect, 7 send
        let body = RequestBody::new(incoming, &activity, &serving);
        let http = slot.http();
        let naming = Naming::of(&way, &target.by, http.host, &parts.headers);
        headers::to_upstream(&mut parts, &target.by, http.authorization);
        if switch.is_some() {
            naming.hide_origin(&mut parts.headers);
        }
        let version = parts.version;
        way.tell(&mut parts.headers, client.forwarded_for(), &target.by);
        target.by.leave(&mut parts.uri)?;
        let (request, switch) = outbound(parts, body, switch);
        let exchange = Exchange {
            activator: &self.activator,
            activity: &activity,
            target: &target,
            only,
            wait,
            call,
            is_upgrade: switch.is_some(),
            naming: &naming,
        };
        let mut answer = exchange.run(request).await?;

        // 8 respond
        naming.turn_back(answer.response.headers_mut(), answer.connection.address());
        self.respond(answer, switch, activity, serving, version)
    }

    fn respond(
        &self,
        answer: Answer,
        switch: Option<Switch>,
        activity: Activity,
        serving: Serving,
        version: Version,
    ) -> Result<Response<Body>, Error> {
        let Answer {
            mut response,
            connection,
            waited,
            call,
        } = answer;
        if let Err(text) = headers::check_answer(response.headers_mut()) {
            let key = activity.slot().key().clone();
            return Err(Error::Exchange(key, text.to_owned()));
        }
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        // To a client of h2 any 2xx says that the WebSocket is open (RFC 8441 §5).
        let over_h2 = switch.as_ref().is_some_and(Switch::is_over_h2);
        if over_h2 && response.status().is_success() {
            let key = activity.slot().key().clone();
            return Err(Error::NoSwitch(key, response.status()));
        }
        if let Some(seconds) = headers::to_client(&mut response) {
            activity.slot().busy(connection.pod(), seconds);
        }
        headers::tell(
            response.headers_mut(),
            waited.as_ref(),
            connection.opened_in(),
        );
        *response.version_mut() = Version::HTTP_11;
        match (is_switch, switch) {
            (true, Some(switch)) => {
                let tunnels = &self.activator.metrics.tunnels;
                Ok(switch.run(
                    response,
                    activity,
                    connection,
                    serving,
                    tunnels,
                    &self.tasks,
                ))
            }
            (true, None) => {
                let text = "it switched protocols without being asked".to_owned();
                Err(Error::Exchange(activity.slot().key().clone(), text))
            }
            (false, _) => {
                let kind = Kind::of(response.headers(), call.is_some());
                let body = TrackedBody::new(kind, activity, serving, connection, version);
                Ok(response.map(|()| Body::tracked(body)))
            }
        }
    }
}

/// How long the client says it will wait for the head of the response, if it says so: the whole time from its
/// request on, whatever it is spent with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    since: Instant,
    asked: Option<Duration>,
}

impl Wait {
    fn begin(asked: Option<Duration>) -> Self {
        let since = Instant::now();
        Self { since, asked }
    }

    /// What is left of it; `None` if the client did not say.
    pub(crate) fn left(&self) -> Option<Duration> {
        let asked = self.asked?;
        Some(asked.saturating_sub(self.since.elapsed()))
    }

    /// Time since the request came.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Completes when nothing is left; never if the client did not say.
    pub(crate) async fn over(&self) {
        match self.left() {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }
}

/// The request that the sandbox gets, but for the parts that belong to the connection.
fn outbound(
    mut parts: Parts,
    mut body: RequestBody,
    switch: Option<Switch>,
) -> (Request<RequestBody>, Option<Switch>) {
    let offer = switch.as_ref().map(Switch::offer);
    let expects = parts.version == Version::HTTP_11 && parts.headers.contains_key(EXPECT);
    headers::offer(&mut parts.headers, offer);
    parts.extensions = http::Extensions::new();
    if switch.as_ref().is_some_and(Switch::is_over_h2) {
        tunnel::as_http1(&mut parts);
        body = RequestBody::empty();
    }
    let agreement = match body.progress() {
        Some(_) if expects => Some(body.expect_agreement()),
        // Nothing to agree about.
        None if expects => {
            parts.headers.remove(EXPECT);
            None
        }
        _ => None,
    };
    let mut request = Request::from_parts(parts, body);
    if let Some(agreement) = agreement {
        on_continue(&mut request, agreement);
    }
    (request, switch)
}

/// Lets the body go when the sandbox says `100 Continue`; asking for it is what makes the client's side
/// say it too.
fn on_continue(request: &mut Request<RequestBody>, agreement: oneshot::Sender<()>) {
    let agreement = parking_lot::Mutex::new(Some(agreement));
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == StatusCode::CONTINUE
            && let Some(agreement) = agreement.lock().take()
        {
            // Nobody listens once the body has lost patience.
            let _ = agreement.send(());
        }
    });
}

fn health() -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from_static(b"{\"status\":\"ok\"}\n")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether a request may be sent a second time, and what to send then.
pub(crate) fn spare(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let exchange = reveille_activator_core::retry::Exchange {
        method: request.method().as_str(),
        has_body: request.body().progress().is_some(),
        response_began: false,
        sent: 1,
    };
    if !exchange.may_resend() || request.method() == Method::CONNECT {
        return None;
    }
    let mut spare = Request::new(RequestBody::empty());
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.headers_mut() = request.headers().clone();
    Some(spare)
}
