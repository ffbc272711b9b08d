//! What a ScaledSandbox may say, once as CEL for the API server and once as Rust for where there is none.
//!
//! Both have the same sentence, and it says what to write instead. The schema carries the same bounds as
//! `minimum` and `maximum` for editors and `kubectl explain`.

use serde_json::{Value, json};

use super::ScaledSandboxSpec;
use crate::key::is_label;
use crate::selector::Selector;

/// One year: beyond it a duration is more likely milliseconds than meant.
pub(super) const LONGEST: u32 = 31_536_000;
/// What is to go for good is told a day ahead.
pub(super) const DAY: u32 = 86_400;
/// One hour: no client and no load balancer waits longer.
pub(super) const LONGEST_WAIT: u32 = 3600;
/// One day: agents think and pods load models for long, but not longer.
pub(super) const LONGEST_ANSWER: u32 = 86_400;
/// A hundred times the default; each parked request holds a connection.
pub(super) const MOST_PARKED: u32 = 100_000;
/// Longest path of the busy probe, in bytes.
const LONGEST_PATH: usize = 1024;
/// What a path and its query may hold besides letters and digits (RFC 3986, section 3.3 and 3.4).
const IN_PATHS: &[u8] = b"-._~!$&'()*+,;=:@%/?";
/// Most labels and requirements of a selector, so that the API server can price a rule over them.
const MOST_REQUIREMENTS: u32 = 32;

/// A field of a ScaledSandbox that cannot be, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Path from the object's root, as `spec.park.maxWait`.
    pub field: String,
    /// A sentence for a person.
    pub message: String,
}

/// One rule, in both forms.
struct Rule {
    /// Path below `spec`; empty for the spec itself.
    field: &'static str,
    /// Holds where the spec is good.
    cel: &'static str,
    message: &'static str,
    /// The same in Rust.
    holds: fn(&ScaledSandboxSpec) -> bool,
}

/// Everything wrong with a spec; empty where nothing is.
#[must_use]
pub fn validate(spec: &ScaledSandboxSpec) -> Vec<FieldError> {
    let broken = RULES.iter().filter(|rule| !(rule.holds)(spec));
    let mut errors: Vec<FieldError> = broken.map(|rule| error(rule.field, rule.message)).collect();
    if let Some(Err(invalid)) = spec.selector.as_ref().map(Selector::read) {
        errors.push(error("selector", &invalid.to_string()));
    }
    errors
}

fn error(field: &str, message: &str) -> FieldError {
    let dot = if field.is_empty() { "" } else { "." };
    FieldError {
        field: format!("spec{dot}{field}"),
        message: message.to_owned(),
    }
}

/// `x-kubernetes-validations` of the spec.
pub(super) fn validations() -> Value {
    let rules = RULES.iter().map(|rule| {
        let mut entry = json!({ "rule": rule.cel, "message": rule.message });
        if !rule.field.is_empty() {
            entry["fieldPath"] = format!(".{}", rule.field).into();
        }
        entry
    });
    rules.collect()
}

/// The API's LabelSelector, with the bounds that let the API server price a rule over it.
pub(super) fn selector_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let value = json!({ "type": "string", "maxLength": 63, "x-kubernetes-validations": [{
        "rule": "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
        "message": "no value of a label: write at most 63 letters, digits, '-', '_' or '.', beginning and \
                    ending with a letter or digit",
    }] });
    let rule = json!([{
        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
                 : !has(self.values) || size(self.values) == 0",
        "message": "In and NotIn need at least one value, Exists and DoesNotExist take none: \
                    write values: [a, b] or leave values out",
    }, {
        "rule": format!("self.key.matches('{LABEL_KEY}') && self.key.indexOf('/') <= 253"),
        "fieldPath": ".key",
        "message": NO_KEY,
    }]);
    // The schema of a map says nothing of its keys.
    let keys = json!([{
        "rule": format!("self.all(key, key.matches('{LABEL_KEY}') && key.indexOf('/') <= 253)"),
        "message": NO_KEY,
    }]);
    schemars::json_schema!({
        "type": "object",
        "description": "Every Sandbox and SandboxClaim of the namespace whose labels match; {} is all of \
                        them. Exactly one of scaleTargetRef and selector.",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels and their values, all of them.",
                "maxProperties": MOST_REQUIREMENTS,
                "additionalProperties": value.clone(),
                "x-kubernetes-validations": keys,
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements, all of them.",
                "maxItems": MOST_REQUIREMENTS,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "description": "Label.", "type": "string", "minLength": 1, "maxLength": 317 },
                        "operator": {
                            "type": "string",
                            "description": "In, NotIn, Exists or DoesNotExist.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "maxLength": 12,
                        },
                        "values": {
                            "type": "array",
                            "description": "At least one for In and NotIn, none for the others.",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": value,
                        },
                    },
                    "x-kubernetes-validations": rule,
                },
            },
        },
    })
}

/// A label's key, in RE2.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?\
                         [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// What is wrong with such a key.
const NO_KEY: &str = "no key of a label: write 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with \
                      a letter or digit, if need be behind a domain and '/', as in example.com/fleet";

const RULES: [Rule; 21] = [
    Rule {
        field: "",
        cel: "has(self.scaleTargetRef) != has(self.selector)",
        message: "write exactly one of scaleTargetRef (one sandbox by name) and selector (a fleet by label)",
        holds: |spec| spec.scale_target_ref.is_some() != spec.selector.is_some(),
    },
    Rule {
        field: "scaleTargetRef",
        cel: "!has(self.scaleTargetRef) || \
              self.scaleTargetRef.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        message: "write the name of a Sandbox or SandboxClaim of this namespace: 1 to 63 of a-z, 0-9 and \
                  '-', starting and ending with a letter or digit",
        holds: |spec| {
            spec.scale_target_ref
                .as_ref()
                .is_none_or(|target| is_label(&target.name))
        },
    },
    Rule {
        field: "cooldownPeriod",
        cel: "self.cooldownPeriod >= 0 && self.cooldownPeriod <= 31536000",
        message: "write whole seconds from 0 to 31536000 (a year), as in 300",
        holds: |spec| spec.cooldown_period <= LONGEST,
    },
    Rule {
        field: "initialCooldownPeriod",
        cel: "self.initialCooldownPeriod >= 0 && self.initialCooldownPeriod <= 31536000",
        message: "write whole seconds from 0 to 31536000 (a year), as in 600",
        holds: |spec| spec.initial_cooldown_period <= LONGEST,
    },
    Rule {
        field: "minimumUptime",
        cel: "self.minimumUptime >= 0 && self.minimumUptime <= 31536000",
        message: "write whole seconds from 0 to 31536000 (a year), as in 10",
        holds: |spec| spec.minimum_uptime <= LONGEST,
    },
    Rule {
        field: "websocketIdle",
        cel: "self.websocketIdle >= 1 && self.websocketIdle <= 31536000",
        message: "write whole seconds from 1 to 31536000 (a year), as in 600",
        holds: |spec| (1..=LONGEST).contains(&spec.websocket_idle),
    },
    Rule {
        field: "streamIdle",
        cel: "self.streamIdle >= 0 && self.streamIdle <= 31536000",
        message: "write whole seconds from 1 to 31536000 (a year), or 0 so that an open response always counts",
        holds: |spec| spec.stream_idle <= LONGEST,
    },
    Rule {
        field: "wake.deadline",
        cel: "self.wake.deadline >= 1 && self.wake.deadline <= 3600",
        message: "write whole seconds from 1 to 3600 (an hour), as in 60",
        holds: |spec| (1..=LONGEST_WAIT).contains(&spec.wake.deadline),
    },
    Rule {
        field: "wake.progressDeadlineSeconds",
        cel: "self.wake.progressDeadlineSeconds >= 1 && self.wake.progressDeadlineSeconds <= 86400",
        message: "write whole seconds from 1 to 86400 (a day), as in 600",
        holds: |spec| (1..=LONGEST_ANSWER).contains(&spec.wake.progress_deadline_seconds),
    },
    Rule {
        field: "wake.ttlSecondsAfterReleased",
        cel: "self.wake.ttlSecondsAfterReleased >= 86400 && self.wake.ttlSecondsAfterReleased <= 31536000",
        message: "write whole seconds from 86400 (a day) to 31536000 (a year), as in 2592000",
        holds: |spec| (DAY..=LONGEST).contains(&spec.wake.ttl_seconds_after_released),
    },
    Rule {
        field: "park.maxRequests",
        cel: "self.park.maxRequests >= 1 && self.park.maxRequests <= 100000",
        message: "write a count from 1 to 100000, as in 1000; to let nothing wake the sandbox, write paused: true",
        holds: |spec| (1..=MOST_PARKED).contains(&spec.park.max_requests),
    },
    Rule {
        field: "park.maxWait",
        cel: "self.park.maxWait >= 1 && self.park.maxWait <= 3600",
        message: "write whole seconds from 1 to 3600 (an hour), as in 55",
        holds: |spec| (1..=LONGEST_WAIT).contains(&spec.park.max_wait),
    },
    Rule {
        field: "park.releaseConcurrency",
        cel: "self.park.releaseConcurrency >= 0 && self.park.releaseConcurrency <= 100000",
        message: "write a count from 1 to 100000, or 0 to start slow and double as answers come",
        holds: |spec| spec.park.release_concurrency <= MOST_PARKED,
    },
    Rule {
        field: "http.responseTimeout",
        cel: "self.http.responseTimeout >= 1 && self.http.responseTimeout <= 86400",
        message: "write whole seconds from 1 to 86400 (a day), as in 300",
        holds: |spec| (1..=LONGEST_ANSWER).contains(&spec.http.response_timeout),
    },
    Rule {
        field: "http.idleTimeout",
        cel: "self.http.idleTimeout >= 1 && self.http.idleTimeout <= 86400",
        message: "write whole seconds from 1 to 86400 (a day), as in 300",
        holds: |spec| (1..=LONGEST_ANSWER).contains(&spec.http.idle_timeout),
    },
    Rule {
        field: "busy.path",
        cel: "!has(self.busy) || size(self.busy.path) <= 1024 && \
              self.busy.path.matches(\"^/[-A-Za-z0-9._~!$&'()*+,;=:@%/?]*$\")",
        message: "write an absolute path of at most 1024 bytes, as in /busy; a blank in it is %20, and it has \
                  no '#'",
        holds: |spec| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || IN_PATHS.contains(&byte);
            let good = |path: &str| {
                path.starts_with('/') && path.len() <= LONGEST_PATH && path.bytes().all(is_legal)
            };
            spec.busy.as_ref().is_none_or(|busy| good(&busy.path))
        },
    },
    Rule {
        field: "busy.port",
        cel: "!has(self.busy) || !has(self.busy.port) || self.busy.port >= 1 && self.busy.port <= 65535",
        message: "write a container port from 1 to 65535, or leave it out for 8888",
        holds: |spec| spec.busy.as_ref().is_none_or(|busy| busy.port != Some(0)),
    },
    Rule {
        field: "busy.period",
        cel: "!has(self.busy) || self.busy.period >= 1 && self.busy.period <= 3600",
        message: "write whole seconds from 1 to 3600 (an hour), as in 15",
        holds: |spec| {
            spec.busy
                .as_ref()
                .is_none_or(|busy| (1..=LONGEST_WAIT).contains(&busy.period))
        },
    },
    Rule {
        field: "busy.failureLimit",
        cel: "!has(self.busy) || self.busy.failureLimit >= 1 && self.busy.failureLimit <= 1000",
        message: "write a count from 1 to 1000, as in 10",
        holds: |spec| {
            spec.busy
                .as_ref()
                .is_none_or(|busy| (1..=1000).contains(&busy.failure_limit))
        },
    },
    Rule {
        field: "busy.idleWhen",
        cel: "!has(self.busy) || !has(self.busy.idleWhen) || size(self.busy.idleWhen) <= 1024",
        message: "write an expression of at most 1024 bytes, as in kernels == 0",
        holds: |spec| {
            let expression = spec.busy.as_ref().and_then(|busy| busy.idle_when.as_ref());
            expression.is_none_or(|text| text.len() <= 1024)
        },
    },
    Rule {
        field: "triggers",
        cel: "size(self.triggers) <= 16",
        message: "write at most 16 triggers",
        holds: |spec| spec.triggers.len() <= 16,
    },
];
