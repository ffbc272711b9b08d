//! `busy.idleWhen`: an expression over the JSON that an agent answers, true when the agent is idle.
//!
//! The language is that of Jinja's expressions: `kernels == 0`, `body.runs | length == 0`,
//! `runs | selectattr("status", "eq", "running") | list | length == 0`. The fields of the answer are its
//! variables, and `body` is the whole. There is nothing in it that loops, repeats or takes long: the answer is
//! an agent's, who may be hostile.

use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, filters, tests};

/// Steps of one evaluation; `kernels == 0` takes five.
const FUEL: u64 = 10_000;
/// Deepest nesting of an expression.
const DEEPEST: usize = 32;

/// What is wrong with an expression.
///
/// # Errors
/// If it cannot be read, or names a filter or test that there is not.
pub fn check(expression: &str) -> Result<(), String> {
    let mut environment = environment(expression)?;
    // Over an answer without fields, so that it gets as far as its filters and tests.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let compiled = environment.compile_expression(expression);
    let compiled = compiled.map_err(|error| said(&error))?;
    let unknown = [
        ErrorKind::UnknownFilter,
        ErrorKind::UnknownTest,
        ErrorKind::UnknownFunction,
    ];
    match compiled.eval(()) {
        Err(error) if unknown.contains(&error.kind()) => Err(said(&error)),
        _ => Ok(()),
    }
}

/// Whether the agent that answers `body` is idle.
///
/// # Errors
/// If the expression cannot be read, names what the answer does not have, or is neither true nor false.
pub(crate) fn is_idle(expression: &str, body: &serde_json::Value) -> Result<bool, String> {
    let environment = environment(expression)?;
    let compiled = environment.compile_expression(expression);
    let compiled = compiled.map_err(|error| said(&error))?;
    let whole = Value::from_serialize(body);
    let fields = body.as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| (name.clone(), Value::from_serialize(value)));
    let variables: Value = fields.chain([("body".to_owned(), whole)]).collect();
    let found = compiled.eval(variables).map_err(|error| said(&error))?;
    if found.kind() == ValueKind::Bool {
        Ok(found.is_true())
    } else {
        let kind = found.kind();
        Err(format!(
            "it is a {kind}, neither true nor false: compare it with something, as in kernels == 0"
        ))
    }
}

/// Only what takes no longer than one look at each part of the answer.
fn environment(expression: &str) -> Result<Environment<'static>, String> {
    if expression.contains('*') {
        return Err("it may not multiply".to_owned());
    }
    let depth = expression
        .chars()
        .try_fold(0_usize, |depth, each| match each {
            '(' | '[' | '{' if depth == DEEPEST => None,
            '(' | '[' | '{' => Some(depth + 1),
            ')' | ']' | '}' => Some(depth.saturating_sub(1)),
            _ => Some(depth),
        });
    if depth.is_none() {
        return Err(format!("it is nested more than {DEEPEST} deep"));
    }
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("length", filters::length);
    environment.add_filter("count", filters::length);
    environment.add_filter("list", filters::list);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("select", filters::select);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("selectattr", filters::selectattr);
    environment.add_filter("rejectattr", filters::rejectattr);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
    environment.add_test("eq", tests::is_eq);
    environment.add_test("ne", tests::is_ne);
    environment.add_test("lt", tests::is_lt);
    environment.add_test("le", tests::is_le);
    environment.add_test("gt", tests::is_gt);
    environment.add_test("ge", tests::is_ge);
    Ok(environment)
}

fn said(error: &minijinja::Error) -> String {
    let kind = error.kind();
    error
        .detail()
        .map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"))
}

#[cfg(test)]
mod cases {
    use serde_json::json;

    use super::*;

    fn idle(expression: &str) -> Result<bool, String> {
        let body = json!({
            "kernels": 0, "connections": 2, "last_activity": "2026-01-01T00:00:00Z",
            "runs": [{"status": "success"}, {"status": "running"}], "queue": [], "a-b": null,
        });
        is_idle(expression, &body)
    }

    #[test]
    fn an_expression_over_the_fields_of_the_answer_says_whether_the_agent_is_idle() {
        for (expression, expected) in [
            ("kernels == 0", true),
            ("kernels == 0 and connections == 0", false),
            ("body.kernels == 0", true),
            ("body['a-b'] is none", true),
            ("queue | length == 0", true),
            ("not queue", true),
            (
                r#"runs | selectattr("status", "eq", "running") | list | length == 0"#,
                false,
            ),
            ("jobs is undefined or jobs == 0", true),
        ] {
            assert_eq!(check(expression), Ok(()), "{expression}");
            assert_eq!(idle(expression), Ok(expected), "{expression}");
        }
        assert_eq!(is_idle("body | length == 0", &json!([])), Ok(true));
    }

    #[test]
    fn what_is_no_expression_or_says_nothing_is_an_error_and_takes_no_time() {
        for broken in [
            "",
            "kernels = 0",
            "kernels == ",
            "kernels == 0 }}",
            "'a' * 1000000000",
            "range(9) == 0 ^",
            &"(".repeat(1000),
            &"[".repeat(500),
        ] {
            assert!(check(broken).is_err(), "{broken:.20}");
        }
        for failing in [
            "kernels",
            "jobs == 0",
            "runs[9].status == 'x'",
            "kernels | center(9) == 0",
            "range(9) == 0",
        ] {
            assert!(idle(failing).is_err(), "{failing}");
        }
        // Whatever comes of them: a parser or an evaluation that recurses too deep would end the process.
        for long in [
            format!("{}true", "not ".repeat(250)),
            format!("1{} == 1", "+1".repeat(500)),
            format!("{}1 == 1", "-".repeat(1000)),
            format!("body{} == 1", ".a".repeat(500)),
            format!("{}1 == 1", "1 if 1 else ".repeat(80)),
        ] {
            drop(idle(&long));
        }
    }
}
