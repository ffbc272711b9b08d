//! What a request asks for.

use http::Uri;

/// Path and the parameters that the fake understands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) watch: bool,
    pub(crate) version: u64,
    /// What had happened when the request came.
    pub(crate) begun: u64,
    pub(crate) limit: usize,
    pub(crate) token: Option<String>,
    /// A label that has to be there.
    pub(crate) label: Option<String>,
}

impl Asked {
    pub(crate) fn new(uri: &Uri) -> Self {
        let mut asked = Self {
            path: uri.path().to_owned(),
            limit: usize::MAX,
            ..Self::default()
        };
        for (name, value) in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|it| it.split_once('='))
        {
            match name {
                "watch" => asked.watch = value == "true",
                "resourceVersion" => asked.version = value.parse().unwrap_or(0),
                "limit" => asked.limit = value.parse().unwrap(),
                "continue" => asked.token = Some(decoded(value)),
                "labelSelector" => asked.label = Some(decoded(value)),
                _ => {}
            }
        }
        asked
    }
}

fn decoded(text: &str) -> String {
    text.replace("%2F", "/")
        .replace("%3A", ":")
        .replace("%3D", "=")
}
