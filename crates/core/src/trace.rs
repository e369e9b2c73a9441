//! W3C trace context: `00-<trace id>-<parent id>-<flags>`.

use std::fmt;

/// Where in a distributed trace something belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: u128,
    /// The span above.
    pub parent_id: u64,
    pub flags: u8,
}

impl TraceParent {
    /// Reads a `traceparent`. Later versions may say more behind what is known; that is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
        let trace_id = u128::from_str_radix(hex(parts.next()?, 32)?, 16).ok()?;
        let parent_id = u64::from_str_radix(hex(parts.next()?, 16)?, 16).ok()?;
        let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
        let ends = parts.next().is_none();
        let valid = trace_id != 0 && parent_id != 0 && version != 0xff && (version > 0 || ends);
        valid.then_some(Self {
            trace_id,
            parent_id,
            flags,
        })
    }
}

/// `text`, if it is of `length` hexadecimal digits in lower case.
fn hex(text: &str, length: usize) -> Option<&str> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == length && text.bytes().all(digits)).then_some(text)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.parent_id, self.flags
        )
    }
}

/// The span of a call of a run, or of an item of it; of the run itself with two zeros. The same whenever it is asked for: the
/// random part of the run's id, with the place mixed in.
pub fn span_id(run: &[u8; 16], n: i32, item: i32) -> u64 {
    let mut random = [0; 8];
    random.copy_from_slice(&run[8..]);
    u64::from_be_bytes(random) ^ (u64::from(n.unsigned_abs()) << 32 | u64::from(item.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written() {
        let read = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!((read.parent_id, read.flags), (0xb7ad_6b71_6920_3331, 1));
        assert_eq!(read.to_string(), EXAMPLE);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = EXAMPLE.replacen("00", "cc", 1) + "-what-ever";
        assert_eq!(TraceParent::parse(&later), TraceParent::parse(EXAMPLE));
    }

    #[test]
    fn what_is_not_one_is_refused() {
        for wrong in [
            "",
            "00",
            "garbage",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_of_a_run_differ() {
        let run = [7; 16];
        let spans = [
            span_id(&run, 0, 0),
            span_id(&run, 1, 0),
            span_id(&run, 1, 1),
            span_id(&run, 2, 0),
        ];
        for (index, span) in spans.iter().enumerate() {
            assert!(!spans[..index].contains(span));
        }
    }
}
