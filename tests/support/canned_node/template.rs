//! JSON text with the block's hash and number left open.

/// Stands for the hash of the block.
pub(super) const HASH: &str = "@hash@";
/// Stands for the number of the block.
pub(super) const NUMBER: &str = "@number@";

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Hash,
    Number,
}

/// A text that is the same in every block but for the block's hash and number.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// A template of a text with [`HASH`] and [`NUMBER`] in it.
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        for (position, around) in text.split(HASH).enumerate() {
            if position > 0 {
                pieces.push(Piece::Hash);
            }
            for (position, around) in around.split(NUMBER).enumerate() {
                if position > 0 {
                    pieces.push(Piece::Number);
                }
                pieces.push(Piece::Text(around.to_owned()));
            }
        }
        Self(pieces)
    }

    /// Appends the text of one block.
    pub(super) fn render(&self, hash: &str, number: &str, text: &mut String) {
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(piece) => piece,
                Piece::Hash => hash,
                Piece::Number => number,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_place() {
        let template = Template::new(&format!("a{HASH}b{NUMBER}c{HASH}{NUMBER}"));
        let mut text = String::from("<");
        template.render("H", "N", &mut text);
        assert_eq!(text, "<aHbNcHN");
    }
}
