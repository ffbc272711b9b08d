//! Who may connect: tokens, keys, kubeconfigs; and fresh namespaces.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::facts::Facts;

/// The user that may do nothing.
pub(crate) const NOBODY: &str = "nobody";
/// `SubjectPublicKeyInfo` (RFC 5480) of a point on P-256, up to the point itself.
const POINT_FOLLOWS: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A year: longer than any testbed stays up.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;
/// Longest wait for a `default` ServiceAccount.
const ACCOUNT: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A user of the token file.
#[derive(Debug)]
pub(crate) struct User {
    /// Also the name of the kubeconfig.
    pub(crate) file: &'static str,
    pub(crate) name: String,
    pub(crate) group: &'static str,
    token: String,
}

impl User {
    /// One with a token that only this testbed's folder tells.
    pub(crate) fn new(file: &'static str, name: &str, group: &'static str) -> Self {
        Self {
            file,
            name: name.to_owned(),
            group,
            token: uuid::Uuid::new_v4().simple().to_string(),
        }
    }
}

/// The API server's `--token-auth-file`.
pub(crate) fn write_tokens(path: &Path, users: &[User]) -> Result<()> {
    let line = |user: &User| {
        let User {
            name, group, token, ..
        } = user;
        format!("{token},{name},{name},\"{group}\"\n")
    };
    let text: String = users.iter().map(line).collect();
    write(path, text.as_bytes())
}

/// A key pair for the tokens of ServiceAccounts: one file to sign with, one to check with.
pub(crate) fn write_keys(private: &Path, public: &Path) -> Result<()> {
    let refused = |_| anyhow::anyhow!("cannot make a key");
    let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(refused)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("cannot read a key just made: {error}"))?;
    let point = [&POINT_FOLLOWS[..], pair.public_key().as_ref()].concat();
    write(private, pem("PRIVATE KEY", document.as_ref()).as_bytes())?;
    write(public, pem("PUBLIC KEY", &point).as_bytes())
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

/// The kubeconfigs of users; `certificate` is the one the API server made for itself.
pub(crate) fn write_kubeconfigs(facts: &Facts, certificate: &Path, users: &[User]) -> Result<()> {
    let certificate =
        fs::read(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    for user in users {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {
                "server": facts.api_url,
                "certificate-authority-data": BASE64.encode(&certificate),
            }}],
            "users": [{"name": "user", "user": {"token": user.token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user", "namespace": "default"}}],
        });
        write_kubeconfig(&facts.kubeconfig_of(user.file), &kubeconfig)?;
    }
    Ok(())
}

/// A kubeconfig with a fresh token of a ServiceAccount.
pub(crate) async fn of_service_account(
    client: &Client,
    facts: &Facts,
    namespace: &str,
    name: &str,
) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .with_context(|| format!("cannot get a token of ServiceAccount {namespace}/{name}"))?
        .status
        .context("a TokenRequest was answered without a token")?
        .token;
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(facts.kubeconfig())?)?;
    kubeconfig["users"][0]["user"] = json!({ "token": token });
    let id = uuid::Uuid::new_v4().simple();
    let path = facts.kubeconfig_of(&format!("{namespace}.{name}.{id}"));
    write_kubeconfig(&path, &kubeconfig)?;
    Ok(path)
}

/// A fresh namespace that pods can be made in.
pub(crate) async fn namespace(client: &Client, prefix: &str) -> Result<String> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{prefix}-{}", &id[..8]);
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": name}})).context("a namespace")?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot make namespace {name}"))?;
    default_account(client, &name).await?;
    Ok(name)
}

/// Waits for the ServiceAccount without which no pod is admitted.
pub(crate) async fn default_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let deadline = Instant::now() + ACCOUNT;
    while accounts.get_opt("default").await?.is_none() {
        if Instant::now() >= deadline {
            bail!("namespace {namespace} has no default ServiceAccount after {ACCOUNT:?}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn write_kubeconfig(path: &Path, kubeconfig: &Value) -> Result<()> {
    write(path, serde_json::to_string_pretty(kubeconfig)?.as_bytes())
}

/// For nobody else's eyes.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    std::io::Write::write_all(&mut file, bytes)?;
    Ok(())
}
