//! `reveille crds`: the CustomResourceDefinitions, on standard output or as one file a kind.

use std::fs;
use std::io::{self, Write};

use anyhow::Context;

use crate::cli::CrdsArgs;

pub(crate) fn run(args: &CrdsArgs) -> anyhow::Result<()> {
    let Some(folder) = &args.output else {
        return io::stdout()
            .write_all(reveille_crds::manifest::yaml().as_bytes())
            .context("writing the CRDs");
    };
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for (name, text) in reveille_crds::manifest::files() {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
