//! One program, tried: Reveille with its manifest, and its client, which is told where everything is.

use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::process::Command;
use tokio::runtime;
use tokio::time::timeout;

use crate::programs::Program;
use crate::support::home::Home;
use crate::support::reveille::Reveille;
use crate::support::tools::{Tools, folder};
use crate::support::{PATIENCE, setting};

/// Waits that one client may do beside its use, each of them [`PATIENCE`] at most; a few suffice.
const WAITS: u32 = 5;

/// Runs those that the command line asks for, as any test; all at once, since they mostly wait.
pub(crate) fn run(tools: Tools, programs: &'static [Program]) {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(programs.len());
    let trials = programs
        .iter()
        .map(|program| Trial::test(program.title, move || try_out(tools, program)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn try_out(tools: Tools, program: &Program) -> Result<(), Failed> {
    let places = tools.places();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let home = Home::new();
        std::fs::create_dir(home.manifests())?;
        let manifest = manifest(tools, program, &home)?;
        std::fs::write(home.manifests().join("all.yaml"), manifest)?;
        let reveille = Reveille::with(&home, program.flags).await;

        let used = setting("REVEILLE_TEST_USE_SECONDS", 60);
        let mut client = client(tools, program);
        client
            .envs(places)
            .env("SANDBOX", program.sandbox)
            .env("REVEILLE_LISTEN", reveille.listen.to_string())
            .env("REVEILLE_ADMIN", reveille.admin.to_string())
            .env("USE_SECONDS", used.to_string())
            .env("PATIENCE_SECONDS", PATIENCE.as_secs().to_string())
            .env("PYTHONPATH", folder().join("clients"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", home.path())
            .current_dir(folder().join(program.folder))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let longest = Duration::from_secs(3 * used) + WAITS * PATIENCE;
        let ran = timeout(longest, client.output())
            .await
            .unwrap_or_else(|_| panic!("{} takes more than {longest:?}", program.title))?;
        let said = String::from_utf8_lossy(&ran.stdout);
        // In a panic Reveille shows its log.
        assert!(
            ran.status.success(),
            "{}: {}\n{said}{}",
            program.title,
            ran.status,
            String::from_utf8_lossy(&ran.stderr)
        );
        println!("--- {}\n{said}", program.title);
        reveille.stop().await;
        Ok(())
    })
}

/// The program's manifest, with the places of this machine in it.
fn manifest(tools: Tools, program: &Program, home: &Home) -> Result<String, Failed> {
    let here = folder().join(program.folder);
    let mut text = std::fs::read_to_string(here.join("sandbox.yaml"))?;
    let marks = [
        ("{{here}}", here.display().to_string()),
        ("{{marker}}", home.marker()),
    ];
    let places = tools.places();
    let installed = places.iter().map(|(name, place)| {
        let mark = format!("{{{{{name}}}}}");
        (mark, place.clone())
    });
    for (mark, place) in marks
        .map(|(mark, place)| (mark.to_owned(), place))
        .into_iter()
        .chain(installed)
    {
        text = text.replace(&mark, &place);
    }
    Ok(text)
}

fn client(tools: Tools, program: &Program) -> Command {
    let places = tools.places();
    if program.client.ends_with(".py") {
        let mut python = Command::new(&places["AGENTS_PYTHON"]);
        python.arg(program.client);
        python
    } else if program.client.ends_with(".mjs") {
        let mut node = Command::new("node");
        node.arg(program.client);
        node
    } else {
        Command::new(format!("{}/{}", places["AGENTS_BIN"], program.client))
    }
}
