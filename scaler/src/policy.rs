//! What is wrong with a policy, beyond what an API server can see, and what its status says of it.

use reveille_crds::scaled_sandbox::{FieldError, ParkSpec, ScaledSandboxSpec, validate};

use crate::idle_when;

/// Everything for which a spec cannot be followed as it is; empty where nothing is.
#[must_use]
pub fn check(spec: &ScaledSandboxSpec) -> Vec<FieldError> {
    let mut errors = validate(spec);
    errors.extend(bad_idle_when(spec));
    errors
}

/// Something that its author should mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Reason of a condition or an event.
    pub(crate) reason: &'static str,
    /// What is wrong and what to write.
    pub(crate) message: String,
    /// The policy cannot be followed as it is.
    pub(crate) is_fault: bool,
}

impl Mistake {
    /// The worst of a spec, with all that is as bad.
    pub(crate) fn of(spec: &ScaledSandboxSpec) -> Option<Self> {
        let invalid = validate(spec);
        let reason = if invalid.is_empty() {
            "InvalidIdleWhen"
        } else {
            "Invalid"
        };
        let faults: Vec<String> = invalid
            .into_iter()
            .chain(bad_idle_when(spec))
            .map(|error| error.to_string())
            .collect();
        if faults.is_empty() {
            return waits_in_vain(spec);
        }
        Some(Self {
            reason,
            message: faults.join("; "),
            is_fault: true,
        })
    }
}

fn bad_idle_when(spec: &ScaledSandboxSpec) -> Option<FieldError> {
    let expression = spec.busy.as_ref()?.idle_when.as_deref()?;
    let why = idle_when::check(expression).err()?;
    Some(FieldError {
        field: "spec.busy.idleWhen".to_owned(),
        message: format!(
            "cannot be read ({why}); write an expression over the agent's JSON answer that is true when the \
             agent is idle, as in kernels == 0"
        ),
    })
}

/// The default is not taken for a wish: whoever writes a short deadline alone has written all there is to.
fn waits_in_vain(spec: &ScaledSandboxSpec) -> Option<Mistake> {
    let (wait, deadline) = (spec.park.max_wait, spec.wake.deadline);
    let is_wish = wait > deadline && wait != ParkSpec::default().max_wait;
    is_wish.then(|| Mistake {
        reason: "MaxWaitBeyondDeadline",
        message: format!(
            "spec.park.maxWait: no request waits {wait} s, since wake.deadline ends its wait after {deadline} s; \
             write wake.deadline: {wait} as well, or a shorter maxWait"
        ),
        is_fault: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mistake(rest: Value) -> Option<Mistake> {
        let mut spec = json!({"selector": {}});
        for (name, value) in rest.as_object().unwrap() {
            spec[name] = value.clone();
        }
        Mistake::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_expression_that_cannot_be_read_is_told_with_what_to_write() {
        let busy =
            |expression: &str| json!({"busy": {"path": "/api/status", "idleWhen": expression}});
        assert_eq!(mistake(busy("kernels == 0")), None);
        for broken in [
            "kernels = 0",
            "",
            "runs | center(9) == 0",
            "kernels is prime",
        ] {
            let told = mistake(busy(broken)).unwrap();
            assert_eq!(
                (told.reason, told.is_fault),
                ("InvalidIdleWhen", true),
                "{broken}"
            );
            assert!(
                told.message
                    .starts_with("spec.busy.idleWhen: cannot be read"),
                "{told:?}"
            );
            assert!(told.message.contains("as in kernels == 0"), "{told:?}");
        }
    }

    #[test]
    fn what_an_api_server_would_refuse_comes_first() {
        let told = mistake(json!({"cooldownPeriod": 31_536_001, "park": {"maxWait": 70}})).unwrap();
        assert_eq!((told.reason, told.is_fault), ("Invalid", true));
        assert!(
            told.message.starts_with("spec.cooldownPeriod: write"),
            "{told:?}"
        );
    }

    #[test]
    fn a_wait_beyond_the_deadline_is_told_where_somebody_asked_for_it() {
        assert_eq!(mistake(json!({"wake": {"deadline": 10}})), None);
        assert_eq!(
            mistake(json!({"wake": {"deadline": 120}, "park": {"maxWait": 120}})),
            None
        );
        let told = mistake(json!({"park": {"maxWait": 120}})).unwrap();
        assert_eq!(
            (told.reason, told.is_fault),
            ("MaxWaitBeyondDeadline", false)
        );
        assert!(
            told.message.contains("write wake.deadline: 120"),
            "{told:?}"
        );
    }
}
