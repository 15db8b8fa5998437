//! What is fit to be shown: on pages, in labels, in reports.

/// As `1,234,567`.
pub(crate) fn thousands(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A character that isn't seen but changes what is: it controls, ends a line for many a tool, has no width, or turns the
/// direction of the text around it, so that one name could pass for another.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn what_deceives_is_unseen() {
        let unseen = "\0\n\u{7f}\u{85}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}";
        assert!(unseen.chars().all(is_unseen));
        let seen = " \u{a0}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}עé👩🏽";
        assert!(!seen.chars().any(is_unseen));
    }
}
