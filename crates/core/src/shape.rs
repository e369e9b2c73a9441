//! The shape of a message: what is left of an error's text when the values in it are taken away, so that errors of one kind
//! are counted as one.

/// Longest shape, in characters: the rest of a message tells apart what is of one kind.
const MAX: usize = 200;

/// Replaces what differs from one error of a kind to the next: UUIDs and long hexadecimal words by `<uuid>` and `<hex>`,
/// numbers by `<n>`, what stands in single or double quotes, and in the parentheses of `=(...)`, by `...`; white space is
/// one blank. Only the first line counts. A quoted word that is a name (`relation "orders"`) stays: it says what kind it is.
#[must_use]
pub fn shape(message: &str) -> String {
    let line = message.trim_start().lines().next().unwrap_or_default();
    let chars: Vec<char> = line.trim_end().chars().collect();
    let mut shape = String::new();
    let mut length = 0;
    let mut at = 0;
    while at < chars.len() && length < MAX {
        let before = shape.len();
        at += next(&chars[at..], at > 0 && is_word(chars[at - 1]), &mut shape);
        length += shape[before..].chars().count();
    }
    if at < chars.len() {
        shape.push('…');
    }
    shape
}

/// Appends the shape of what `rest` begins with, and returns how many characters that was.
fn next(rest: &[char], in_word: bool, shape: &mut String) -> usize {
    match rest[0] {
        quote @ ('\'' | '"') if !in_word => {
            if let Some(end) = rest[1..].iter().position(|c| *c == quote) {
                let inside = &rest[1..=end];
                shape.push(quote);
                if quote == '"' && is_name(inside) {
                    shape.extend(inside);
                } else {
                    shape.push_str("...");
                }
                shape.push(quote);
                return end + 2;
            }
        }
        // As in: Key (id)=(42) already exists.
        '=' if rest.get(1) == Some(&'(') => {
            if let Some(end) = rest.iter().position(|c| *c == ')') {
                shape.push_str("=(...)");
                return end + 1;
            }
        }
        c if c.is_whitespace() => {
            shape.push(' ');
            return rest.iter().take_while(|c| c.is_whitespace()).count();
        }
        c if c.is_ascii_alphanumeric() && !in_word => {
            if let Some((placeholder, length)) = value(rest) {
                shape.push_str(placeholder);
                return length;
            }
        }
        _ => {}
    }
    shape.push(rest[0]);
    1
}

/// The placeholder of a value that `rest` begins with, at a word's beginning, and its length.
fn value(rest: &[char]) -> Option<(&'static str, usize)> {
    let uuid = rest.iter().take_while(|c| c.is_ascii_hexdigit() || **c == '-').count();
    let hyphens = rest[..uuid].iter().filter(|c| **c == '-').count();
    let ends = |length: usize| rest.get(length).is_none_or(|c| !is_word(*c));
    if uuid == 36 && hyphens == 4 && ends(36) {
        return Some(("<uuid>", 36));
    }
    let hex = rest.iter().take_while(|c| c.is_ascii_hexdigit()).count();
    let has_digit = rest[..hex].iter().any(char::is_ascii_digit);
    let has_letter = rest[..hex].iter().any(char::is_ascii_alphabetic);
    if hex >= 8 && has_digit && has_letter && ends(hex) {
        return Some(("<hex>", hex));
    }
    if !rest[0].is_ascii_digit() {
        return None;
    }
    // 3, 1.5, 10,000, 12:30:00, 2026-01-31: one number; 40P01 and 3rd are words with one in them.
    let mut length = 0;
    while length < rest.len() {
        let joins = matches!(rest[length], '.' | ',' | ':' | '-' | '/')
            && rest.get(length + 1).is_some_and(char::is_ascii_digit);
        if !(rest[length].is_ascii_digit() || joins) {
            break;
        }
        length += 1;
    }
    Some(("<n>", length))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A name of something in the database: short, a letter first, no blank, no digit.
fn is_name(inside: &[char]) -> bool {
    inside.first().is_some_and(|c| c.is_alphabetic() || *c == '_')
        && inside.len() <= 63
        && inside.iter().all(|c| c.is_alphabetic() || matches!(c, '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn values_go_and_words_stay() {
        for (message, expected) in [
            ("division by zero", "division by zero"),
            ("order 42 is closed", "order <n> is closed"),
            ("balance is -12.50, limit 10,000", "balance is -<n>, limit <n>"),
            ("at 2026-01-31 12:30:00.5 UTC", "at <n> <n> UTC"),
            ("value \"4711\" is out of range", "value \"...\" is out of range"),
            (
                "relation \"orders\" does not exist",
                "relation \"orders\" does not exist",
            ),
            ("column \"a.b_c\" is gone", "column \"a.b_c\" is gone"),
            ("customer 'Ann O.' is unknown", "customer '...' is unknown"),
            ("customer \"ann smith\" is unknown", "customer \"...\" is unknown"),
            (
                "Key (id, day)=(42, monday) already exists.",
                "Key (id, day)=(...) already exists.",
            ),
            (
                "instance 0190a5b4-7c3e-7def-8123-456789abcdef is gone",
                "instance <uuid> is gone",
            ),
            ("commit deadbeef42 is gone", "commit <hex> is gone"),
            ("can't do that", "can't do that"),
            ("it's 3 o'clock", "it's <n> o'clock"),
            ("an open ' quote 7", "an open ' quote <n>"),
            ("step3 of v2", "step3 of v2"),
            ("  two   blanks\tand a tab ", "two blanks and a tab"),
            ("first line 1\nsecond line 2", "first line <n>"),
            ("", ""),
        ] {
            assert_eq!(shape(message), expected, "{message}");
        }
    }

    #[test]
    fn it_is_its_own_shape_and_bounded() {
        for message in [
            "order 42 of 'x' and \"7\" at <n>",
            "größe 3 überschritten",
            "=(",
            "\"",
            "9",
        ] {
            assert_eq!(shape(&shape(message)), shape(message), "{message}");
        }
        let long = shape(&"wörter ".repeat(1000));
        assert_eq!(long.chars().count(), 201);
        assert!(long.ends_with('…'));
    }
}
