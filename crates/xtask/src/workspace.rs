//! Where the repository is and what is in it.

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing that was written by hand.
const NOT_OURS: [&str; 4] = [".git", "target", "icecore-data", "node_modules"];

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = crates.and_then(Path::parent);
    root.expect("xtask lies two folders below the root").into()
}

/// A file that was written by hand.
pub(crate) struct SourceFile {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether the name ends so, like `.rs`.
    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.ends_with(extension)
    }
}

/// Every text of the repository, whether it is committed already or not.
pub(crate) fn files() -> Result<Vec<SourceFile>> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if NOT_OURS.contains(&&*name) || name.starts_with("target-") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root).context("stay below the root")?;
            let path = path.to_string_lossy().replace('\\', "/");
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

/// The crates of the workspace, as their manifests describe them.
pub(crate) fn members() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().context("ask cargo for the workspace")
}
