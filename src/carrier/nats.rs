//! Carriers over NATS. Each component has a connection and credentials of its own.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::MESSAGES;
use crate::cli::{BadConfiguration, CarrierArgs};

/// A dead connection is noticed after two of these.
const PING: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect: everybody parks until one succeeds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The carrier of the activator of that name, and the future that carries until `shutdown`.
///
/// # Errors
/// If the URLs or credentials are unusable. A server that is not there yet is waited for.
pub(crate) async fn for_activator(
    args: &CarrierArgs,
    name: String,
    shutdown: CancellationToken,
) -> anyhow::Result<(
    reveille_activator::Carrier,
    impl Future<Output = ()> + use<>,
)> {
    let (to_scaler, said) = mpsc::channel(MESSAGES);
    let (heard, from_scaler) = mpsc::channel(MESSAGES);
    let (up, link) = watch::channel(false);
    let (client, connection) = connect(args, "reveille-activator").await?;
    let carry =
        reveille_activator::nats::carry(client, connection, name, said, heard, up, shutdown);
    let carrier = reveille_activator::Carrier {
        to_scaler,
        from_scaler,
        link,
    };
    Ok((carrier, carry))
}

/// The carrier of a scaler, and the future that carries until `shutdown`.
///
/// # Errors
/// If the URLs or credentials are unusable. A server that is not there yet is waited for.
pub(crate) async fn for_scaler(
    args: &CarrierArgs,
    shutdown: CancellationToken,
) -> anyhow::Result<(
    reveille_scaler::Carrier,
    impl Future<Output = Result<(), reveille_scaler::nats::Error>> + use<>,
)> {
    let (to_activators, said) = mpsc::channel(MESSAGES);
    let (heard, from_activators) = mpsc::channel(MESSAGES);
    let (events, of_events) = mpsc::channel(MESSAGES);
    let (up, link) = watch::channel(false);
    let (client, connection) = connect(args, "reveille-scaler").await?;
    let carry =
        reveille_scaler::nats::carry(client, connection, said, heard, of_events, up, shutdown);
    let carrier = reveille_scaler::Carrier {
        to_activators,
        from_activators,
        link,
        events: Some(events),
    };
    Ok((carrier, carry))
}

/// A client that connects for ever, and the number of its present connection.
async fn connect(
    args: &CarrierArgs,
    name: &str,
) -> anyhow::Result<(Client, watch::Receiver<Option<u64>>)> {
    let servers = servers(&args.nats)?;
    let mut options = ConnectOptions::new();
    if let Some((user, password)) = user(&servers) {
        options = match password {
            Some(password) => options.user_and_password(user, password),
            None => options.token(user),
        };
    }
    if let Some(file) = &args.nats_credentials {
        options = options.credentials_file(file).await.map_err(|error| {
            BadConfiguration(format!("--nats-credentials {}: {error}", file.display()))
        })?;
    }
    let (tell, connection) = watch::channel(None);
    let events = Events {
        tell,
        made: AtomicU64::new(0),
        complained: AtomicBool::new(false),
    };
    let client = options
        .name(name)
        .retry_on_initial_connect()
        .ping_interval(PING)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            events.take(&event);
            ready(())
        })
        .connect(servers)
        .await
        .context("connecting to NATS")?;
    Ok((client, connection))
}

/// What becomes of the client's events. It tells of them one after the other.
struct Events {
    /// Number of the present connection.
    tell: watch::Sender<Option<u64>>,
    made: AtomicU64,
    /// Since the last connection it has been said that there is none.
    complained: AtomicBool,
}

impl Events {
    fn take(&self, event: &Event) {
        tracing::debug!(%event, "nats");
        match event {
            Event::Connected => {
                self.complained.store(false, Ordering::Relaxed);
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                self.tell.send_replace(Some(number));
            }
            // The pumps tell what becomes of the link.
            Event::Disconnected | Event::Closed => {
                self.tell.send_replace(None);
            }
            Event::ClientError(error)
                if self.tell.borrow().is_none()
                    && !self.complained.swap(true, Ordering::Relaxed) =>
            {
                tracing::warn!(%error, "cannot connect to nats, trying on: {error}");
            }
            Event::ServerError(error) => {
                tracing::warn!(%error, "nats refuses something: {error}");
            }
            _ => {}
        }
    }
}

fn servers(urls: &[String]) -> Result<Vec<ServerAddr>, BadConfiguration> {
    urls.iter()
        .map(|url| {
            // The URL itself stays out of the text: it may hold a password.
            url.parse().map_err(|error| {
                BadConfiguration(format!(
                    "--nats: {error}; write nats://[user:password@]host:port"
                ))
            })
        })
        .collect()
}

/// User and password of the first URL that has them, or its token; the client itself does not look there.
fn user(servers: &[ServerAddr]) -> Option<(String, Option<String>)> {
    servers.iter().find_map(|server| {
        let user = decoded(server.username()?);
        Some((user, server.password().map(decoded)))
    })
}

/// Undoes percent-encoding (RFC 3986 §2.1): a password may hold what a URL may not.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|n| u8::try_from(n).ok())
        };
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high * 16 + low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first attempts come at once; then twice as long each time.
fn pause(attempts: usize) -> Duration {
    let doubled = u32::try_from(attempts).map_or(u64::MAX, |n| 2_u64.saturating_pow(n));
    Duration::from_millis(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_of(url: &str) -> Option<(String, Option<String>)> {
        user(&servers(&[url.to_owned()]).unwrap())
    }

    #[test]
    fn a_url_may_name_a_user_and_a_password_or_a_token() {
        assert_eq!(user_of("nats://localhost:4222"), None);
        assert_eq!(
            user_of("nats://scaler:s%40crit%2F%@localhost"),
            Some(("scaler".into(), Some("s@crit/%".into())))
        );
        assert_eq!(
            user_of("tls://token@localhost"),
            Some(("token".into(), None))
        );
    }

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        let error = servers(&["http://scaler:secret@localhost".to_owned()]).unwrap_err();
        assert!(!error.0.contains("secret"), "{error}");
        assert!(error.0.contains("nats://"), "{error}");
    }

    #[test]
    fn a_lost_server_is_looked_for_at_once_and_then_every_second() {
        assert!(pause(1) < Duration::from_millis(10));
        assert_eq!(pause(50), LONGEST_PAUSE);
        assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
    }
}
