use serde_json::{Value, json};

use super::*;

fn read(spec: Value) -> Result<ScaledSandboxSpec, serde_json::Error> {
    serde_json::from_value(spec)
}

fn good() -> Value {
    json!({"scaleTargetRef": {"name": "alice"}})
}

#[test]
fn an_almost_empty_spec_has_the_documented_defaults() {
    let spec = read(good()).unwrap();
    assert_eq!(
        spec.scale_target_ref.as_ref().unwrap().kind,
        TargetKind::Sandbox
    );
    let rest = ScaledSandboxSpec {
        scale_target_ref: None,
        ..spec.clone()
    };
    assert_eq!(rest, ScaledSandboxSpec::default());
    assert_eq!(
        (
            spec.cooldown_period,
            spec.minimum_uptime,
            spec.websocket_idle,
            spec.stream_idle
        ),
        (300, 10, 600, 0)
    );
    assert_eq!(
        (
            spec.wake.deadline,
            spec.wake.progress_deadline_seconds,
            spec.park.max_wait,
            spec.park.max_requests
        ),
        (60, 600, 55, 1000)
    );
    assert_eq!(
        (spec.http.response_timeout, spec.http.idle_timeout),
        (300, 300)
    );
    assert_eq!(validate(&spec), []);
}

#[test]
fn a_policy_says_by_name_that_it_binds_and_the_default_of_before_is_read_as_the_one_of_now() {
    let strategy = |word: &str| {
        let spec = json!({"selector": {}, "wake": {"strategy": word}});
        read(spec).unwrap().wake.strategy
    };
    assert_eq!(read(good()).unwrap().wake.strategy, Strategy::Restore);
    assert_eq!(strategy("Bind"), Strategy::Bind);
    assert_eq!(strategy("Auto"), Strategy::Restore);
}

#[test]
fn a_number_that_is_none_is_refused_with_what_to_write() {
    for (value, part) in [
        (json!(-5), "integer `-5`"),
        (json!("5m"), "string \"5m\""),
        (json!("300"), "string \"300\""),
        (json!(1.5), "floating point `1.5`"),
        (json!(5_000_000_000_u64), "5000000000"),
        (json!(true), "boolean"),
        (Value::Null, "null"),
    ] {
        for (spec, hint) in [
            (
                json!({"cooldownPeriod": value}),
                "whole seconds as a plain number, as in 300",
            ),
            (
                json!({"wake": {"deadline": value}}),
                "whole seconds as a plain number, as in 300",
            ),
            (
                json!({"park": {"maxWait": value}}),
                "whole seconds as a plain number, as in 300",
            ),
            (
                json!({"busy": {"path": "/", "period": value}}),
                "whole seconds as a plain number",
            ),
            (
                json!({"park": {"maxRequests": value}}),
                "a count as a plain number, as in 100",
            ),
        ] {
            let error = read(spec).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(hint), "{error}");
        }
    }
}

#[test]
fn an_unknown_word_is_refused_with_the_known_ones() {
    for (spec, known) in [
        (json!({"wake": {"strategy": "Magic"}}), "`Restore`"),
        (json!({"triggers": [{"type": "smoke"}]}), "`http`"),
        (
            json!({"scaleTargetRef": {"kind": "Pod", "name": "a"}}),
            "`SandboxClaim`",
        ),
    ] {
        let error = read(spec).unwrap_err().to_string();
        assert!(
            error.contains("unknown variant") && error.contains(known),
            "{error}"
        );
    }
}

/// A spec per broken rule, with the field it breaks.
fn broken() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), "spec"),
        (
            json!({"scaleTargetRef": {"name": "alice"}, "selector": {}}),
            "spec",
        ),
        (
            json!({"scaleTargetRef": {"name": "Alice.b"}}),
            "spec.scaleTargetRef",
        ),
        (json!({"cooldownPeriod": 31_536_001}), "spec.cooldownPeriod"),
        (
            json!({"initialCooldownPeriod": 31_536_001}),
            "spec.initialCooldownPeriod",
        ),
        (json!({"minimumUptime": 31_536_001}), "spec.minimumUptime"),
        (json!({"websocketIdle": 0}), "spec.websocketIdle"),
        (json!({"wake": {"deadline": 0}}), "spec.wake.deadline"),
        (json!({"wake": {"deadline": 3601}}), "spec.wake.deadline"),
        (json!({"park": {"maxRequests": 0}}), "spec.park.maxRequests"),
        (
            json!({"park": {"maxRequests": 100_001}}),
            "spec.park.maxRequests",
        ),
        (json!({"park": {"maxWait": 0}}), "spec.park.maxWait"),
        (
            json!({"park": {"releaseConcurrency": 100_001}}),
            "spec.park.releaseConcurrency",
        ),
        (json!({"streamIdle": 31_536_001}), "spec.streamIdle"),
        (
            json!({"wake": {"progressDeadlineSeconds": 0}}),
            "spec.wake.progressDeadlineSeconds",
        ),
        (
            json!({"wake": {"ttlSecondsAfterReleased": 3600}}),
            "spec.wake.ttlSecondsAfterReleased",
        ),
        (
            json!({"http": {"responseTimeout": 86_401}}),
            "spec.http.responseTimeout",
        ),
        (json!({"http": {"idleTimeout": 0}}), "spec.http.idleTimeout"),
        (
            json!({"triggers": vec![json!({"type": "http"}); 17]}),
            "spec.triggers",
        ),
    ]
}

/// The same of what is asked and selected.
fn broken_words() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"busy": {"path": "busy"}}), "spec.busy.path"),
        (
            json!({"busy": {"path": format!("/{}", "x".repeat(1024))}}),
            "spec.busy.path",
        ),
        (json!({"busy": {"path": "/is busy"}}), "spec.busy.path"),
        (json!({"busy": {"path": "/busy\n"}}), "spec.busy.path"),
        (json!({"busy": {"path": "/busy#now"}}), "spec.busy.path"),
        (json!({"busy": {"path": "/büsy"}}), "spec.busy.path"),
        (
            json!({"scaleTargetRef": null, "selector": {"matchLabels": {"a fleet": "x"}}}),
            "spec.selector",
        ),
        (
            json!({"scaleTargetRef": null, "selector": {"matchLabels": {"fleet": "x y"}}}),
            "spec.selector",
        ),
        (
            json!({"busy": {"path": "/busy", "port": 0}}),
            "spec.busy.port",
        ),
        (
            json!({"busy": {"path": "/busy", "period": 0}}),
            "spec.busy.period",
        ),
        (
            json!({"busy": {"path": "/busy", "failureLimit": 0}}),
            "spec.busy.failureLimit",
        ),
        (
            json!({"busy": {"path": "/busy", "idleWhen": "x".repeat(1025)}}),
            "spec.busy.idleWhen",
        ),
        (
            json!({"scaleTargetRef": null, "selector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}),
            "spec.selector",
        ),
    ]
}

#[test]
fn each_rule_is_broken_by_its_case_alone_and_says_what_to_write() {
    for (change, field) in broken().into_iter().chain(broken_words()) {
        let whole = change == json!({}) || change.get("selector").is_some();
        let mut spec = if whole { json!({}) } else { good() };
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let errors = validate(&read(spec).unwrap());
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, [field], "{change}");
        assert!(errors[0].message.contains("write"), "{}", errors[0]);
        assert_eq!(
            errors[0].to_string(),
            format!("{field}: {}", errors[0].message)
        );
    }
}

#[test]
fn the_api_server_says_the_same_sentences() {
    use kube::CustomResourceExt;
    let crd = serde_json::to_value(ScaledSandbox::crd()).unwrap();
    let rules = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"];
    for (change, field) in broken()
        .into_iter()
        .filter(|(_, field)| *field != "spec.selector")
    {
        let whole = change == json!({}) || change.get("selector").is_some();
        let mut spec = if whole { json!({}) } else { good() };
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let said = validate(&read(spec).unwrap()).remove(0);
        let path = field.strip_prefix("spec").filter(|path| !path.is_empty());
        let found = rules.as_array().unwrap().iter().any(|rule| {
            rule["message"] == said.message.as_str()
                && rule.get("fieldPath").and_then(Value::as_str) == path
        });
        assert!(found, "{said}");
    }
}

#[test]
fn a_spec_survives_writing_and_reading() {
    let spec = read(json!({
        "selector": {"matchLabels": {"fleet": "research"}},
        "cooldownPeriod": 5, "initialCooldownPeriod": 6, "minimumUptime": 0, "websocketIdle": 9,
        "wake": {"strategy": "Bind", "deadline": 30, "readiness": "PortOpen", "ttlSecondsAfterReleased": 86_400},
        "park": {"maxRequests": 5, "maxWait": 4, "releaseConcurrency": 3, "overflow": "Reject"},
        "busy": {"path": "/busy?who=all%20of%20us", "port": 9000, "period": 2},
        "triggers": [], "paused": true,
    }))
    .unwrap();
    assert_eq!(read(serde_json::to_value(&spec).unwrap()).unwrap(), spec);
    assert_eq!(validate(&spec), []);
}
