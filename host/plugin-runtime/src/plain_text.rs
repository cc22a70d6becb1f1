//! Texts from plugins, made fit for a line that people read: one line, bounded, without anything that could forge another.

use xthonpay_domain::text::is_deceptive;

/// What is put at the end of a text that was cut.
const CUT_MARK: &str = "…";

/// `text` with every control, invisible and direction-changing character replaced by a space, and cut to at most
/// `bytes_max` bytes of UTF-8, a mark at the end of what was cut included.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars().map(|character| if is_deceptive(character) { ' ' } else { character }) {
        if line.len().saturating_add(character.len_utf8()) > bytes_max {
            line.truncate(line.floor_char_boundary(bytes_max.saturating_sub(CUT_MARK.len())));
            if bytes_max >= CUT_MARK.len() {
                line.push_str(CUT_MARK);
            }
            break;
        }
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_harmless() {
        assert_eq!(one_line("Ünï 🧾 ok", 64), "Ünï 🧾 ok");
        assert_eq!(one_line("12345678", 8), "12345678");
        assert_eq!(one_line("", 8), "");
    }

    #[test]
    fn takes_out_what_could_forge_a_line() {
        assert_eq!(one_line("a\nb\r\tc\u{1b}[2Jd\u{202e}e\0f", 64), "a b  c [2Jd e f");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(one_line("123456789", 8), "12345…");
        assert_eq!(one_line("äöüäö", 8), "äö…");
        assert_eq!(one_line(&"🧾".repeat(10), 8), "🧾…");
        for bytes_max in 0..40 {
            assert!(one_line(&"aä🧾".repeat(20), bytes_max).len() <= bytes_max);
        }
    }
}
