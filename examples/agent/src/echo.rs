//! `ANY /echo`: the request as it arrived, so that a proxy in front can be judged by it.

use axum::Json;
use axum::extract::Request;
use serde_json::{Value, json};

/// `ANY /echo` and everything below it.
pub(crate) async fn echo(request: Request) -> Json<Value> {
    let headers: Vec<[String; 2]> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            [
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ]
        })
        .collect();
    Json(json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    }))
}
