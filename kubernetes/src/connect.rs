//! A client of the API server: who we are, how long we wait, how a dead connection is noticed.
//!
//! The client of `kube` as it comes waits for ever for an answer, tries a refused request fifteen times
//! and logs each failure as an error. Here whoever asks has a deadline of its own and decides itself
//! whether to ask again; what this client adds is that a connection whose other end vanished without a
//! word (a node that died, a network that was cut) ends within [`dead_after`], also where only the server
//! speaks: a watch.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, NamedCluster};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::fetch::chain;

/// For a TCP connection to one address of the server.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which the kernel asks the other end whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Unanswered questions after which the connection is dead.
const KEEPALIVE_RETRIES: u32 = 2;
/// How long a connection is kept without use. Short, because one that died unnoticed costs a write its
/// deadline.
const IDLE: Duration = Duration::from_secs(30);

/// Where and who.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A kubeconfig, its current context. Where missing: `KUBECONFIG`, `~/.kube/config`, and then the
    /// service account of the pod we run in.
    pub kubeconfig: Option<PathBuf>,
    /// `name/version`, as the server's audit log shows it.
    pub user_agent: String,
}

/// Why there is no client. Each says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or is no kubeconfig.
    #[error("kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// For a person.
        why: String,
    },
    /// Neither a kubeconfig nor a service account.
    #[error(
        "no way to the Kubernetes API ({0}); name a kubeconfig, or run in a pod with a service account"
    )]
    NoConfig(String),
    /// Certificates, tokens or names that cannot be used.
    #[error("the Kubernetes API cannot be spoken to: {0}")]
    Unusable(String),
}

/// Time within which a connection without an other end is noticed: 4 s. Shorter than an activator keeps a
/// gate shut after it let a sandbox be put to sleep (10 s), less the time that the sleep's write may take
/// (4 s): who no longer sees whether it slept has to know that before it opens the gate again.
#[must_use]
pub fn dead_after() -> Duration {
    KEEPALIVE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES
}

/// A client, and the namespace it is at home in. Nothing is sent yet: an API server that is away is no
/// error here.
///
/// # Errors
/// If no configuration is found or it cannot be used.
pub async fn client(options: Options) -> Result<(Client, String), Error> {
    let config = config(options.kubeconfig).await?;
    let namespace = config.default_namespace.clone();
    let client = build(config, &options.user_agent).map_err(|error| unusable(&*error))?;
    Ok((client, namespace))
}

/// What a file says; where none was named, the usual places, then the pod's service account.
async fn config(path: Option<PathBuf>) -> Result<Config, Error> {
    let read = match &path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let read = match (read, path) {
        (Ok(read), _) => read,
        (Err(error), Some(path)) => {
            let why = chain(&error);
            return Err(Error::Kubeconfig { path, why });
        }
        (Err(outside), None) => {
            return Config::incluster().map_err(|inside| {
                Error::NoConfig(format!("{}; {}", chain(&outside), chain(&inside)))
            });
        }
    };
    if names_proxy(&read) {
        let why = "the kubeconfig's proxy-url is not supported";
        return Err(Error::Unusable(why.to_owned()));
    }
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(&error))
}

/// Whether the cluster of the current context is to be reached through a proxy.
fn names_proxy(kubeconfig: &Kubeconfig) -> bool {
    let current = kubeconfig.current_context.as_ref();
    let context = kubeconfig
        .contexts
        .iter()
        .filter(|context| Some(&context.name) == current)
        .find_map(|context| context.context.as_ref());
    let cluster = context.and_then(|context| {
        let named = |cluster: &&NamedCluster| cluster.name == context.cluster;
        kubeconfig.clusters.iter().find(named)?.cluster.as_ref()
    });
    cluster.is_some_and(|cluster| cluster.proxy_url.is_some())
}

fn build(mut config: Config, user_agent: &str) -> Result<Client, BoxError> {
    let agent = HeaderValue::from_str(user_agent)?;
    config.headers.push((USER_AGENT, agent));

    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    // The same for what we sent and nobody confirmed; the kernel does not ask while it waits for that.
    http.set_tcp_user_timeout(Some(dead_after()));
    let connector = config.rustls_https_connector_with_connector(http)?;
    let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build::<_, Body>(connector);

    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace))
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Unusable(chain(error))
}
