//! The users of `deploy/nats/nats.conf`: each may say and hear what it has to.

use std::process::Command;

use async_nats::{Client, ConnectOptions, Event};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::child::Running;
use crate::support::{PATIENCE, folder, until};

/// A real nats-server with the configuration as it is deployed.
pub(crate) struct Nats {
    _server: Running,
    port: u16,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let server = Running::start(|own| {
            let mut command = Command::new(program());
            command
                .arg("--config")
                .arg(folder().join("nats/nats.conf"))
                .args(["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"])
                .arg("--ports_file_dir")
                .arg(own)
                .envs(["ACTIVATOR", "SCALER", "OBSERVER"].map(|user| {
                    let password = password(&user.to_lowercase());
                    (format!("{user}_PASSWORD"), password)
                }));
            command
        });
        let file = format!("nats-server_{}.ports", server.pid());
        let file = server.folder().join(file);
        let port = until("the ports file of nats-server", || async {
            let ports: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        })
        .await;
        Self {
            _server: server,
            port,
        }
    }

    /// As `--nats` takes it.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("nats://{user}:{}@127.0.0.1:{}", password(user), self.port)
    }

    /// A client of that user, and what the server holds against it.
    async fn client(&self, user: &str) -> (Client, mpsc::UnboundedReceiver<String>) {
        let (tell, told) = mpsc::unbounded_channel();
        let client = ConnectOptions::new()
            .user_and_password(user.to_owned(), password(user))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = tell.send(error.to_string());
                }
                std::future::ready(())
            })
            .connect(format!("127.0.0.1:{}", self.port))
            .await
            .unwrap();
        (client, told)
    }
}

fn password(user: &str) -> String {
    format!("secret0of0{user}")
}

fn program() -> String {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools.sh");
    let output = Command::new(tools)
        .args(["--path", "nats-server"])
        .output()
        .unwrap();
    assert!(output.status.success(), "tests/tools.sh failed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the server lets that user publish to, or subscribe to, a subject.
async fn may(nats: &Nats, user: &str, verb: &str, subject: &str) -> bool {
    let (client, mut told) = nats.client(user).await;
    if verb == "publish" {
        client
            .publish(subject.to_owned(), "x".into())
            .await
            .unwrap();
    } else {
        drop(client.subscribe(subject.to_owned()).await.unwrap());
    }
    // Nobody may say this; refusals come in the order of what they refuse.
    client
        .publish("forbidden.to.all", "x".into())
        .await
        .unwrap();
    let refusal = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
    refusal.unwrap().contains("forbidden.to.all")
}

#[tokio::test]
async fn users_may_say_and_hear_what_is_theirs() {
    let nats = Nats::start().await;
    for (user, verb, subject, expected) in [
        (
            "activator",
            "publish",
            "reveille.v1.wake.agents.alice",
            true,
        ),
        ("activator", "publish", "reveille.v1.drained.one", true),
        (
            "activator",
            "publish",
            "reveille.v1.drain.agents.alice",
            false,
        ),
        (
            "activator",
            "publish",
            "reveille.v1.outcome.agents.alice",
            false,
        ),
        ("activator", "subscribe", "reveille.v1.activity.*", false),
        ("activator", "subscribe", "_INBOX.>", false),
        ("scaler", "publish", "reveille.v1.drain.agents.alice", true),
        ("scaler", "publish", "reveille.v1.activity.one", false),
        ("scaler", "publish", "reveille.v1.wake.agents.alice", false),
        ("observer", "subscribe", "reveille.v1.event.*.*", true),
        ("observer", "subscribe", "reveille.v1.wake.*.*", false),
        (
            "observer",
            "publish",
            "reveille.v1.wake.agents.alice",
            false,
        ),
    ] {
        let got = may(&nats, user, verb, subject).await;
        assert_eq!(got, expected, "{user} {verb} {subject}");
    }
}

#[tokio::test]
async fn nobody_comes_in_without_a_password() {
    let nats = Nats::start().await;
    let connecting = async_nats::connect(format!("127.0.0.1:{}", nats.port));
    let refused = tokio::time::timeout(PATIENCE, connecting).await.unwrap();
    assert!(refused.is_err());
}
