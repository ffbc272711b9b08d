//! `examples/`, as a newcomer starts it.

use serde_json::json;

use crate::support::home::Home;
use crate::support::reveille::Reveille;

/// A home whose manifests are the repository's examples. None says whether it is awake: who applies them again
/// must not undo what Reveille has done.
fn examples() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.manifests()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            assert!(!text.contains("operatingMode:"), "{:?}", entry.path());
            std::fs::write(home.manifests().join(entry.file_name()), text).unwrap();
        }
    }
    home
}

#[tokio::test]
async fn the_examples_start_and_alice_remembers() {
    let home = examples();
    let reveille = Reveille::start(&home).await;
    assert_eq!(reveille.sandbox("alice").await["state"], "asleep");
    let names: Vec<String> = reveille
        .sandboxes()
        .await
        .iter()
        .filter_map(|sandbox| sandbox["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with("worker-"))
            .count(),
        50,
        "{names:?}"
    );

    let told = reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    assert_eq!(told.header("x-reveille-wake"), "started");
    reveille.get("worker-07", "/").await.ok();
    // The policy's cooldown is twenty seconds.
    reveille.await_state("alice", "asleep").await;
    let recalled = reveille
        .post("alice", "/chat", &json!({"message": "what is my name?"}))
        .await
        .ok();
    assert_eq!(recalled.json()["reply"], "Your name is Ada.");
    reveille.await_state("worker-07", "asleep").await;
    reveille.get("worker-07", "/").await.ok();
    reveille.stop().await;
}

#[tokio::test]
async fn the_whole_folder_can_be_given() {
    let mut home = Home::new();
    home.read_from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let reveille = Reveille::start(&home).await;
    reveille.get("alice", "/").await.ok();
    reveille.stop().await;
}
