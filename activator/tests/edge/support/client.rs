//! Answers as the client sees them on the wire.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::soon;

/// One HTTP/1.1 response, with everything that came after its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    /// The `detail` of an error.
    pub(crate) fn detail(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// Expects a 200 and gives its body.
pub(crate) fn ok(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{answer:?}");
    &answer.body
}

/// Reads exactly one head from a connection that stays open.
pub(crate) async fn head_of(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    soon("head", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap_or_else(|error| {
                panic!("{error} after {}", String::from_utf8_lossy(&head))
            }));
        }
    })
    .await;
    Answer::parse(&head)
}
