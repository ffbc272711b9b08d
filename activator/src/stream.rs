//! A response that flows: which of its bytes are heartbeats, and how it ends before its time.
//!
//! What its sandbox leaves open is ended when the process shuts down, when the pod is dead, and when it was
//! silent for `streamIdle` and the pod is not the sandbox's any more: in the words of what it carries where there
//! are any, and otherwise as a broken one, so that half an answer never looks whole.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reveille_activator_core::events::Events;

use crate::grpc;
use crate::slot::{Pulse, Slot};
use crate::upstream::Connection;

/// What a response carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Bytes that say nothing to this proxy.
    Plain,
    /// Server-sent events. A reader drops an event that is not complete, and asks again.
    Events(Events),
    /// A call of gRPC.
    Grpc,
}

/// How a response ends before its time.
#[derive(Debug)]
pub(crate) enum Ending {
    /// As if it were complete, which its readers do not take for more than it is.
    Clean,
    /// With these trailers.
    Trailers(HeaderMap),
    /// Visibly broken.
    Broken,
}

impl Kind {
    /// What the response with these fields carries.
    pub(crate) fn of(headers: &HeaderMap, is_call: bool) -> Self {
        let media = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim();
        if is_call {
            Self::Grpc
        } else if media.eq_ignore_ascii_case("text/event-stream")
            && !headers.contains_key(CONTENT_ENCODING)
        {
            Self::Events(Events::default())
        } else {
            Self::Plain
        }
    }

    /// Follows these bytes; whether any is more than a heartbeat.
    pub(crate) fn is_active(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Events(events) => events.pass(bytes),
            Self::Plain | Self::Grpc => !bytes.is_empty(),
        }
    }

    /// How to end it now, for that reason.
    pub(crate) fn end(&self, reason: &'static str) -> Ending {
        match self {
            Self::Plain => Ending::Broken,
            Self::Events(_) => Ending::Clean,
            Self::Grpc => Ending::Trailers(grpc::broken_off(reason)),
        }
    }
}

/// Completes with the reason once a response on this connection is to end before its time, but for a shutdown.
pub(crate) fn watch(
    pulse: &Arc<Pulse>,
    connection: &Connection,
) -> impl Future<Output = &'static str> + Send + use<> {
    let pulse = Arc::clone(pulse);
    let (pod, life) = (Arc::clone(connection.pod()), Arc::clone(connection.life()));
    async move {
        tokio::select! {
            biased;
            () = life.over() => "the sandbox is gone",
            () = pulse.watch(&pod, Slot::stream_idle) => "the sandbox went to sleep",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_stream_of_events_is_known_by_its_media_type() {
        let kind = |media: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
            Kind::of(&headers, false)
        };
        for media in ["text/event-stream", "Text/Event-Stream ; charset=utf-8"] {
            assert!(matches!(kind(media), Kind::Events(_)), "{media}");
        }
        for media in ["text/plain", "", "text/event-streams"] {
            assert!(matches!(kind(media), Kind::Plain), "{media}");
        }
        let mut packed = HeaderMap::new();
        packed.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        packed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(matches!(Kind::of(&packed, false), Kind::Plain));
    }
}
