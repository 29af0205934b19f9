//! Rules on the tokens of a Rust file, so that comments and texts do not count: how long functions
//! are, what must not stay in the code, which words are not ours.

use crate::workspace::SourceFile;
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Macros that stand for something unfinished.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Words that other event stores use for what has a name of its own here.
const WORDS: [(&str, &str); 10] = [
    ("NewEvent", "EventData"),
    ("SequencedEvent", "RecordedEvent"),
    ("EventEnvelope", "RecordedEvent"),
    ("ExpectedVersion", "ExpectedRevision"),
    ("expected_version", "expected revision"),
    ("event_number", "revision"),
    ("global_sequence", "position"),
    ("firehose", "all streams"),
    ("consumer_group", "persistent subscription"),
    ("bookmark", "checkpoint"),
];

/// The folders that speak in another store's words.
const FOREIGN: [&str; 2] = ["crates/kurrent/", "tests/compat/"];

/// What tidy wants to know of a Rust file.
pub(super) struct Tokens<'a> {
    path: &'a str,
    functions: Vec<Function>,
    forbidden: Vec<String>,
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

impl<'a> Tokens<'a> {
    /// Takes a file apart.
    pub(super) fn of(file: &'a SourceFile) -> Result<Self, String> {
        let tokens: TokenStream = file
            .text
            .parse()
            .map_err(|error| format!("{}: {error}", file.path))?;
        let mut found = Self {
            path: &file.path,
            functions: Vec::new(),
            forbidden: Vec::new(),
        };
        found.look(tokens);
        Ok(found)
    }

    /// What must not be there.
    pub(super) fn forbidden(&self) -> Vec<String> {
        self.forbidden.clone()
    }

    /// The functions that have more lines than this.
    pub(super) fn functions_over(&self, lines: usize) -> Vec<String> {
        let long = self.functions.iter().filter(|f| f.lines > lines);
        long.map(|f| format!("{}:{}: {} ({} lines)", self.path, f.line, f.name, f.lines))
            .collect()
    }

    fn look(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for at in 0..tokens.len() {
            match &tokens[at..] {
                [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] if *word == "fn" => {
                    self.functions.extend(function(word, name, rest));
                }
                [TokenTree::Ident(name), TokenTree::Punct(mark), ..]
                    if mark.as_char() == '!' && MACROS.iter().any(|m| name == m) =>
                {
                    self.forbid(name, &format!("`{name}!` is left in the code"));
                }
                [TokenTree::Punct(hash), TokenTree::Group(group), ..]
                    if hash.as_char() == '#' && is_ignore(group) =>
                {
                    let line = group.span_open().start().line;
                    let complaint = format!("{}:{line}: a test is ignored", self.path);
                    self.forbidden.push(complaint);
                }
                _ => {}
            }
            match &tokens[at] {
                TokenTree::Ident(word) => self.look_at_word(word),
                TokenTree::Group(group) => self.look(group.stream()),
                _ => {}
            }
        }
    }

    fn look_at_word(&mut self, word: &Ident) {
        if FOREIGN.iter().any(|folder| self.path.starts_with(folder)) {
            return;
        }
        let text = word.to_string();
        if let Some((_, ours)) = WORDS.iter().find(|(theirs, _)| text.contains(theirs)) {
            self.forbid(word, &format!("`{text}`: the word here is {ours}"));
        }
    }

    fn forbid(&mut self, word: &Ident, what: &str) {
        let line = word.span().start().line;
        self.forbidden.push(format!("{}:{line}: {what}", self.path));
    }
}

/// A function with a body: from its `fn` to the end of the first braces behind it.
fn function(word: &Ident, name: &Ident, rest: &[TokenTree]) -> Option<Function> {
    let body = rest.iter().find_map(|token| match token {
        TokenTree::Punct(end) if end.as_char() == ';' => Some(None),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
        _ => None,
    })??;
    let line = word.span().start().line;
    Some(Function {
        name: name.to_string(),
        line,
        lines: body.span_close().end().line - line + 1,
    })
}

/// Whether an attribute is `[ignore]`, with or without a reason.
fn is_ignore(attribute: &Group) -> bool {
    let first = attribute.stream().into_iter().next();
    attribute.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(name)) if name == "ignore")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile {
            path: "a.rs".into(),
            text: text.into(),
        }
    }

    #[test]
    fn unfinished_code_is_found_and_texts_are_not() {
        let forbidden = |text: &str| Tokens::of(&file(text)).unwrap().forbidden().len();
        assert_eq!(forbidden("fn a() { todo!() }"), 1);
        assert_eq!(forbidden("fn a() { select! { b = c => dbg!(b) } }"), 1);
        assert_eq!(forbidden("#[test] #[ignore = \"slow\"] fn a() {}"), 1);
        assert_eq!(forbidden("struct NewEvent { event_number: u64 }"), 2);
        assert_eq!(
            forbidden("/// todo!() #[ignore]\nfn a() { b(\"dbg!()\") }"),
            0
        );
        assert_eq!(forbidden("fn ignore() { new_event_id() }"), 0);
    }

    #[test]
    fn the_words_of_others_are_free_where_others_are_spoken_to() {
        let forbidden = |path: &str| {
            let text = "fn next_expected_version() { todo!() }".into();
            let path = path.into();
            let file = SourceFile { path, text };
            Tokens::of(&file).unwrap().forbidden().len()
        };
        assert_eq!(forbidden("tests/src/a.rs"), 2);
        assert_eq!(forbidden("tests/compat/rust/src/a.rs"), 1);
        assert_eq!(forbidden("crates/kurrent/src/a.rs"), 1);
    }

    #[test]
    fn lines_of_functions_are_counted() {
        let body = "\n".repeat(5);
        let text = format!(
            "trait A {{ fn none(); fn short() {{}} }}\nfn long()\n{{{body}}}\ntype F = fn(u8);"
        );
        let file = file(&text);
        let tokens = Tokens::of(&file).unwrap();
        assert_eq!(tokens.functions_over(6), ["a.rs:2: long (7 lines)"]);
        assert_eq!(tokens.functions_over(0).len(), 2);
    }
}
