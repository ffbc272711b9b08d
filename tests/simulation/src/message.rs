//! What activators and scalers say to each other, in the cores' own words.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::gate::Drain;
use reveille_scaler_core::act::Tell;
use reveille_scaler_core::ledger::Report;

use crate::objects::{Name, Uid};

/// From an activator to the scalers.
#[derive(Clone, Debug)]
pub(crate) enum ToScaler {
    Wake {
        target: Name,
        from: Arc<str>,
        waiting: u32,
    },
    Activity {
        from: Arc<str>,
        incarnation: Arc<str>,
        sequence: u64,
        full: bool,
        entries: Vec<(Name, Report)>,
    },
    Drained {
        target: Name,
        from: Arc<str>,
        incarnation: Arc<str>,
        nonce: u64,
        drained: bool,
    },
    Ready {
        target: Name,
        pod: Uid,
    },
}

/// From a scaler to the activators.
#[derive(Clone, Debug)]
pub(crate) enum ToActivator {
    Sync,
    Drain { target: Name, drain: Drain },
    Tell { target: Name, tell: Tell },
    Undrain { target: Name, nonce: u64 },
}

impl ToScaler {
    /// For the trace.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Wake {
                target,
                from,
                waiting,
            } => format!("{from} asks to wake {target}, {waiting} waiting"),
            Self::Activity {
                from,
                sequence,
                full,
                entries,
                ..
            } => {
                let rows: Vec<String> = entries
                    .iter()
                    .map(|(name, report)| row(name, report))
                    .collect();
                let full = if *full { " full" } else { "" };
                format!("{from} reports #{sequence}{full} [{}]", rows.join(", "))
            }
            Self::Drained {
                target,
                from,
                nonce,
                drained,
                ..
            } => {
                let answer = if *drained { "drained" } else { "busy" };
                format!("{from} answers {answer} for {target} to nonce {nonce}")
            }
            Self::Ready { target, pod } => format!("{target} is ready as {pod}"),
        }
    }
}

fn row(name: &Name, report: &Report) -> String {
    let Report {
        in_flight,
        parked,
        quiet_for,
        busy,
    } = report;
    let lease = busy
        .as_ref()
        .map_or_else(String::new, |(_, left)| format!(" busy for {left:?}"));
    match (in_flight, parked) {
        (0, 0) => format!("{name} quiet for {:.1} s{lease}", quiet_for.as_secs_f64()),
        _ => format!("{name} {in_flight} in flight {parked} parked{lease}"),
    }
}

impl ToActivator {
    /// For the trace.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Sync => "sync".into(),
            Self::Drain { target, drain } => {
                let Drain {
                    nonce, epoch, hold, ..
                } = drain;
                format!(
                    "drain {target} epoch {epoch} nonce {nonce} hold {} s",
                    hold.as_secs()
                )
            }
            Self::Tell { target, tell } => match tell {
                Tell::Waking { epoch } => format!("{target} waking epoch {epoch}"),
                Tell::Delayed { reason, .. } => format!("{target} delayed: {reason}"),
                Tell::Refused(refusal) => format!("{target} refused: {}", refusal.reason()),
                Tell::Failed {
                    reason,
                    retry_after,
                    ..
                } => {
                    format!(
                        "{target} failed: {reason}, retry after {}",
                        seconds(*retry_after)
                    )
                }
            },
            Self::Undrain { target, nonce } => format!("undrain {target} nonce {nonce}"),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
