//! Rules on manifests: every crate takes its lints from the workspace.

use crate::workspace::SourceFile;

/// The complaints about one `Cargo.toml`.
pub(super) fn check(file: &SourceFile) -> Option<String> {
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("{}: {error}", file.path)),
    };
    let inherits = || {
        let lints = manifest.get("lints")?.as_table()?;
        lints.get("workspace")?.as_bool()
    };
    let is_crate = manifest.contains_key("package");
    (is_crate && inherits() != Some(true)).then(|| {
        format!(
            "{}: take the lints from the workspace: [lints] workspace = true",
            file.path
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_inherits_the_lints() {
        let complains = |text: &str| {
            let path = "Cargo.toml".into();
            let text = text.into();
            check(&SourceFile { path, text }).is_some()
        };
        assert!(!complains("[workspace]\n"));
        assert!(!complains(
            "[package]\nname = 'a'\n[lints]\nworkspace = true\n"
        ));
        assert!(complains("[package]\nname = 'a'\n"));
        assert!(complains("[package]\nname = 'a'\n[lints.rust]\n"));
    }
}
