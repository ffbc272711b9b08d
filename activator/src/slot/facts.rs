//! What the shell knows of a target beside what its machine decides on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reveille_activator_core::past::Past;
use reveille_crds::change::PodFacts;
use reveille_crds::scaled_sandbox::{Authorization, HostHeader, Protocol, Readiness};

/// What the shell knows of a target beside what its machine decides on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) sandbox_uid: Option<Arc<str>>,
    pub(crate) pod: Option<Arc<PodFacts>>,
    pub(crate) readiness: Readiness,
    pub(crate) websocket_idle: Duration,
    /// Time without bytes after which a response stops counting; `None` is never.
    pub(crate) stream_idle: Option<Duration>,
    pub(crate) http: HttpFacts,
    /// How long the wakes of its policy took lately.
    pub(crate) past: Arc<Mutex<Past>>,
    /// Why its pod does not come up, as far as the watch knows: one sentence.
    pub(crate) trouble: Option<Arc<str>>,
    /// Its only container ports, where no other can be reached.
    pub(crate) ports: Option<Arc<[u16]>>,
    /// The watch itself says that no wake helps.
    pub(crate) is_blocked: bool,
    /// The target is no more; whoever still holds this slot is told so.
    pub(crate) is_gone: bool,
}

/// How requests are spoken to a sandbox, as its policy says, or the settings where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct HttpFacts {
    pub(crate) protocol: Protocol,
    /// Longest time from the request's last byte to the response's head.
    pub(crate) response_timeout: Duration,
    /// Longest time without a byte of the request's body while it is being sent.
    pub(crate) idle_timeout: Duration,
    pub(crate) host: HostHeader,
    pub(crate) authorization: Authorization,
}
