//! Every variant is well formed, as the API server sees it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use reveille_testbed::Testbed;

use crate::support::{bed, built, namespace};

/// What the API server says to applying this, without doing it.
fn dry_run(bed: &Testbed, yaml: &str) -> String {
    let mut child = Command::new(&bed.facts().kubectl)
        .arg("--kubeconfig")
        .arg(bed.facts().kubeconfig())
        .args(["apply", "--server-side", "--dry-run=server"])
        .args(["--force-conflicts", "--validate=strict", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(yaml.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_is_taken_as_it_is_written() {
    let bed = bed().await;
    bed.apply(&namespace("agents")).await.unwrap();
    for (variant, objects) in [
        ("base", 19),
        ("namespaced", 19),
        ("nats", 3),
        ("nats-jetstream", 3),
    ] {
        let said = dry_run(bed, &built(bed, variant));
        assert_eq!(said.lines().count(), objects, "{variant}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flags_of_the_deployments_are_flags_of_the_commands() {
    let bed = bed().await;
    let text = built(bed, "namespaced");
    let mut seen = BTreeSet::new();
    for document in text
        .split("\n---\n")
        .filter(|one| one.contains("kind: Deployment"))
    {
        let command = if document.contains("  - activator\n") {
            "activator"
        } else {
            "scaler"
        };
        let help = Command::new(env!("CARGO_BIN_EXE_reveille"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let words = document.split([' ', '\n', '=', '"']);
        for flag in words.filter(|word| word.starts_with("--") || word.starts_with("REVEILLE_")) {
            assert!(help.contains(flag), "{command} knows no {flag}");
            seen.insert(flag);
        }
    }
    assert!(seen.contains("REVEILLE_WATCH_NAMESPACE") && seen.contains("--scaler-api"));
}
