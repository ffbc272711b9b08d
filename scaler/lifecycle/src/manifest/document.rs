//! One YAML stream into its documents, and one document into a tree; then from the tree into a type.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Events, nodes and replayed aliases of one document: a list of 10,000 sandboxes has about a million.
/// What is above is a mistake or a bomb.
const MAX_NODES: usize = 4_000_000;

/// A part of a file between `---` lines, and the number of lines before it.
pub(super) struct Part<'a> {
    text: &'a str,
    line: usize,
}

/// Splits at lines that begin with `---`, as kubectl does. Parts without content keep their number.
pub(super) fn split(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut offset, mut line, mut start_line) = (0, 0, 0, 0);
    for each in text.split_inclusive('\n') {
        let marker = each
            .strip_prefix("---")
            .is_some_and(|rest| rest.starts_with(char::is_whitespace) || rest.is_empty());
        if marker && !blank(&text[start..offset]) {
            parts.push(Part {
                text: &text[start..offset],
                line: start_line,
            });
            (start, start_line) = (offset, line);
        }
        offset += each.len();
        line += 1;
    }
    parts.push(Part {
        text: &text[start..],
        line: start_line,
    });
    parts
}

/// Nothing but comments and directives so far: no document of its own.
fn blank(text: &str) -> bool {
    text.lines()
        .all(|line| line.trim().is_empty() || line.starts_with(['#', '%']))
}

/// The document, or `None` if it is empty.
pub(super) fn parse(part: &Part<'_>) -> Result<Option<Value>, String> {
    let options = serde_saphyr::Options {
        budget: Some(serde_saphyr::Budget {
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: 128,
            ..serde_saphyr::Budget::default()
        }),
        strict_booleans: true,
        with_snippet: false,
        ..serde_saphyr::Options::default()
    };
    if let Some(byte) = part.text.bytes().find(|byte| is_unprintable(*byte)) {
        // The parser would take a NUL for the end of the text and drop what follows.
        return Err(format!(
            "not valid YAML: it holds the control character {byte:#04x}"
        ));
    }
    if blank(part.text.strip_prefix("---").unwrap_or(part.text)) {
        return Ok(None);
    }
    match serde_saphyr::from_str_with_options::<Value>(part.text, options) {
        Ok(Value::Null) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(error) if part.line == 0 => Err(format!("not valid YAML: {error}")),
        Err(error) => Err(format!(
            "not valid YAML (lines are counted from line {} of the file): {error}",
            part.line + 1
        )),
    }
}

/// Control characters that YAML 1.2 §5.1 keeps out of a stream.
const fn is_unprintable(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r')
}

/// A typed reading of a tree: the value, and the paths of fields that the type does not know.
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) unknown: Vec<String>,
}

/// The value, or the path of the field that does not fit, with why.
pub(super) fn typed<T: DeserializeOwned>(value: &Value) -> Result<Typed<T>, (String, String)> {
    let mut unknown = Vec::new();
    let mut ignored = |path: serde_ignored::Path<'_>| unknown.push(plain(&path.to_string()));
    let deserializer = serde_ignored::Deserializer::new(value, &mut ignored);
    match serde_path_to_error::deserialize(deserializer) {
        Ok(value) => Ok(Typed { value, unknown }),
        Err(error) => {
            let path = error.path().to_string();
            let mut text = error.inner().to_string();
            if text.contains("expected a string") {
                text.push_str("; write it in quotes");
            }
            Err((if path == "." { String::new() } else { path }, text))
        }
    }
}

/// `containers.0.?.name` as `containers[0].name`.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for part in path.split('.').filter(|part| *part != "?") {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            plain.push_str(&format!("[{part}]"));
        } else {
            if !plain.is_empty() {
                plain.push('.');
            }
            plain.push_str(part);
        }
    }
    plain
}
