//! SQL and PL/pgSQL text as tokens: as much of Postgres' lexer as it takes to tell names, literals and punctuation apart.
//! Any text gives tokens; what is not closed ends with the text.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key word or a name, folded to lower case.
    Word,
    /// A name in double quotes, without them.
    Quoted,
    /// A string constant: its value.
    Text,
    /// A number or a parameter (`$1`).
    Number,
    Symbol,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    /// Where it begins, from 1.
    pub line: usize,
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// True for what may be a name.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }
}

/// All tokens of `source`, comments left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blank();
        let line = lexer.line;
        let Some((kind, text)) = lexer.token() else {
            return found;
        };
        found.push(Token { kind, text, line });
    }
}

const LONG_SYMBOLS: [&str; 6] = ["=>", ":=", "::", "..", "<<", ">>"];

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes `bytes`, which end at the border of a character.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, f: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !f(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.take(c.len_utf8());
            }
        }
    }

    fn token(&mut self) -> Option<(Kind, String)> {
        let first = self.peek()?;
        let second = self.rest.chars().nth(1);
        Some(match first {
            '\'' => (Kind::Text, self.quoted('\'', false)),
            '"' => (Kind::Quoted, self.quoted('"', false)),
            'e' | 'E' if second == Some('\'') => {
                self.take(1);
                (Kind::Text, self.quoted('\'', true))
            }
            'b' | 'B' | 'x' | 'X' | 'n' | 'N' if second == Some('\'') => {
                self.take(1);
                (Kind::Text, self.quoted('\'', false))
            }
            'u' | 'U' if self.rest[1..].starts_with("&'") || self.rest[1..].starts_with("&\"") => {
                self.take(2);
                match self.peek() {
                    Some('"') => (Kind::Quoted, self.quoted('"', false)),
                    _ => (Kind::Text, self.quoted('\'', false)),
                }
            }
            '$' => match self.dollar_quoted() {
                Some(text) => (Kind::Text, text),
                None => {
                    self.take(1);
                    let digits = self.take_while(|c| c.is_ascii_digit());
                    (Kind::Number, format!("${digits}"))
                }
            },
            c if begins_name(c) => (Kind::Word, self.take_while(continues_name).to_ascii_lowercase()),
            c if c.is_ascii_digit() => (Kind::Number, self.number()),
            c => {
                let long = LONG_SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol));
                let length = long.map_or(c.len_utf8(), |symbol| symbol.len());
                (Kind::Symbol, self.take(length).to_owned())
            }
        })
    }

    /// What is between two quotes, of which a doubled one stands for itself.
    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        let mut text = String::new();
        self.take(1);
        while let Some(c) = self.peek() {
            self.take(c.len_utf8());
            if c == quote {
                if self.peek() != Some(quote) {
                    break;
                }
                self.take(1);
                text.push(quote);
            } else if c == '\\' && escapes {
                if let Some(escaped) = self.peek() {
                    self.take(escaped.len_utf8());
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                }
            } else {
                text.push(c);
            }
        }
        text
    }

    fn dollar_quoted(&mut self) -> Option<String> {
        let tag = self.rest[1..].find('$')? + 2;
        let (delimiter, body) = self.rest.split_at(tag);
        let name = &delimiter[1..tag - 1];
        if !(name.is_empty() || name.starts_with(begins_name) && name.chars().all(|c| continues_name(c) && c != '$')) {
            return None;
        }
        let end = body.find(delimiter);
        let text = body[..end.unwrap_or(body.len())].to_owned();
        self.take(tag + end.map_or(body.len(), |end| end + tag));
        Some(text)
    }

    /// In `1..10` the number is `1`.
    fn number(&mut self) -> String {
        let mut text = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned();
        let mut after = self.rest.chars();
        if after.next() == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit()) {
            text.push_str(self.take(1));
            text.push_str(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
        text
    }
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit() || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn names_fold_and_quoted_ones_do_not() {
        assert_eq!(
            texts(r#"Shop."Big "" Table" größe a$1"#),
            ["shop", ".", "Big \" Table", "größe", "a$1"]
        );
    }

    #[test]
    fn string_constants_give_their_value() {
        for (source, value) in [
            ("'it''s'", "it's"),
            (r"'a\'", "a\\"),
            (r"E'it\'s\n'", "it's\n"),
            ("$$a 'b' $1$$", "a 'b' $1"),
            ("$q$ $$ $q $q$", " $$ $q "),
            ("U&'x'", "x"),
            ("'open", "open"),
            ("$$open", "open"),
        ] {
            let found = tokens(source);
            assert_eq!((found[0].kind, found[0].text.as_str()), (Kind::Text, value), "{source}");
            assert_eq!(found.len(), 1, "{source}");
        }
    }

    #[test]
    fn comments_are_nested_and_left_out() {
        assert_eq!(texts("a -- b 'c\n/* d /* e */ f ' */ g /* h"), ["a", "g"]);
    }

    #[test]
    fn numbers_parameters_and_symbols() {
        assert_eq!(
            texts("1..10 1.5e3 $1 a=>b c:=d::e <<l>> $"),
            [
                "1", "..", "10", "1.5e3", "$1", "a", "=>", "b", "c", ":=", "d", "::", "e", "<<", "l", ">>", "$"
            ]
        );
    }

    #[test]
    fn lines_are_those_at_which_tokens_begin() {
        let lines: Vec<_> = tokens("a\n'b\nc' d /* \n */ e $$\n\n$$ f")
            .into_iter()
            .map(|token| token.line)
            .collect();
        assert_eq!(lines, [1, 2, 3, 4, 4, 6]);
    }

    proptest! {
        #[test]
        fn any_text_gives_tokens(source in "([a-zA-Z0-9_$'\"\\\\/*\\-.:=<>&ß\n ]|\\$\\$|\\$q\\$|/\\*|U&'){0,80}") {
            let found = tokens(&source);
            prop_assert!(found.is_sorted_by_key(|token| token.line));
            prop_assert!(found.iter().all(|token| token.line <= 1 + source.matches('\n').count()));
        }

        #[test]
        fn any_characters_give_tokens(source in ".{0,80}") {
            tokens(&source);
        }
    }
}
