//! Regular expressions as RE2 understands them, which is what the Python checks use.

use dativo_plugin::{Error, Result};
use memchr::memmem::Finder;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start, syntax};
use regex_automata::{Anchored, MatchKind};

const TABLE_BYTES: usize = 1 << 20;
const BUILD_BYTES: usize = 8 << 20;
const MOST_REPEATS: u32 = 1000;
/// Characters that may stand for something else.
const OPERATORS: [char; 12] = ['\\', '[', '(', ')', '{', '|', '.', '*', '+', '?', '^', '$'];

/// A search in one text after the other.
pub struct Pattern(Engine);

enum Engine {
    /// For one character that stands for itself.
    Byte(u8),
    /// For characters that stand for themselves.
    Literal(Box<Finder<'static>>),
    /// A table of states: a look a byte, and nothing to set up for a text.
    Table { table: Box<dense::DFA<Vec<u32>>>, start: StateID },
    /// For expressions whose table would be too large.
    General(Box<Regex>),
}

impl Pattern {
    /// Compiles an expression that means the same here as in RE2; any other is refused, which is no verdict on it.
    pub fn new(pattern: &str) -> Result<Self> {
        let translated = translate(pattern).ok_or_else(|| refused(pattern))?;
        if let ([byte], false) = (pattern.as_bytes(), pattern.contains(OPERATORS)) {
            return Ok(Self(Engine::Byte(*byte)));
        }
        if !pattern.contains(OPERATORS) {
            return Ok(Self(Engine::Literal(Box::new(Finder::new(pattern).into_owned()))));
        }
        let table = dense::Builder::new()
            .syntax(syntax::Config::new())
            .thompson(thompson::Config::new().which_captures(thompson::WhichCaptures::None))
            .configure(
                dense::Config::new()
                    .accelerate(false)
                    .start_kind(StartKind::Unanchored)
                    .match_kind(MatchKind::All)
                    .dfa_size_limit(Some(TABLE_BYTES))
                    .determinize_size_limit(Some(BUILD_BYTES)),
            )
            .build(&translated);
        if let Ok(table) = table
            && let Ok(start) = table.start_state(&start::Config::new().anchored(Anchored::No))
        {
            return Ok(Self(Engine::Table { table: Box::new(table), start }));
        }
        let general = Regex::new(&translated).map_err(|_| refused(pattern))?;
        Ok(Self(Engine::General(Box::new(general))))
    }

    /// Whether the expression matches somewhere in the text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.0 {
            Engine::Byte(byte) => holds(text, *byte),
            Engine::Literal(literal) => literal.find(text).is_some(),
            Engine::Table { table, start } => {
                let mut state = *start;
                for byte in text {
                    state = table.next_state(state, *byte);
                    if table.is_special_state(state) && (table.is_match_state(state) || table.is_dead_state(state)) {
                        return table.is_match_state(state);
                    }
                }
                table.is_match_state(table.next_eoi_state(state))
            }
            Engine::General(regex) => regex.is_match(text),
        }
    }
}

/// Whether a byte is in a text: texts are short, and a search of any length takes longer to begin than to end.
fn holds(text: &[u8], byte: u8) -> bool {
    const LANES: usize = 16;
    let any = |bytes: &[u8]| bytes.iter().fold(false, |found, one| found | (*one == byte));
    match text.last_chunk::<LANES>() {
        None => any(text),
        Some(last) => text.as_chunks::<LANES>().0.iter().any(|chunk| any(chunk)) || any(last),
    }
}

fn refused(pattern: &str) -> Error {
    Error::configuration(format!("the pattern {pattern:?} is left to RE2"))
}

/// RE2's syntax as regex-syntax reads it; `None` where the two may differ in what matches.
///
/// In RE2 the classes `\d \s \w` and the boundary `\b` are ASCII's, a class has no set operations, and a brace that is no
/// repetition is itself.
fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut rest = pattern;
    let mut repeatable = false;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                let (text, left) = escape(after, false)?;
                out.push_str(&text);
                rest = left;
                repeatable = true;
                continue;
            }
            '[' => {
                rest = class(after, &mut out)?;
                repeatable = true;
                continue;
            }
            '*' | '+' | '?' | '{' => {
                if !repeatable {
                    return None;
                }
                let mut left = after;
                if character == '{' {
                    let end = after.find('}')?;
                    repetition(&after[..end])?;
                    left = &after[end + 1..];
                }
                let left = left.strip_prefix('?').unwrap_or(left);
                out.push_str(&rest[..rest.len() - left.len()]);
                rest = left;
                repeatable = false;
                continue;
            }
            '(' if after.starts_with('?') => {
                rest = after.strip_prefix("?:")?;
                out.push_str("(?:");
                repeatable = false;
                continue;
            }
            '(' | '|' | '^' | '$' => repeatable = false,
            '}' | ']' => return None,
            _ => repeatable = true,
        }
        out.push(character);
        rest = after;
    }
    Some(out)
}

/// What follows a backslash; the translation and what is left.
fn escape(after: &str, in_class: bool) -> Option<(String, &str)> {
    let character = after.chars().next()?;
    let left = &after[character.len_utf8()..];
    let ascii = match character {
        'd' => Some(("0-9", false)),
        'D' => Some(("0-9", true)),
        's' => Some((r"\t\n\f\r ", false)),
        'S' => Some((r"\t\n\f\r ", true)),
        'w' => Some(("0-9A-Za-z_", false)),
        'W' => Some(("0-9A-Za-z_", true)),
        _ => None,
    };
    let text = match (ascii, character) {
        (Some((set, false)), _) if in_class => set.to_owned(),
        (Some((set, negated)), _) => format!("[{}{set}]", if negated { "^" } else { "" }),
        (None, 'b') if !in_class => r"(?-u:\b)".to_owned(),
        (None, 'n' | 't' | 'r' | 'f' | 'v' | 'a') => format!("\\{character}"),
        (None, 'A' | 'z') if !in_class => format!("\\{character}"),
        (None, other) if other.is_ascii_punctuation() && !matches!(other, '<' | '>' | '_') => format!("\\{other}"),
        _ => return None,
    };
    Some((text, left))
}

/// A class behind its opening bracket; what is left behind it.
fn class<'a>(after: &'a str, out: &mut String) -> Option<&'a str> {
    out.push('[');
    let mut rest = after;
    if let Some(left) = rest.strip_prefix('^') {
        out.push('^');
        rest = left;
    }
    if let Some(left) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = left;
    }
    if let Some(left) = rest.strip_prefix('-') {
        out.push_str(r"\-");
        rest = left;
    }
    loop {
        let character = rest.chars().next()?;
        let left = &rest[character.len_utf8()..];
        match character {
            '-' if left.starts_with(']') => {
                out.push_str(r"\-");
                rest = left;
            }
            ']' => {
                out.push(']');
                return Some(left);
            }
            '\\' => {
                let (text, behind) = escape(left, true)?;
                // A range that ends at a class, or begins with one, is read differently by each library.
                let ends_range = out.ends_with('-') && !out.ends_with(r"\-");
                let begins_range = behind.starts_with('-') && !behind.starts_with("-]");
                if text.len() > 2 && (begins_range || ends_range) {
                    return None;
                }
                out.push_str(&text);
                rest = behind;
            }
            '[' => return None,
            '&' | '~' if left.starts_with(character) => return None,
            '-' if left.starts_with('-') => return None,
            other => {
                out.push(other);
                rest = left;
            }
        }
    }
}

/// `{n}`, `{n,}`, `{n,m}` with numbers that RE2 takes.
fn repetition(text: &str) -> Option<()> {
    let number = |text: &str| -> Option<u32> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten().filter(|number| *number <= MOST_REPEATS)
    };
    match text.split_once(',') {
        None => number(text).map(drop),
        Some((low, "")) => number(low).map(drop),
        Some((low, high)) => (number(low)? <= number(high)?).then_some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).expect(pattern).is_match(text.as_bytes())
    }

    #[test]
    fn matches_are_searched_anywhere_unless_anchored() {
        assert!(found("b+", "abbc"));
        assert!(!found("^b+$", "abbc"));
        assert!(found("^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$", "user.17@example.com"));
        assert!(!found("^[^@\\s]+@[^@\\s]+$", "no address"));
        assert!(found("", ""));
        assert!(found("@", "a@b") && !found("@", "a") && !found("ab", "a b") && found("é-", "é-1"));
        for length in 0..70 {
            let text = "x".repeat(length);
            assert!(!found("@", &text));
            assert!((0..=length).all(|at| found("@", &format!("{}@{}", &text[..at], &text[at..]))));
        }
        assert!(found("^$", ""));
        assert!(!found("$^a", ""));
        assert!(!found("^a$", "a\n"));
    }

    #[test]
    fn classes_are_those_of_ascii_and_a_dot_is_one_character() {
        assert!(!found(r"^\d+$", "٣"));
        assert!(!found(r"^\w+$", "é"));
        assert!(found(r"^[\w.+-]+@[-\w]+$", "a.b-c+d@e-f"));
        assert!(found("^.$", "é"));
        assert!(!found("^.$", "\n"));
        assert!(found(r"\bx\b", "é x é"));
    }

    #[test]
    fn what_the_libraries_read_differently_is_refused() {
        for pattern in [
            "a**", "*a", "a{,3}", "a{1001}", "x{2", "(?i)a", "(?P<n>a)", "[a&&b]", "[[a]]", "[a--b]", r"\pL", r"\Qa",
            r"\1", r"\B", r"\<a", "a}", "a{3,2}", "(", "[a", "^*", "a|*",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn an_expression_too_large_for_a_table_still_works() {
        let pattern = Pattern::new("^[a-z]*(foo|bar)[^x]{200,400}z[a-m]{50}$").expect("compiled");
        assert!(!pattern.is_match(b"foo"));
        let text = format!("foo{}z{}", "y".repeat(250), "a".repeat(50));
        assert!(pattern.is_match(text.as_bytes()));
    }
}
