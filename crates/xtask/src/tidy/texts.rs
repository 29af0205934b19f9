//! Rules on the text of a file: how it opens, and what must not be left in it.

use crate::workspace::SourceFile;

/// Folders of a developer's machine. What names them works there only. They are put together here so
/// that this file does not name them.
const MACHINE_FOLDERS: [&str; 3] = [
    concat!("/", "work"),
    concat!("/", "root"),
    concat!("/", "home"),
];

/// What git writes into a file that it could not merge.
const MERGE_MARKS: [&str; 3] = ["<<<<<<< ", ">>>>>>> ", "||||||| "];

/// The complaints about one file.
pub(super) fn check(file: &SourceFile) -> Vec<String> {
    let mut complaints = Vec::new();
    let opening = if file.is(".rs") {
        Some("//!")
    } else if file.is(".proto") {
        Some("//")
    } else {
        None
    };
    if let Some(opening) = opening.filter(|opening| !file.text.starts_with(opening)) {
        complaints.push(format!(
            "{}:1: open the file with `{opening}` and what it owns",
            file.path
        ));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let what = if MERGE_MARKS.iter().any(|mark| line.starts_with(mark)) {
            "a merge that was not finished"
        } else if MACHINE_FOLDERS.iter().any(|name| names(line, name)) {
            "a path of somebody's machine"
        } else {
            continue;
        };
        complaints.push(format!("{}:{number}: {what}: {}", file.path, line.trim()));
    }
    complaints
}

/// Whether the line names this folder, and not only something whose name begins or ends alike.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        !before.is_some_and(joins) && !after.is_some_and(|c| joins(c) && c != '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&SourceFile {
            path: path.into(),
            text: text.into(),
        })
        .len()
    }

    #[test]
    fn files_open_with_what_they_own() {
        assert_eq!(complaints("a.rs", "//! Owns a.\n"), 0);
        assert_eq!(complaints("a.rs", "use b;\n"), 1);
        assert_eq!(complaints("a.proto", "// Says a.\n"), 0);
        assert_eq!(complaints("a.proto", "syntax = \"proto3\";\n"), 1);
        assert_eq!(complaints("a.md", "A\n"), 0);
    }

    #[test]
    fn leftovers_are_found() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(complaints("a.md", &format!("see {folder}/a")), 1);
            assert_eq!(complaints("a.md", &format!("see \"{folder}\"")), 1);
            assert_eq!(complaints("a.md", &format!("see {folder}space/a")), 0);
            assert_eq!(complaints("a.md", &format!("see frame{folder}")), 0);
        }
        for mark in MERGE_MARKS {
            assert_eq!(complaints("a.md", &format!("{mark}ours")), 1);
        }
    }
}
