//! Removes differences between names that are not visible.
//!
//! Characters that control or that Unicode lists as default-ignorable (joiners, selectors, fillers,
//! marks of direction) have no shape of their own, so that two names that look the same could be
//! two series. Each of them becomes U+FFFD, which is seen, except where writing needs it:
//!
//! * joiners where they change the shape of letters: between letters of joining scripts such as
//!   Arabic, and after the virama of Indic scripts (after UAX #31 and RFC 5892, appendix A);
//! * whole emoji that Unicode recommends, which get their fully qualified form;
//! * selectors of an emoji's presentation that differ from its default, and Mongolian selectors
//!   after a letter.
//!
//! A variation selector elsewhere chooses a glyph of the same character, and a joiner between
//! letters that join, or don't join, anyhow changes nothing: both are left out, so that such names
//! become the same. Promises: the result of the function is left unchanged by it. It doesn't know
//! fonts: two Indic spellings may look alike where a font lacks a ligature. Blanks are seen,
//! whatever their width, and letters that resemble letters of other scripts are too.

use std::borrow::Cow;

use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier, EmojiPresentation,
    ExtendedPictographic, GeneralCategory, IndicSyllabicCategory, JoiningType, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
const LAST_TAG: char = '\u{e007f}';
const MONGOLIAN_VOWEL_SEPARATOR: char = '\u{180e}';

/// The text without unseen characters, cut to a number of characters.
pub(crate) fn fit(text: &str, most: usize) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
        return Cow::Borrowed(text.get(..end).unwrap_or_default());
    }
    let mut characters: Vec<char> = text.chars().collect();
    // A character that is replaced, or a cut, may take away what others need. Each round has fewer
    // unseen ones.
    loop {
        let next = round(&characters, most);
        if next == characters {
            return Cow::Owned(next.into_iter().collect());
        }
        characters = next;
    }
}

/// An unseen character that may change visible ones.
pub(crate) fn is_unseen(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Annotation marks and the ends of lines and paragraphs are not in the list.
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

enum Fate {
    Kept,
    LeftOut,
    Replaced,
}

fn round(characters: &[char], most: usize) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(characters.len().min(most));
    let mut at = 0;
    while out.len() < most
        && let Some((&c, right)) = characters.get(at..).and_then(<[char]>::split_first)
    {
        if let Some((emoji, length)) = whole_emoji(characters.get(at..).unwrap_or_default()) {
            out.extend(emoji.chars());
            at += length;
            continue;
        }
        at += 1;
        let fate = if is_unseen(c) { fate(&out, c, right) } else { Fate::Kept };
        match fate {
            Fate::Kept => out.push(c),
            Fate::LeftOut => {}
            Fate::Replaced => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    out.truncate(most);
    out
}

/// The replacement of an unseen character, by the characters before and behind it.
fn fate(left: &[char], c: char, right: &[char]) -> Fate {
    let (Some(&before), after) = (left.last(), right.first().copied()) else { return Fate::Replaced };
    match c {
        NON_JOINER | JOINER => joiner(left, c, right),
        TEXT_STYLE | EMOJI_STYLE if !is_unseen(before) => style(before, c, after),
        '\u{180b}'..='\u{180d}' | '\u{180f}' if is_mongolian_letter(before) => Fate::Kept,
        MONGOLIAN_VOWEL_SEPARATOR
            if is_mongolian_letter(before) && matches!(after, Some('\u{1820}' | '\u{1821}')) =>
        {
            Fate::Kept
        }
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' if is_base(before) => Fate::LeftOut,
        _ => Fate::Replaced,
    }
}

/// True if a character can have variants at all.
fn is_base(c: char) -> bool {
    c != char::REPLACEMENT_CHARACTER && !is_unseen(c) && !c.is_whitespace()
}

fn joiner(left: &[char], c: char, right: &[char]) -> Fate {
    if is_needed_after_virama(left, c, right) || is_needed_before_virama(left, c, right) {
        return Fate::Kept;
    }
    let (joins_forward, joins) = joining(left.iter().rev(), JoiningType::LeftJoining);
    let (joins_backward, joined) = joining(right.iter(), JoiningType::RightJoining);
    let changes = match c {
        // It parts letters that would join.
        NON_JOINER => joins_forward && joins_backward,
        // It shows the joined form of one that would not.
        _ => joins_forward != joins_backward,
    };
    match (changes, joins && joined) {
        (true, _) => Fate::Kept,
        (false, true) => Fate::LeftOut,
        (false, false) => Fate::Replaced,
    }
}

/// Whether the nearest letter joins towards the joiner, and whether it is of a joining script at
/// all.
fn joining<'a>(nearest_first: impl Iterator<Item = &'a char>, towards: JoiningType) -> (bool, bool) {
    let types = CodePointMapData::<JoiningType>::new();
    let kind = nearest_first.map(|c| types.get(*c)).find(|kind| *kind != JoiningType::Transparent);
    match kind {
        None | Some(JoiningType::NonJoining) => (false, false),
        Some(kind) => (kind == JoiningType::DualJoining || kind == towards, true),
    }
}

/// After the virama of a consonant, before a letter: which form of the two is meant. A joiner also
/// shows the half form of the last consonant.
fn is_needed_after_virama(left: &[char], c: char, right: &[char]) -> bool {
    let mut before = left.iter().rev().copied().skip_while(|c| is_mark(*c) && !is_virama(*c));
    if !before.next().is_some_and(is_virama) {
        return false;
    }
    let base = before.find(|c| !is_mark(*c));
    let after = right.iter().copied().find(|c| !is_mark(*c) || is_dependent_vowel(*c));
    let before_letter = after.is_some_and(is_indic_letter);
    let before_vowel = after.is_some_and(is_dependent_vowel);
    base.is_some_and(is_indic_letter) && if c == JOINER { !before_vowel } else { before_letter }
}

/// Bengali and Kannada write ra, joiner, virama for a ra that keeps its shape.
fn is_needed_before_virama(left: &[char], c: char, right: &[char]) -> bool {
    let ra = matches!(left.last(), Some('\u{9b0}' | '\u{cb0}'));
    let virama = right.first().copied().is_some_and(is_virama);
    c == JOINER && ra && virama && right.get(1).copied().is_some_and(is_indic_letter)
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn is_mark(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(
        category,
        GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark | GeneralCategory::EnclosingMark
    )
}

fn is_dependent_vowel(c: char) -> bool {
    CodePointMapData::<IndicSyllabicCategory>::new().get(c) == IndicSyllabicCategory::VowelDependent
}

fn is_indic_letter(c: char) -> bool {
    let category = CodePointMapData::<IndicSyllabicCategory>::new().get(c);
    c.is_alphabetic() && category != IndicSyllabicCategory::Other
}

fn is_mongolian_letter(c: char) -> bool {
    c.is_alphabetic() && CodePointMapData::<Script>::new().get(c) == Script::Mongolian
}

/// A selector of presentation: kept where it changes it.
fn style(before: char, c: char, after: Option<char>) -> Fate {
    let is = |set: bool, kept: Fate| if set { kept } else { Fate::LeftOut };
    if before.is_ascii() {
        // A digit on a key.
        let on_a_key = c == EMOJI_STYLE && after == Some(KEYCAP);
        return is(on_a_key && (before.is_ascii_digit() || matches!(before, '#' | '*')), Fate::Kept);
    }
    if !is_base(before) {
        return Fate::Replaced;
    }
    let emoji = CodePointSetData::new::<Emoji>().contains(before);
    let by_default = CodePointSetData::new::<EmojiPresentation>().contains(before);
    if c == EMOJI_STYLE {
        // A tint of an emoji chooses its presentation as well.
        let tinted = after.is_some_and(is_modifier);
        is(emoji && !by_default && !tinted, Fate::Kept)
    } else {
        // Those of the first emoji have a text style, and they are in the basic plane.
        is(emoji && by_default && before <= '\u{ffff}', Fate::Kept)
    }
}

fn is_modifier(c: char) -> bool {
    CodePointSetData::new::<EmojiModifier>().contains(c)
}

fn is_pictographic(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

/// An emoji of several characters with unseen ones among them, at the beginning: its fully
/// qualified form, and how many characters it takes.
fn whole_emoji(characters: &[char]) -> Option<(&'static str, usize)> {
    let mut length = element(characters)?;
    let first = length;
    while characters.get(length) == Some(&JOINER)
        && let Some(next) = characters.get(length + 1..).and_then(element)
    {
        length += 1 + next;
    }
    if length == first && !characters.get(..length)?.contains(&LAST_TAG) {
        return None;
    }
    let text: String = characters.get(..length)?.iter().collect();
    emojis::get(&text).map(|emoji| (emoji.as_str(), length))
}

/// How many characters one pictograph takes, with its tint, style or tags.
fn element(characters: &[char]) -> Option<usize> {
    let (first, rest) = characters.split_first()?;
    if !is_pictographic(*first) {
        return None;
    }
    if *first == BLACK_FLAG
        && let Some(end) = rest.iter().position(|c| *c == LAST_TAG)
        && rest.iter().take(end).all(|c| ('\u{e0020}'..='\u{e007e}').contains(c))
    {
        return Some(end + 2);
    }
    let more = rest.iter().take(2).take_while(|c| **c == EMOJI_STYLE || is_modifier(**c)).count();
    Some(1 + more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        fit(text, 100).into_owned()
    }

    #[test]
    fn what_scripts_and_emoji_need_survives() {
        for text in [
            "می\u{200c}خواهم",
            "کتاب\u{200c}ها",
            "شده\u{200c}اند",
            "ه\u{200d}.ش",
            "क\u{94d}\u{200d}ष",
            "क\u{94d}\u{200c}ष",
            "र\u{94d}\u{200d}य",
            "हिन्दी",
            "ශ\u{dca}\u{200d}ර\u{dd3}",
            "র\u{200d}\u{9cd}যাব",
            "ರ\u{200d}\u{ccd}ಕ",
            "ന\u{d4d}\u{200d}",
            "👩\u{200d}💻",
            "👩🏽\u{200d}🚀",
            "👨\u{200d}👩\u{200d}👧\u{200d}👦",
            "❤\u{fe0f}\u{200d}🔥",
            "🏳\u{fe0f}\u{200d}🌈",
            "👁\u{fe0f}\u{200d}🗨\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "1\u{fe0f}\u{20e3}",
            "☎\u{fe0f}",
            "⌚\u{fe0e}",
            "🇸🇪",
            "👩🏽",
            "ᠮᠣᠩᠭᠣᠯ",
            "ᠠ\u{180b}",
            "ᠨ\u{180e}ᠠ",
            "עברית",
            "한국어",
            "a\u{a0}b\u{202f}c\u{2010}",
        ] {
            assert_eq!(shown(text), text, "{}", text.escape_unicode());
        }
    }

    #[test]
    fn what_is_not_seen_is_shown_as_such() {
        for unseen in [
            "\u{0}",
            "\n",
            "\u{85}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}",
            "\u{1160}",
            "\u{17b4}",
            "\u{180e}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{200e}",
            "\u{2028}",
            "\u{202e}",
            "\u{2060}",
            "\u{2063}",
            "\u{2065}",
            "\u{2069}",
            "\u{206a}",
            "\u{3164}",
            "\u{feff}",
            "\u{ffa0}",
            "\u{fff0}",
            "\u{fff9}",
            "\u{1bca0}",
            "\u{1d173}",
            "\u{e0001}",
            "\u{e0041}",
            "\u{e0fff}",
        ] {
            assert_eq!(shown(&format!("a{unseen}b")), "a\u{fffd}b", "{}", unseen.escape_unicode());
        }
        for (text, expected) in [
            ("\u{fe0f}a", "\u{fffd}a"),
            ("\u{200d}", "\u{fffd}"),
            ("🍕\u{200d}🚗", "🍕\u{fffd}🚗"),
            ("👩\u{200d}", "👩\u{fffd}"),
            ("☎\u{fe0f}\u{fe0f}", "☎\u{fe0f}\u{fffd}"),
            ("🏴\u{e0078}\u{e007f}", "🏴\u{fffd}\u{fffd}"),
            ("क\u{94d}\u{200c}", "क\u{94d}\u{fffd}"),
            ("क\u{200d}ख", "क\u{fffd}ख"),
            ("ا\u{200d}b", "ا\u{fffd}b"),
        ] {
            assert_eq!(shown(text), expected, "{}", text.escape_unicode());
        }
    }

    #[test]
    fn what_changes_nothing_that_is_seen_is_left_out() {
        for (text, same) in [
            ("کار\u{200c}ها", "کارها"),
            ("بب\u{200d}ب", "ببب"),
            ("a\u{fe0f}", "a"),
            ("1\u{fe0f}", "1"),
            ("⌚\u{fe0f}", "⌚"),
            ("☎\u{fe0e}", "☎"),
            ("葛\u{e0100}", "葛"),
            ("☝\u{fe0f}🏽", "☝🏽"),
            ("❤\u{200d}🔥", "❤\u{fe0f}\u{200d}🔥"),
        ] {
            assert_eq!(shown(text), shown(same), "{}", text.escape_unicode());
            assert_eq!(shown(same), same);
        }
    }

    #[test]
    fn a_cut_leaves_nothing_unseen_behind() {
        let text = format!("{}👩\u{200d}💻", "a".repeat(98));
        assert_eq!(shown(&text), format!("{}👩\u{fffd}", "a".repeat(98)));
        assert_eq!(fit("abc", 2), "ab");
        assert_eq!(fit("a\nb", 2), "a\u{fffd}");
        let selected = "a\u{fe0f}".repeat(150);
        assert_eq!(shown(&selected), "a".repeat(100));
    }

    #[test]
    fn nothing_unseen_is_left_between_plain_letters() {
        for c in ('\0'..=char::MAX).filter(|c| is_unseen(*c)) {
            let label = shown(&format!("a{c}b"));
            assert!(label == "ab" || label == "a\u{fffd}b", "{}", label.escape_unicode());
        }
    }

    /// Characters of scripts that need no unseen character, and emoji that never combine.
    fn plain() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9#*_. éЖщΩ日本葛한국עבא-ي☎⌚☀🍕🚗]{0,40}"
    }

    /// Unseen characters that are likely to matter, since most of the list is unassigned.
    fn likely() -> impl Strategy<Value = char> {
        proptest::sample::select(
            "\u{ad}\u{34f}\u{61c}\u{115f}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{202e}\u{2060}\u{2066}\u{3164}\u{fe00}\u{fe0e}\u{fe0f}\u{feff}\u{ffa0}\u{e0020}\u{e007f}\u{e0100}\u{0}\n"
                .chars()
                .collect::<Vec<_>>(),
        )
    }

    proptest! {
        #[test]
        fn names_that_differ_in_what_is_not_seen_become_one_or_show_it(
            text in plain(),
            places in prop::collection::vec((any::<prop::sample::Index>(), likely()), 1..4),
        ) {
            let mut hidden: Vec<char> = text.chars().collect();
            for (place, c) in places {
                hidden.insert(place.index(hidden.len() + 1), c);
            }
            let hidden: String = hidden.into_iter().collect();
            let (one, other) = (shown(&text), shown(&hidden));
            // A sign that is kept changes the look: the form of Arabic letters, the style of
            // these two.
            let changed = other.contains([NON_JOINER, JOINER, TEXT_STYLE, EMOJI_STYLE]);
            prop_assert!(one == other || other.contains(char::REPLACEMENT_CHARACTER) || changed,
                "{} {}", one.escape_unicode(), other.escape_unicode());
            let needs_them = |c: char| "☎⌚☀#*0123456789".contains(c) || ('\u{600}'..'\u{700}').contains(&c);
            prop_assert!(!changed || text.chars().any(needs_them));
        }

        #[test]
        fn what_comes_out_stays(text in any::<String>(), more in prop::collection::vec(likely(), 0..20), most in 0_usize..30) {
            let mut mixed: Vec<char> = text.chars().collect();
            for (place, c) in more.into_iter().enumerate() {
                mixed.insert((place * 7) % (mixed.len() + 1), c);
            }
            let mixed: String = mixed.into_iter().collect();
            let once = fit(&mixed, most);
            prop_assert!(once.chars().count() <= most);
            prop_assert_eq!(&fit(&once, most), &once);
        }

        #[test]
        fn emoji_in_any_order_stay_once_shown(text in "[👩❤🔥🏴💻🏽1☎\u{200d}\u{fe0f}\u{fe0e}\u{20e3}\u{e0067}\u{e007f}बक\u{94d}\u{93f}\u{200c}یهار]{0,30}") {
            let once = shown(&text);
            prop_assert_eq!(shown(&once), once);
        }
    }
}
