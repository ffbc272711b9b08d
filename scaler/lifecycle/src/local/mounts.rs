//! Paths of a container to folders of this machine.
//!
//! A process of this machine has no mount namespace of its own, so a value that *is* a path at or below
//! a mount is rewritten: the whole value, or what follows the first `=` of it (`--db=/data/x`). Paths
//! inside longer texts (`sh -c "cat /data/x"`) are left; `REVEILLE_VOLUME_<NAME>` serves there.

/// Mount paths with their folders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts {
    /// Longest mount path first, so that the innermost mount wins.
    by_path: Vec<(String, String)>,
}

impl Mounts {
    pub(crate) fn new<'a>(mounts: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut by_path: Vec<_> = mounts
            .into_iter()
            .map(|(path, folder)| (path.trim_end_matches('/').to_owned(), folder))
            .filter(|(path, _)| !path.is_empty())
            .collect();
        by_path.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { by_path }
    }

    /// `value` as seen from this machine.
    pub(crate) fn map(&self, value: &str) -> String {
        if let Some(mapped) = self.path(value) {
            return mapped;
        }
        value
            .split_once('=')
            .and_then(|(flag, path)| Some(format!("{flag}={}", self.path(path)?)))
            .unwrap_or_else(|| value.to_owned())
    }

    fn path(&self, path: &str) -> Option<String> {
        // `/data/../etc` is not in /data, whatever it begins with.
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return None;
        }
        self.by_path.iter().find_map(|(mount, folder)| {
            let rest = path.strip_prefix(mount.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{folder}{rest}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mounts;

    #[test]
    fn a_path_under_a_mount_is_mapped_by_its_components() {
        let mounts = Mounts::new([
            ("/data", "/s/d".to_owned()),
            ("/data/cache/", "/s/c".to_owned()),
        ]);
        for (value, expected) in [
            ("/data", "/s/d"),
            ("/data/", "/s/d/"),
            ("/data/x/y", "/s/d/x/y"),
            ("/data/cache/z", "/s/c/z"),
            ("/database", "/database"),
            ("/data/../etc/passwd", "/data/../etc/passwd"),
            ("--db=/data/x", "--db=/s/d/x"),
            ("--db=/database", "--db=/database"),
            ("a=b=/data", "a=b=/data"),
            ("data", "data"),
            ("", ""),
            ("echo /data", "echo /data"),
        ] {
            assert_eq!(mounts.map(value), expected, "{value}");
        }
    }
}
