//! Startup, readiness and liveness probes.
//!
//! Thresholds and periods are the kubelet's, with one difference: until the first success a startup or
//! readiness probe is made every 10 ms, then in growing steps up to its period, since a probe on the
//! same machine is cheap and its period would be added to every wake.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, Probe as Spec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::environment::{Invocation, PortMap, Surroundings};
use super::mounts::Mounts;
use super::process::Process;

mod grpc;

const FIRST_STEP: Duration = Duration::from_millis(10);

/// A probe, ready to be made.
pub(super) struct Probe {
    handler: Handler,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    failures: i32,
    successes: i32,
}

enum Handler {
    Http {
        at: SocketAddrV4,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        at: SocketAddrV4,
    },
    Grpc {
        at: SocketAddrV4,
        service: String,
    },
    Exec {
        invocation: Box<Invocation>,
        search: Vec<PathBuf>,
    },
}

/// What a probe needs to know of its container.
pub(super) struct Site<'a> {
    pub(super) container: &'a Container,
    pub(super) address: Ipv4Addr,
    pub(super) ports: &'a [PortMap],
    pub(super) invocation: &'a Invocation,
    pub(super) mounts: &'a Mounts,
    pub(super) search: &'a [PathBuf],
}

impl Probe {
    /// `None` where it has no handler that is known here; the manifest was checked before.
    pub(super) fn new(spec: &Spec, site: &Site<'_>) -> Option<Self> {
        let handler = if let Some(http) = &spec.http_get {
            let headers = http.http_headers.iter().flatten();
            Handler::Http {
                at: site.at(&http.port)?,
                path: http
                    .path
                    .clone()
                    .filter(|path| path.starts_with('/'))
                    .unwrap_or_else(|| "/".to_owned()),
                headers: headers
                    .map(|header| (header.name.clone(), header.value.clone()))
                    .collect(),
            }
        } else if let Some(tcp) = &spec.tcp_socket {
            Handler::Tcp {
                at: site.at(&tcp.port)?,
            }
        } else if let Some(grpc) = &spec.grpc {
            Handler::Grpc {
                at: site.at(&IntOrString::Int(grpc.port))?,
                service: grpc.service.clone().unwrap_or_default(),
            }
        } else {
            let command = spec.exec.as_ref()?.command.as_deref()?;
            let invocation = Surroundings::beside(site.invocation, command, site.mounts);
            Handler::Exec {
                invocation: Box::new(invocation),
                search: site.search.to_vec(),
            }
        };
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        Some(Self {
            handler,
            initial_delay: seconds(spec.initial_delay_seconds, 0),
            period: seconds(spec.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(spec.timeout_seconds, 1).max(Duration::from_secs(1)),
            failures: spec.failure_threshold.unwrap_or(3).max(1),
            successes: spec.success_threshold.unwrap_or(1).max(1),
        })
    }

    /// Returns at the first success; `Err` when the time of a startup probe is over.
    pub(super) async fn startup(&self) -> Result<(), String> {
        sleep(self.initial_delay).await;
        let within = self.period * self.failures.unsigned_abs();
        timeout(within, self.first_success()).await.map_err(|_| {
            format!(
                "startup probe did not succeed within {} s",
                within.as_secs()
            )
        })
    }

    /// Tells each change of readiness; never returns.
    pub(super) async fn readiness(&self, mut tell: impl FnMut(bool)) {
        sleep(self.initial_delay).await;
        self.first_success().await;
        tell(true);
        let (mut ready, mut row) = (true, 0);
        loop {
            sleep(self.period).await;
            let success = self.once().await;
            row = if success == ready { 0 } else { row + 1 };
            if row >= if ready { self.failures } else { self.successes } {
                ready = success;
                row = 0;
                tell(ready);
            }
        }
    }

    /// Returns when a liveness probe has failed too often in a row.
    pub(super) async fn liveness(&self) -> String {
        sleep(self.initial_delay).await;
        let mut row = 0;
        loop {
            row = if self.once().await { 0 } else { row + 1 };
            if row >= self.failures {
                return format!("liveness probe failed {row} times");
            }
            sleep(self.period).await;
        }
    }

    async fn first_success(&self) {
        let mut step = FIRST_STEP;
        let mut row = 0;
        loop {
            let began = Instant::now();
            row = if self.once().await { row + 1 } else { 0 };
            if row >= self.successes {
                return;
            }
            tokio::time::sleep_until(began + step).await;
            step = step.mul_f32(1.5).min(self.period);
        }
    }

    async fn once(&self) -> bool {
        match &self.handler {
            Handler::Http { at, path, headers } => timeout(self.timeout, http(*at, path, headers))
                .await
                .unwrap_or(false),
            Handler::Tcp { at } => matches!(
                timeout(self.timeout, TcpStream::connect(at)).await,
                Ok(Ok(_))
            ),
            Handler::Grpc { at, service } => {
                let asked = timeout(self.timeout, grpc::is_serving(*at, service));
                asked.await.unwrap_or(false)
            }
            Handler::Exec { invocation, search } => exec(invocation, search, self.timeout).await,
        }
    }
}

impl Site<'_> {
    /// Where a container port is here; one that is not declared is taken as it is.
    fn at(&self, port: &IntOrString) -> Option<SocketAddrV4> {
        let container = match port {
            IntOrString::Int(port) => u16::try_from(*port).ok()?,
            IntOrString::String(name) => {
                let ports = self.container.ports.iter().flatten();
                let named = ports
                    .into_iter()
                    .find(|port| port.name.as_ref() == Some(name))?;
                u16::try_from(named.container_port).ok()?
            }
        };
        let mapped = self.ports.iter().find(|port| port.container == container);
        let port = mapped.map_or(container, |port| port.local);
        Some(SocketAddrV4::new(self.address, port))
    }
}

/// 200 to 399, as the kubelet counts it.
async fn http(at: SocketAddrV4, path: &str, headers: &[(String, String)]) -> bool {
    let Ok(stream) = TcpStream::connect(at).await else {
        return false;
    };
    let mut request = http::Request::get(path).header(http::header::USER_AGENT, "kube-probe/1.36");
    if headers
        .iter()
        .all(|(name, _)| !name.eq_ignore_ascii_case("host"))
    {
        request = request.header(http::header::HOST, at.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Empty::<Bytes>::new()) else {
        return false;
    };
    let Ok((mut sender, connection)) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
    else {
        return false;
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection moves the bytes; when it ends first, what it has read is already in the answer.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    };
    answer.is_ok_and(|response| (200..400).contains(&response.status().as_u16()))
}

async fn exec(invocation: &Invocation, search: &[PathBuf], within: Duration) -> bool {
    let Ok(mut process) = Process::spawn(invocation, search, None) else {
        return false;
    };
    let success =
        matches!(timeout(within, process.exited()).await, Ok(Ok(status)) if status.success());
    process.sweep().await;
    success
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with one of `answers`, in turn, and hangs up; tells what was asked.
    async fn serve(listener: TcpListener, answers: &'static [&'static str]) -> Vec<String> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    }

    #[tokio::test]
    async fn an_http_probe_takes_200_to_399_for_success() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
        let answers = &[
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "nonsense\r\n\r\n",
        ];
        let server = tokio::spawn(serve(listener, answers));
        let headers = [
            ("X-Probe".to_owned(), "yes".to_owned()),
            ("Host".to_owned(), "agent.test".to_owned()),
        ];
        let mut seen = Vec::new();
        for _ in 0..answers.len() {
            seen.push(http(at, "/ready?deep=1", &headers).await);
        }
        assert_eq!(seen, [true, true, false, false]);
        let asked = server.await.unwrap().remove(0).to_ascii_lowercase();
        assert!(asked.starts_with("get /ready?deep=1 http/1.1"), "{asked}");
        assert!(
            asked.contains("x-probe: yes") && asked.contains("host: agent.test"),
            "{asked}"
        );
        assert!(!http(at, "/", &[]).await, "nobody listens any more");
    }
}
