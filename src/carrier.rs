//! How wake and idle events get from the activators to the scalers and back: channels within the
//! process, NATS, or not at all. Both sides see channels and do not know which.

use std::future::pending;

use reveille_crds::message::{ToActivator, ToScaler};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) mod nats;

/// Messages on their way in one direction. A waking sandbox repeats its Wake every 250 ms at most and an
/// activator reports once a second, so 10,000 sandboxes woken in the same instant fit twice with room for
/// the rest; what does not fit is repeated, since every message is a hint.
const MESSAGES: usize = 32_768;

/// Within the process: always up.
pub(crate) fn in_process() -> (reveille_activator::Carrier, reveille_scaler::Carrier) {
    let (to_scaler, from_activators) = mpsc::channel(MESSAGES);
    let (to_activators, from_scaler) = mpsc::channel(MESSAGES);
    let (_, up) = watch::channel(true);
    let activator = reveille_activator::Carrier {
        to_scaler,
        from_scaler,
        link: up.clone(),
    };
    let scaler = reveille_scaler::Carrier {
        to_activators,
        from_activators,
        link: up,
        events: None,
    };
    (activator, scaler)
}

/// None at all, for an activator: never up, so wakes go by the scalers' API.
pub(crate) fn none_for_activator() -> reveille_activator::Carrier {
    reveille_activator::Carrier {
        to_scaler: mpsc::channel(1).0,
        from_scaler: mpsc::channel(1).1,
        link: watch::channel(false).1,
    }
}

/// None at all, for a scaler: never up, so nothing is put to sleep. The future keeps its channels open and
/// ends with `shutdown`; what the scaler says goes nowhere.
pub(crate) fn none_for_scaler(
    shutdown: CancellationToken,
) -> (reveille_scaler::Carrier, impl Future<Output = ()>) {
    let (to_activators, mut said) = mpsc::channel::<ToActivator>(MESSAGES);
    let (unused, from_activators) = mpsc::channel::<ToScaler>(1);
    let carrier = reveille_scaler::Carrier {
        to_activators,
        from_activators,
        link: watch::channel(false).1,
        events: None,
    };
    let open = async move {
        let nobody = async {
            while said.recv().await.is_some() {}
            pending::<()>().await;
        };
        shutdown.run_until_cancelled(nobody).await;
        drop(unused);
    };
    (carrier, open)
}
