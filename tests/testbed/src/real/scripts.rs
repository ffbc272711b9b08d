//! What the node's script needs to be given: programs, images, a kubeconfig.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kube::config::Kubeconfig;
use tokio::process::Command;

use super::forward::ADDRESS;
use super::{Config, Error};

/// Files for `node.sh`.
#[derive(Debug)]
pub(super) struct Files {
    /// Folder of containerd, runc, the CNI plugins and pause.
    pub(super) tools: PathBuf,
    /// The images the node starts with.
    pub(super) images: PathBuf,
    /// For the kubelet.
    pub(super) kubeconfig: PathBuf,
    /// Where the API server really listens.
    pub(super) api_server: SocketAddr,
}

/// Builds what is not built yet.
pub(super) async fn prepare(config: &Config) -> Result<Files, Error> {
    let tools = PathBuf::from(run(&mut Command::new(path("install.sh"))).await?.trim());
    let images = config.dir.join("images.tar");
    let pause = tools.join("pause");
    run(Command::new(path("image.py")).args([&config.reveille, &pause, &images])).await?;
    let kubeconfig = config.dir.join("kubeconfig");
    let api_server = redirect(&config.kubeconfig, &kubeconfig).map_err(Error::Kubeconfig)?;
    Ok(Files {
        tools,
        images,
        kubeconfig,
        api_server,
    })
}

/// Path of a script.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/real")).join(name)
}

/// What a script says on stdout.
async fn run(script: &mut Command) -> Result<String, Error> {
    let program = PathBuf::from(script.as_std().get_program());
    let output = script
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(Error::Script(program));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a copy of a kubeconfig that goes through the forwarder, and gives the server of the original.
fn redirect(from: &Path, to: &Path) -> Result<SocketAddr, String> {
    let mut kubeconfig = Kubeconfig::read_from(from).map_err(|error| error.to_string())?;
    let cluster = kubeconfig
        .clusters
        .first_mut()
        .and_then(|named| named.cluster.as_mut())
        .ok_or("it names no cluster")?;
    let server = cluster.server.take().ok_or("it names no server")?;
    let address: SocketAddr = server
        .trim_start_matches("https://")
        .trim_end_matches('/')
        .parse()
        .map_err(|_| format!("{server} is not an address on this machine"))?;
    cluster.server = Some(format!("https://{ADDRESS}"));
    // The certificate is for the address the API server listens on.
    cluster.tls_server_name = Some(address.ip().to_string());
    let text = serde_json::to_string(&kubeconfig).map_err(|error| error.to_string())?;
    std::fs::write(to, text).map_err(|error| error.to_string())?;
    Ok(address)
}
