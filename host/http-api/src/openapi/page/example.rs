//! The examples: the same program in three languages, of which the page shows one.

use maud::{Markup, html};

/// What stands in the examples for the address of the deployment.
const PLACEHOLDER: &str = "https://pay.example";

/// A language: its word in the page, its name, and how its files end.
const LANGUAGES: [(&str, &str, &str); 3] =
    [("python", "Python", "py"), ("javascript", "JavaScript", "mjs"), ("curl", "curl", "sh")];

/// A program in every language, in the order of [`LANGUAGES`].
pub(super) struct Example {
    name: &'static str,
    programs: [&'static str; 3],
}

macro_rules! example {
    ($name:literal) => {
        Example {
            name: $name,
            programs: [
                include_str!(concat!("../examples/", $name, ".py")),
                include_str!(concat!("../examples/", $name, ".mjs")),
                include_str!(concat!("../examples/", $name, ".sh")),
            ],
        }
    };
}

/// The client that the other examples use.
pub(super) const SIGNING: Example = example!("xthonpay");
/// An invoice.
pub(super) const CREATE_INVOICE: Example = example!("create_invoice");
/// A receiver of webhooks.
pub(super) const WEBHOOK: Example = example!("webhook");
/// The feed.
pub(super) const EVENTS: Example = example!("events");

/// The switches between the languages. They stand at the top, where the style can see them; their labels are at each example.
pub(super) fn languages() -> Markup {
    html! {
        @for (word, name, _) in LANGUAGES {
            input.language type="radio" name="language" id={ "language-" (word) } aria-label=(name) checked[word == "python"];
        }
    }
}

impl Example {
    /// The programs, calling the deployment at `base`.
    pub(super) fn render(&self, base: &str) -> Markup {
        html! {
            div.example {
                div.tabs {
                    @for (word, name, ending) in LANGUAGES {
                        label class=(word) for={ "language-" (word) } { (name) }
                        span.file.(word) { (self.name) "." (ending) }
                    }
                }
                @for ((word, _, ending), program) in LANGUAGES.into_iter().zip(self.programs) {
                    pre class=(word) data-file={ (self.name) "." (ending) } { code { (program.replace(PLACEHOLDER, base)) } }
                }
            }
        }
    }
}
