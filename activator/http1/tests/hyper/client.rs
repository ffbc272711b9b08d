//! Towards a server: the response to one GET.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use reveille_http1::{Asked, Content, Fault, Heads, Table};

use crate::memory::{Memory, run};
use crate::message::{LIMITS, Message, Outcome, mapped, shown, version};

pub(crate) fn ours(bytes: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.fault = read(bytes, &mut outcome)
        .err()
        .map(|fault| format!("{fault:?}"));
    outcome
}

fn read(bytes: &[u8], outcome: &mut Outcome) -> Result<(), Fault> {
    let (mut heads, mut table) = (Heads::new(LIMITS), Table::default());
    let mut rest = bytes;
    loop {
        let found = heads.response(Asked::Other, rest, true, &mut table)?;
        let Some((head, framing, taken)) = found else {
            return Ok(());
        };
        rest = &rest[taken..];
        if framing.is_interim(head.status) {
            continue;
        }
        let version = version(head.version);
        outcome.messages.push(Message {
            start: format!("{} {version}", head.status),
            fields: shown(head.fields),
            ..Message::default()
        });
        outcome.read(Content::of(framing.length, LIMITS), rest, &mut table)?;
        return Ok(());
    }
}

pub(crate) fn hypers(bytes: &[u8]) -> Outcome {
    let memory = Memory {
        left: bytes,
        answers: true,
    };
    run(async {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(LIMITS.fields)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake::<_, Empty<Bytes>>(memory)
            .await
            .expect("a connection");
        let request = Request::get("/").body(Empty::new()).expect("a request");
        let answer = async move {
            let mut outcome = Outcome::default();
            match sender.send_request(request).await {
                Ok(response) => record(response, &mut outcome).await,
                Err(error) => outcome.fault = Some(error.to_string()),
            }
            outcome
        };
        let (mut connection, mut answer) = (pin!(connection), pin!(answer));
        let mut is_over = false;
        poll_fn(|cx| {
            if !is_over {
                is_over = connection.as_mut().poll(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await
    })
}

async fn record(response: Response<Incoming>, outcome: &mut Outcome) {
    let (parts, mut body) = response.into_parts();
    outcome.messages.push(Message {
        start: format!("{} {:?}", parts.status.as_u16(), parts.version),
        fields: mapped(&parts.headers),
        ..Message::default()
    });
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => {
                outcome.fault = Some(error.to_string());
                return;
            }
            Ok(frame) => match frame.into_data() {
                Ok(data) => outcome.content(&data),
                Err(frame) => {
                    outcome.trailers(frame.trailers_ref().map(mapped).unwrap_or_default())
                }
            },
        }
    }
    outcome.end();
}
