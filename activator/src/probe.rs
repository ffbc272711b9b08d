//! Whether a pod answers, found out by asking it every few milliseconds.
//!
//! One attempt at a time per waking sandbox and port, each with a deadline of its own, so that a pod that
//! is coming up sees at most one connection of this kind per activator on each of its ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reveille_crds::change::{PodFacts, Probe};
use reveille_crds::health;
use reveille_crds::scaled_sandbox::Readiness;
use tokio::net::TcpStream;

use crate::slot::Facts;

/// Pause after the first failed attempt.
const FIRST_STEP: Duration = Duration::from_millis(5);
/// Longest pause between two attempts.
const LONGEST_STEP: Duration = Duration::from_millis(50);
/// Time for one connection attempt: a pod network that drops SYNs must not cost a kernel timeout.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How a pod shows that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// An HTTP answer from 200 to 399.
    Http {
        address: SocketAddr,
        path: Arc<str>,
        headers: Arc<[(String, String)]>,
        timeout: Duration,
    },
    /// A health check of gRPC that says `SERVING`.
    Grpc {
        address: SocketAddr,
        service: Arc<str>,
        timeout: Duration,
    },
    /// A connection.
    Tcp(SocketAddr),
    /// Nothing that could be asked: the pod maps its ports, and none of the asked ones is among them.
    Trust,
}

/// How to probe the pod for those who ask for these ports: any of the plans will do. None of them if only
/// its Ready condition can tell.
pub(crate) fn plans(facts: &Facts, ports: &[u16]) -> Vec<Plan> {
    let Some(pod) = &facts.pod else {
        return Vec::new();
    };
    match (facts.readiness, &pod.probe) {
        (Readiness::PodReady, _) | (Readiness::Auto, Some(Probe::Kubelet)) => Vec::new(),
        (Readiness::PortOpen, _) | (Readiness::Auto, None) => tcp(pod, ports),
        (Readiness::Auto, Some(Probe::Tcp { port })) => tcp(pod, &[*port]),
        (
            Readiness::Auto,
            Some(Probe::Http {
                port,
                path,
                headers,
                timeout,
            }),
        ) => {
            let plan = pod
                .address(*port)
                .map_or(Plan::Trust, |address| Plan::Http {
                    address,
                    path: Arc::clone(path),
                    headers: Arc::clone(headers),
                    timeout: *timeout,
                });
            vec![plan]
        }
        (
            Readiness::Auto,
            Some(Probe::Grpc {
                port,
                service,
                timeout,
            }),
        ) => {
            let plan = pod
                .address(*port)
                .map_or(Plan::Trust, |address| Plan::Grpc {
                    address,
                    service: Arc::clone(service),
                    timeout: *timeout,
                });
            vec![plan]
        }
    }
}

/// Returns once the pod answers. Cancel-safe: dropping it closes the attempt's connection.
pub(crate) async fn until_ready(plan: Plan) {
    let mut step = FIRST_STEP;
    while !attempt(&plan).await {
        tokio::time::sleep(step).await;
        step = (step * 2).min(LONGEST_STEP);
    }
}

/// A port that the pod does not map answers nobody, so it is no proof beside one that it does.
fn tcp(pod: &PodFacts, ports: &[u16]) -> Vec<Plan> {
    let mapped = ports.iter().filter_map(|port| pod.address(*port));
    let plans: Vec<Plan> = mapped.map(Plan::Tcp).collect();
    if plans.is_empty() {
        vec![Plan::Trust]
    } else {
        plans
    }
}

async fn attempt(plan: &Plan) -> bool {
    match plan {
        Plan::Trust => true,
        Plan::Tcp(address) => connect(*address).await.is_some(),
        Plan::Http {
            address,
            path,
            headers,
            timeout,
        } => {
            let exchange = get(*address, path, headers);
            matches!(
                tokio::time::timeout(*timeout, exchange).await,
                Ok(Some(200..=399))
            )
        }
        Plan::Grpc {
            address,
            service,
            timeout,
        } => {
            let check = check(*address, service);
            matches!(tokio::time::timeout(*timeout, check).await, Ok(Some(true)))
        }
    }
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address))
        .await
        .ok()?
        .ok()
}

async fn get(address: SocketAddr, path: &str, headers: &[(String, String)]) -> Option<u16> {
    let mut request = Request::get(path).header(http::header::CONNECTION, "close");
    let has = |name: &str| {
        headers
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if !has("host") {
        request = request.header(http::header::HOST, address.to_string());
    }
    if !has("user-agent") {
        request = request.header(http::header::USER_AGENT, "reveille-probe");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let stream = TokioIo::new(connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await.ok()?;
    let driver = async {
        // It may end in the very moment it hands over the answer; an exchange it leaves without one
        // fails by itself.
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        response = sender.send_request(request) => Some(response.ok()?.status().as_u16()),
        () = driver => None,
    }
}

/// One health check; `None` if there is no such service, or nobody who speaks gRPC.
async fn check(address: SocketAddr, service: &str) -> Option<bool> {
    let (sender, connection) = h2::client::handshake(connect(address).await?).await.ok()?;
    let driver = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = ask(sender, address, service) => answer,
        () = driver => None,
    }
}

async fn ask(
    sender: h2::client::SendRequest<Bytes>,
    address: SocketAddr,
    service: &str,
) -> Option<bool> {
    let request = Request::post(format!("http://{address}{}", health::PATH))
        .version(http::Version::HTTP_2)
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "reveille-probe")
        .body(())
        .ok()?;
    let mut sender = sender.ready().await.ok()?;
    let (response, mut body) = sender.send_request(request, false).ok()?;
    let question = Bytes::from(health::question(service));
    body.send_data(question, true).ok()?;
    let mut answer = response.await.ok()?.into_body();
    let mut framed = Vec::new();
    while let Some(data) = answer.data().await {
        framed.extend_from_slice(&data.ok()?);
        if framed.len() > health::LONGEST_ANSWER {
            return None;
        }
    }
    let trailers = answer.trailers().await.ok()??;
    let is_ok = trailers
        .get("grpc-status")
        .is_some_and(|status| status == "0");
    Some(is_ok && health::is_serving(&framed))
}
