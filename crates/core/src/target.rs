//! Is a step's target the name of a function, or SQL?

/// True if `text` is nothing but a possibly qualified identifier (`f`, `shop.charge`, `"My Schema".f`): then it names a
/// function. Everything else is SQL, since no statement of one word takes part in a workflow.
pub fn is_name(text: &str) -> bool {
    let mut rest = text.trim();
    loop {
        let Some(after) = identifier(rest) else { return false };
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty(),
        }
    }
}

/// Skips one identifier, quoted or not.
fn identifier(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut chars = quoted.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if c == '"' {
                if chars.peek().is_some_and(|(_, next)| *next == '"') {
                    chars.next();
                } else {
                    return (i > 0).then(|| &quoted[i + 1..]);
                }
            }
        }
        return None;
    }
    let end = text
        .char_indices()
        .find(|(i, c)| {
            let letter = c.is_alphabetic() || *c == '_' || !c.is_ascii();
            !(letter || (*i > 0 && (c.is_ascii_digit() || *c == '$')))
        })
        .map_or(text.len(), |(i, _)| i);
    (end > 0).then(|| &text[end..])
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_and_statements_are_told_apart() {
        for name in [
            "f",
            "charge_card",
            "shop.charge",
            "\"My Schema\".\"do it\"",
            "a.b.c",
            " padded ",
            "größe",
            "f$1",
            "\"q\"\"q\"",
        ] {
            assert!(is_name(name), "{name}");
        }
        for sql in [
            "", "SELECT 1", "f()", "a.", ".a", "1f", "\"open", "\"\"", "a b", "f;", "VACUUM t", "a..b",
        ] {
            assert!(!is_name(sql), "{sql}");
        }
    }
}
