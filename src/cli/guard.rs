//! Under which names the operators' listener may be asked.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// Host name under which the operators' listener may be asked, besides addresses, names without a dot,
    /// and those below localhost, local, internal and svc. May be repeated.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = name,
        env = "REVEILLE_ADMIN_HOST"
    )]
    pub(crate) admin_host: Vec<String>,
}

fn name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_name {
        Ok(text.trim_end_matches('.').to_ascii_lowercase())
    } else {
        Err(format!(
            "{text:?} is no host name; write for example reveille.example.com, without scheme and port"
        ))
    }
}
