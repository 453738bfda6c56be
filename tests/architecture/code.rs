//! Rust code as text: the paths that it names.

/// A path as the code writes it, with groups taken apart.
#[derive(Debug)]
pub struct CodePath {
    /// The segments; `super` and `crate` and a closing `*` or `self` are segments too.
    pub segments: Vec<String>,
    /// The line that it begins on.
    pub line: usize,
    /// How many modules of the file itself it stands in.
    pub depth: usize,
}

/// Every path in the code, but for those in modules behind `#[cfg(test)]`.
pub fn paths(text: &str) -> Vec<CodePath> {
    let tokens = &lex(text)[..];
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|(token, _)| token == word);
    let matches = |at: usize, words: &[&str]| words.iter().enumerate().all(|(i, word)| is(at + i, word));
    let is_word = |at: usize| {
        tokens.get(at).is_some_and(|(token, _)| token.starts_with(|c: char| c.is_alphabetic() || c == '_'))
    };
    let mut found = Vec::new();
    let mut open = 0_usize;
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if matches(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            // Skip the item: to its semicolon, or to the end of its first block.
            at += 7;
            let mut braces = 0;
            while at < tokens.len() {
                match tokens[at].0.as_str() {
                    "{" => braces += 1,
                    "}" => braces -= 1,
                    _ => {}
                }
                at += 1;
                if braces < 0 || braces == 0 && (is(at - 1, "}") || is(at - 1, ";")) {
                    break;
                }
            }
        } else if is(at, "mod") && is(at + 2, "{") {
            open += 1;
            modules.push(open);
            at += 3;
        } else if is(at, "{") {
            open += 1;
            at += 1;
        } else if is(at, "}") {
            if modules.last() == Some(&open) {
                modules.pop();
            }
            open = open.saturating_sub(1);
            at += 1;
        } else if is(at, "(") && is(at + 1, "crate") && is(at + 2, ")") {
            at += 3; // pub(crate)
        } else if is_word(at) && (at == 0 || !is(at - 1, ".") || (at > 1 && is(at - 2, "."))) {
            at = path(tokens, at, &mut Vec::new(), modules.len(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path or one group of them from `at` on; answers where it ends.
fn path(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    depth: usize,
    found: &mut Vec<CodePath>,
) -> usize {
    let length = prefix.len();
    let line = tokens[at].1;
    loop {
        match tokens.get(at).map(|(token, _)| token.as_str()) {
            Some("{") => {
                at += 1;
                while at < tokens.len() && tokens[at].0 != "}" {
                    at = if tokens[at].0 == "," {
                        at + 1
                    } else {
                        path(tokens, at, prefix, depth, found).max(at + 1)
                    };
                }
                prefix.truncate(length);
                return at + 1;
            }
            Some(token) => prefix.push(token.to_owned()),
            None => break,
        }
        at += 1;
        // A path goes on behind `::`, but not into `::<`.
        let goes_on = tokens.get(at).is_some_and(|(token, _)| token == "::")
            && tokens.get(at + 1).is_some_and(|(token, _)| token != "<");
        if !goes_on {
            break;
        }
        at += 1;
    }
    // `use a::b as c`: the other name is nobody's business.
    if tokens.get(at).is_some_and(|(token, _)| token == "as") && length > 0 {
        at += 2;
    }
    found.push(CodePath { segments: prefix.clone(), line, depth });
    prefix.truncate(length);
    at
}

/// A word or a sign of the code, and its line.
type Token = (String, usize);

/// The words and signs of Rust code without comments and literals. `::` is one sign.
fn lex(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        if c == '/' && peek(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && peek(at + 1) == '*' {
            let mut open = 1;
            at += 2;
            while at < chars.len() && open > 0 {
                match (chars[at], peek(at + 1)) {
                    ('/', '*') => (open, at) = (open + 1, at + 2),
                    ('*', '/') => (open, at) = (open - 1, at + 2),
                    _ => at += 1,
                }
            }
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character, or a lifetime: only the former is closed after one character.
            at += match (peek(at + 1), peek(at + 2)) {
                ('\\', _) => 2 + chars[at + 3..].iter().position(|c| *c == '\'').map_or(0, |n| n + 2),
                (_, '\'') => 3,
                _ => 1,
            };
        } else if c.is_alphanumeric() || c == '_' {
            while peek(at).is_alphanumeric() || peek(at) == '_' {
                at += 1;
            }
            let word: String = chars[start..at].iter().collect();
            let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
            if word.ends_with('r') && word.len() <= 2 && peek(at + hashes) == '"' {
                // A raw string: up to the quote with as many hashes behind it.
                at += hashes + 1;
                while at < chars.len()
                    && !(chars[at] == '"'
                        && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes)
                {
                    at += 1;
                }
                at += hashes + 1;
            } else {
                tokens.push((word, line));
            }
        } else if c == ':' && peek(at + 1) == ':' {
            at += 2;
            tokens.push(("::".to_owned(), line));
        } else {
            at += 1;
            if !c.is_whitespace() {
                tokens.push((c.to_string(), line));
            }
        }
        at = at.min(chars.len());
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}
