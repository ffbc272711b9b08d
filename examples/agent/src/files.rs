//! The files of the agent's workspace: the runtime API that sandbox SDKs speak, only with --workspace.
//!
//! Paths are relative to the workspace; one that leads out of it is refused.

use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::error::Error;
use crate::transfer;

/// The routes over the files of `folder`.
pub(crate) fn router(folder: PathBuf) -> Router {
    Router::new()
        .route("/upload", post(upload).put(transfer::upload))
        .route("/download/{*path}", get(download))
        .route("/list", get(list_all))
        .route("/list/", get(list_all))
        .route("/list/{*path}", get(list))
        .route("/exists/{*path}", get(exists))
        // Uploads are written as they come.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Workspace(folder)))
}

struct Workspace(PathBuf);

impl Workspace {
    fn at(&self, path: &str) -> Result<PathBuf, Error> {
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !FsPath::new(path).components().all(stays) {
            return Err(Error::BadRequest(format!(
                "the path {path:?} leads out of the workspace"
            )));
        }
        Ok(self.0.join(path))
    }
}

/// `POST /upload`: each file of a form is stored under its file name. Another body is only measured.
async fn upload(
    State(workspace): State<Arc<Workspace>>,
    request: Request,
) -> Result<Response, Error> {
    let is_form = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
    if !is_form {
        return Ok(transfer::upload(request.into_body()).await?.into_response());
    }
    let bad = |error: &dyn std::fmt::Display| Error::BadRequest(format!("bad form: {error}"));
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| bad(&error))?;
    let mut stored = Vec::new();
    while let Some(mut field) = form.next_field().await.map_err(|error| bad(&error))? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            continue;
        };
        let path = workspace.at(&name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.map_err(Error::File)?;
        }
        let mut file = fs::File::create(&path).await.map_err(Error::File)?;
        while let Some(piece) = field.chunk().await.map_err(|error| bad(&error))? {
            file.write_all(&piece).await.map_err(Error::File)?;
        }
        file.flush().await.map_err(Error::File)?;
        stored.push(name);
    }
    Ok(Json(json!({"message": format!("stored {}", stored.join(", "))})).into_response())
}

/// `GET /download/{path}`
async fn download(
    State(workspace): State<Arc<Workspace>>,
    Path(path): Path<String>,
) -> Result<Body, Error> {
    let file = fs::File::open(workspace.at(&path)?)
        .await
        .map_err(Error::File)?;
    Ok(Body::from_stream(ReaderStream::new(file)))
}

async fn list_all(workspace: State<Arc<Workspace>>) -> Result<Json<Vec<Value>>, Error> {
    list(workspace, Path(String::new())).await
}

/// `GET /list/{path}`
async fn list(
    State(workspace): State<Arc<Workspace>>,
    Path(path): Path<String>,
) -> Result<Json<Vec<Value>>, Error> {
    let mut folder = fs::read_dir(workspace.at(&path)?)
        .await
        .map_err(Error::File)?;
    let mut entries = Vec::new();
    while let Some(entry) = folder.next_entry().await.map_err(Error::File)? {
        let meta = entry.metadata().await.map_err(Error::File)?;
        let modified = meta.modified().map_err(Error::File)?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        entries.push(json!({
            "name": entry.file_name().to_string_lossy(),
            "size": meta.len(),
            "type": if meta.is_dir() { "directory" } else { "file" },
            "mod_time": since.as_secs_f64(),
        }));
    }
    Ok(Json(entries))
}

/// `GET /exists/{path}`
async fn exists(
    State(workspace): State<Arc<Workspace>>,
    Path(path): Path<String>,
) -> Result<Json<Value>, Error> {
    let exists = fs::try_exists(workspace.at(&path)?)
        .await
        .map_err(Error::File)?;
    Ok(Json(json!({"path": path, "exists": exists})))
}
