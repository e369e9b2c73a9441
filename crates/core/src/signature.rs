//! Which function is meant, and how its parameters get their values from a JSON input.

use std::collections::BTreeSet;

/// An input parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Empty if it has none.
    pub name: String,
    /// SQL name of the type, qualified outside of `pg_catalog`.
    pub type_name: String,
    pub has_default: bool,
}

/// How a function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The function has one `jsonb` (or `json`) parameter: it gets the whole input.
    Whole { type_name: String },
    /// Named arguments from the keys of the input: indexes of the parameters that get one.
    Named(Vec<usize>),
}

/// Why an input does not fit a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// Named arguments need an object.
    NotAnObject,
    /// Parameters without a default for which there is no key.
    Missing(Vec<String>),
    /// Keys for which there is no parameter.
    Unknown(Vec<String>),
    /// The function has a parameter without a name, which no key can reach.
    Unnamed,
}

/// Fits an input to a function's parameters. `keys` are those of the input object, `None` if it is none.
///
/// # Errors
/// See [`Mismatch`]. A key without a parameter is refused, as Postgres refuses an unknown named argument: a misspelt key
/// of a parameter with a default would otherwise be silently lost.
pub fn fit(parameters: &[Parameter], keys: Option<&BTreeSet<String>>) -> Result<Call, Mismatch> {
    if let [only] = parameters
        && matches!(only.type_name.as_str(), "jsonb" | "json")
    {
        return Ok(Call::Whole {
            type_name: only.type_name.clone(),
        });
    }
    let empty = BTreeSet::new();
    let keys = match keys {
        Some(keys) => keys,
        None if parameters.is_empty() => &empty,
        None => return Err(Mismatch::NotAnObject),
    };
    if parameters.iter().any(|p| p.name.is_empty() && !p.has_default) {
        return Err(Mismatch::Unnamed);
    }
    let unknown: Vec<_> = keys
        .iter()
        .filter(|key| !parameters.iter().any(|p| p.name == **key))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(Mismatch::Unknown(unknown));
    }
    let missing: Vec<_> = parameters
        .iter()
        .filter(|p| !p.has_default && !keys.contains(&p.name))
        .map(|p| p.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(Mismatch::Missing(missing));
    }
    Ok(Call::Named(
        (0..parameters.len())
            .filter(|i| keys.contains(&parameters[*i].name))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(text: &str) -> Parameter {
        let (name, rest) = text.split_once(' ').unwrap_or((text, "text"));
        let (type_name, has_default) = rest.strip_suffix('=').map_or((rest, false), |t| (t, true));
        Parameter {
            name: name.into(),
            type_name: type_name.into(),
            has_default,
        }
    }

    fn check(parameters: &[&str], keys: Option<&[&str]>) -> Result<Call, Mismatch> {
        let parameters: Vec<_> = parameters.iter().map(|p| parameter(p)).collect();
        let keys = keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect());
        fit(&parameters, keys.as_ref())
    }

    #[test]
    fn one_jsonb_parameter_takes_everything() {
        let whole = Ok(Call::Whole {
            type_name: "jsonb".into(),
        });
        assert_eq!(check(&["input jsonb"], None), whole);
        assert_eq!(check(&["input jsonb"], Some(&["a", "b"])), whole);
    }

    #[test]
    fn keys_become_named_arguments() {
        assert_eq!(check(&["a int", "b text="], Some(&["a"])), Ok(Call::Named(vec![0])));
        assert_eq!(
            check(&["a int", "b text="], Some(&["a", "b"])),
            Ok(Call::Named(vec![0, 1]))
        );
        assert_eq!(check(&[], Some(&[])), Ok(Call::Named(vec![])));
        assert_eq!(check(&[], None), Ok(Call::Named(vec![])));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(
            check(&["a int", "b int"], Some(&["a"])),
            Err(Mismatch::Missing(vec!["b".into()]))
        );
        assert_eq!(
            check(&["a int="], Some(&["aa"])),
            Err(Mismatch::Unknown(vec!["aa".into()]))
        );
        assert_eq!(check(&["a int"], None), Err(Mismatch::NotAnObject));
        assert_eq!(check(&[" int", "b int"], Some(&["b"])), Err(Mismatch::Unnamed));
    }
}
