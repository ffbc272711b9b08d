//! Watches.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, SendError, Sender};
use serde_json::json;

use super::query::Asked;
use super::store::{Place, Store, What};
use super::{Body, Shared, refusal, status};

const TOO_OLD: &str = "too old resource version";

/// Whatever happened to a collection since a version, and what goes on happening.
pub(super) fn watch(shared: Arc<Shared>, place: Place, asked: &Asked) -> Response<Body> {
    let gone = {
        let store = shared.store();
        (asked.version < store.compacted).then_some(store.gone_in_event)
    };
    if gone == Some(false) {
        return refusal(410, TOO_OLD);
    }
    let (mut lines, body) = Channel::<Bytes, std::convert::Infallible>::new(64);
    let asked = asked.clone();
    tokio::spawn(async move {
        if gone.is_some() {
            let event = json!({"type": "ERROR", "object": status(410, TOO_OLD)});
            let _ = send(&mut lines, &event.to_string()).await;
            return;
        }
        let mut news = shared.news.subscribe();
        let mut sent = 0;
        loop {
            news.borrow_and_update();
            let (fresh, end) = {
                let store = shared.store();
                let fresh = fresh(&store, &place, &asked, sent);
                sent = store.happenings;
                fresh
            };
            for line in fresh {
                if send(&mut lines, &line).await.is_err() {
                    return;
                }
            }
            if end || news.changed().await.is_err() {
                return;
            }
        }
    });
    Response::new(body.boxed_unsync())
}

/// The lines after `sent`, and whether the watch ends after them. Objects are sent from the version on
/// that was asked for, lines as they stand only if they came after the watch had begun.
fn fresh(store: &Store, place: &Place, asked: &Asked, sent: u64) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    let new = store
        .history
        .iter()
        .filter(|it| it.number > sent && it.kind == place.kind);
    for happening in new {
        match &happening.what {
            What::Object(verb, object) => {
                if happening.revision > asked.version && place.shows(object, asked) {
                    // An API server says the type first.
                    let object = place.seen(object);
                    lines.push(format!("{{\"type\":\"{verb}\",\"object\":{object}}}"));
                }
            }
            What::Raw(_) if happening.number <= asked.begun => {}
            What::Raw(line) if line.is_empty() => return (lines, true),
            What::Raw(line) => lines.push(line.clone()),
        }
    }
    (lines, false)
}

async fn send(
    lines: &mut Sender<Bytes, std::convert::Infallible>,
    line: &str,
) -> Result<(), SendError> {
    lines.send_data(Bytes::from(format!("{line}\n"))).await
}
