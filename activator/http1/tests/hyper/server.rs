//! Towards a client: requests.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reveille_http1::{Content, Fault, Heads, Table};

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
    while let Some((head, framing, taken)) = heads.request(rest, true, &mut table)? {
        let version = version(head.version);
        // The type that hyper keeps a target in has no fragment.
        let uri = head.target.parse::<http::Uri>();
        let target = uri.map_or_else(|_| head.target.to_owned(), |uri| uri.to_string());
        outcome.messages.push(Message {
            start: format!("{} {target} {version}", head.method),
            fields: shown(head.fields),
            ..Message::default()
        });
        // hyper leaves what follows a CONNECT alone.
        let persists = framing.persists && head.method != "CONNECT";
        rest = outcome.read(
            Content::of(framing.length, LIMITS),
            &rest[taken..],
            &mut table,
        )?;
        if !persists {
            break;
        }
    }
    Ok(())
}

pub(crate) fn hypers(bytes: &[u8]) -> Outcome {
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let service = service_fn(|request| {
        let outcome = Rc::clone(&outcome);
        async move {
            record(request, &outcome).await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let memory = Memory {
        left: bytes,
        answers: false,
    };
    let served = run(hyper::server::conn::http1::Builder::new()
        .max_headers(LIMITS.fields)
        .half_close(true)
        .serve_connection(memory, service));
    let mut outcome = std::mem::take(&mut *outcome.borrow_mut());
    outcome.fault = served.err().map(|error| error.to_string());
    outcome
}

async fn record(request: Request<Incoming>, outcome: &RefCell<Outcome>) {
    let (parts, mut body) = request.into_parts();
    outcome.borrow_mut().messages.push(Message {
        start: format!("{} {} {:?}", parts.method, parts.uri, parts.version),
        fields: mapped(&parts.headers),
        ..Message::default()
    });
    while let Some(frame) = body.frame().await {
        match frame {
            Err(_) => return,
            Ok(frame) => match frame.into_data() {
                Ok(data) => outcome.borrow_mut().content(&data),
                Err(frame) => {
                    let fields = frame.trailers_ref().map(mapped);
                    outcome.borrow_mut().trailers(fields.unwrap_or_default());
                }
            },
        }
    }
    outcome.borrow_mut().end();
}
