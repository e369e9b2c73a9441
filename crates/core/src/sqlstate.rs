//! Patterns of SQLSTATEs, as retry rules name them.

/// True if `text` is a SQLSTATE (`40001`), or a class with a star (`40*`).
pub fn is_pattern(text: &str) -> bool {
    let code = text.strip_suffix('*').unwrap_or(text);
    let whole = code.len() == text.len();
    code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && if whole {
            code.len() == 5
        } else {
            (1..5).contains(&code.len())
        }
}

/// True if `sqlstate` is the pattern's code or begins with what stands before its star.
pub fn matches(pattern: &str, sqlstate: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(class) => sqlstate.starts_with(class),
        None => sqlstate == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_code_or_a_class() {
        for good in ["40001", "40*", "P0*", "WF004", "5*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "*", "4000", "400011", "40001*", "p0001", "40 01"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn a_class_covers_its_codes_only() {
        assert!(matches("40*", "40001"));
        assert!(matches("P0042", "P0042"));
        assert!(!matches("40*", "41001"));
        assert!(!matches("40001", "40P01"));
    }
}
