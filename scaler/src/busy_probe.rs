//! Asks an agent whether it is busy: `GET <busy.path>`, 200 `{"busyForSeconds": n}`, or any JSON where
//! `busy.idleWhen` says what of it means idle.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::idle_when;

/// The answer is a number, or what a server lists of itself; more than this is no answer.
const MAX_BODY: usize = 64 * 1024;

/// What an agent is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) path: String,
    /// An expression over an answer that is another JSON.
    pub(crate) idle_when: Option<String>,
    /// Time until it is asked again: so long one that is not idle counts as busy, and a little longer.
    pub(crate) period: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    busy_for_seconds: u64,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("its pod has no such port")]
    NoPort,
    #[error("no answer in time")]
    TimedOut,
    #[error("connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    #[error("the busy path cannot be asked for: {0}")]
    Path(#[from] http::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the body is not {{\"busyForSeconds\": n}}: {0}")]
    Body(String),
    #[error("the body is not JSON: {0}")]
    Json(String),
    #[error("busy.idleWhen says nothing about this answer: {0}")]
    Expression(String),
}

impl Error {
    /// For metrics: of a fixed set.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::NoPort => "no-port",
            Self::TimedOut => "timeout",
            Self::Connect(_) => "connect",
            Self::Http(_) | Self::Path(_) => "http",
            Self::Status(_) => "status",
            Self::Body(_) | Self::Json(_) => "body",
            Self::Expression(_) => "expression",
        }
    }
}

/// Asks once, on a connection of its own; zero: not busy.
pub(crate) async fn ask(
    address: SocketAddr,
    question: &Question,
    deadline: Duration,
) -> Result<Duration, Error> {
    tokio::time::timeout(deadline, exchange(address, question))
        .await
        .unwrap_or(Err(Error::TimedOut))
}

async fn exchange(address: SocketAddr, question: &Question) -> Result<Duration, Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&question.path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "reveille-scaler")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let asked = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body
            .map_err(|error| Error::Body(error.to_string()))?
            .to_bytes();
        read(&body, question)
    };
    tokio::pin!(asked);
    tokio::select! {
        // The connection only moves bytes; where both are done at once, the answer counts.
        biased;
        answer = &mut asked => answer,
        closed = connection => {
            closed?;
            asked.await
        }
    }
}

fn read(body: &[u8], question: &Question) -> Result<Duration, Error> {
    let Some(expression) = &question.idle_when else {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| Error::Body(error.to_string()))?;
        return Ok(Duration::from_secs(answer.busy_for_seconds));
    };
    let body = serde_json::from_slice(body).map_err(|error| Error::Json(error.to_string()))?;
    match idle_when::is_idle(expression, &body) {
        Ok(true) => Ok(Duration::ZERO),
        // Asked again before that is over.
        Ok(false) => Ok(question.period * 2),
        Err(why) => Err(Error::Expression(why)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An agent that gives one answer.
    async fn agent(answer: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /busy?x HTTP/1.1\r\n"));
            drop(stream.write_all(answer.as_bytes()).await);
        });
        address
    }

    async fn ask_one(status: &str, body: &str) -> Result<Duration, Error> {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        ask(
            agent(answer).await,
            &question(None),
            Duration::from_secs(20),
        )
        .await
    }

    fn question(idle_when: Option<&str>) -> Question {
        Question {
            path: "/busy?x".to_owned(),
            idle_when: idle_when.map(str::to_owned),
            period: Duration::from_secs(15),
        }
    }

    #[test]
    fn an_answer_in_other_words_is_read_by_the_policys_expression() {
        let said = |body: &str| read(body.as_bytes(), &question(Some("kernels == 0")));
        assert_eq!(said(r#"{"kernels": 0}"#).unwrap(), Duration::ZERO);
        assert_eq!(said(r#"{"kernels": 2}"#).unwrap(), Duration::from_secs(30));
        assert!(matches!(said("{}"), Err(Error::Expression(_))));
        assert!(matches!(said("<html>"), Err(Error::Json(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(said(&deep), Err(Error::Json(_))));
    }

    #[tokio::test]
    async fn the_agent_says_for_how_long_it_is_busy() {
        let busy = ask_one("200 OK", r#"{"busyForSeconds": 30, "more": true}"#).await;
        assert_eq!(busy.unwrap(), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn what_is_not_an_answer_is_an_error() {
        assert!(matches!(
            ask_one("404 Not Found", "{}").await,
            Err(Error::Status(_))
        ));
        for body in [
            "",
            "{}",
            r#"{"busyForSeconds": -1}"#,
            &format!("[{}]", "1,".repeat(MAX_BODY)),
        ] {
            assert!(
                matches!(ask_one("200 OK", body).await, Err(Error::Body(_))),
                "{body:.20}"
            );
        }
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_costs_no_more_than_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = ask(address, &question(None), Duration::from_millis(50)).await;
        assert!(matches!(silent, Err(Error::TimedOut)));
    }
}
