//! What goes wrong with single targets of a policy, and the conditions that name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use reveille_crds::SandboxKey;
use reveille_crds::scaled_sandbox::ScaledSandboxSpec;

/// Targets that a condition names; of the others it says how many there are.
const NAMED: usize = 3;

/// What goes wrong with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// It is woken right after each of its sleeps: by whom, empty where that is not known.
    pub(crate) flapping: Option<Arc<str>>,
    /// Its agent has been silent when asked whether it is busy, and counts as idle.
    pub(crate) is_agent_silent: bool,
}

/// Whether a condition holds, its reason and message.
pub(super) type Holds = (bool, &'static str, String);

/// Of policies that ask on a busy path: whether agents answer there.
pub(super) fn busy_path_answers(
    troubled: &BTreeMap<SandboxKey, Trouble>,
    spec: &ScaledSandboxSpec,
) -> Holds {
    let silent = troubled.iter().filter(|(_, it)| it.is_agent_silent);
    let names = silent.map(|(key, _)| key.name().to_owned()).collect();
    let limit = spec.busy.as_ref().map_or(0, |busy| busy.failure_limit);
    match listed(names) {
        None => (
            true,
            "Answers",
            "every agent that was asked whether it is busy has answered".to_owned(),
        ),
        Some(listed) => (
            false,
            "AgentSilent",
            format!(
                "no usable answer on busy.path {limit} times in a row, which counts as idle: {listed}; mend \
                 busy.path, busy.port or busy.idleWhen, or the agent"
            ),
        ),
    }
}

/// Whether some are woken again and again right after their sleep, and by whom.
pub(super) fn flapping(
    troubled: &BTreeMap<SandboxKey, Trouble>,
    spec: &ScaledSandboxSpec,
) -> Holds {
    let flapping = troubled.iter().filter_map(|(key, it)| {
        let by = it.flapping.as_deref()?;
        Some(match by {
            "" => key.name().to_owned(),
            by => format!("{} by {by}", key.name()),
        })
    });
    match listed(flapping.collect()) {
        None => (
            false,
            "Calm",
            "none is woken again and again right after its sleep".to_owned(),
        ),
        Some(listed) => (
            true,
            "WokenAfterSleep",
            format!(
                "woken again and again within the cooldownPeriod of {} s after falling asleep: {listed}; end these \
                 clients, or raise cooldownPeriod beyond the pause between their attempts",
                spec.cooldown_period
            ),
        ),
    }
}

/// A few of them, and how many more there are; nothing where there is none.
fn listed(mut all: Vec<String>) -> Option<String> {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let named = all.join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(named),
        (false, more) => Some(format!("{named} and {more} more")),
    }
}
