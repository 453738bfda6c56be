//! `WWW-Authenticate` (RFC 9110 §11.6.1), as registries use it.

/// The longest header that is read, in bytes.
const HEADER_LIMIT: usize = 4096;

/// What a registry wants to see before it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Challenge {
    /// A user name and password (RFC 7617).
    Basic,
    /// A token from the server at `realm` (RFC 6750, and the distribution project's token flow).
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// For which service the token is; empty if it does not say. The scope that it names is not
        /// read: we ask for what we need and no more.
        service: String,
    },
}

/// The first challenge in `header` that we can answer; Bearer before Basic. None if there is none.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    if header.len() > HEADER_LIMIT {
        return None;
    }
    let mut basic = None;
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let scheme = &rest[..end];
        let (parameters, behind) = parameters(&rest[end..]);
        if scheme.eq_ignore_ascii_case("bearer") {
            let get = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let realm = get("realm");
            if !realm.is_empty() {
                return Some(Challenge::Bearer { realm, service: get("service") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        rest = behind;
    }
    basic
}

/// `key=value` pairs until something else begins, and what is left.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let name_end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(rest.len());
        let Some(value) = rest[name_end..].strip_prefix('=') else { return (found, rest) };
        if name_end == 0 {
            // A stray sign: skip it, or the text would never end.
            rest = value;
            continue;
        }
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        found.push((rest[..name_end].to_owned(), value));
        rest = behind;
    }
}

/// The rest of a quoted string, with its escapes taken out; an unclosed one ends with the text.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}
