//! The tutorials for plugin authors, followed to the letter: the commands of each, in a new folder, with the binary alone.

use std::path::Path;
use std::time::Duration;

use xthonpay_tests::BoxError;
use xthonpay_tests::host::run_within;
use xthonpay_tests::places::{Places, checkout};

use crate::world::Done;

/// Compilers fetch their tools and, for Rust, build a standard library along, all on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(600);

/// The commands of a tutorial, in their order: all blocks that are marked `sh`.
fn commands(tutorial: &str) -> String {
    let blocks = tutorial.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.map(|block| format!("{block}\n")).collect()
}

async fn follow(language: &str) -> Done {
    let text = std::fs::read_to_string(checkout().join(format!("sdk/tutorials/{language}.md")))?;
    let commands = commands(&text);
    if !["new", "build", "check", "test", "run", "bench", "package"]
        .iter()
        .all(|command| commands.contains(&format!("xthonpay plugin {command}")))
    {
        return Err(format!("{language}: a command is missing in the tutorial").into());
    }
    let (folder, binary) = (tempfile::tempdir()?, Places::find()?.binary);
    let home = binary.parent().ok_or("a binary in no folder")?.display();
    let script = format!("set -euo pipefail\nexport PATH={home}:$PATH\ncd {}\n{commands}", folder.path().display());
    let output = run_within(TIME_MAX, Path::new("/bin/bash"), &["-c", &script]).await?;
    let [said, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if !output.status.success() {
        return Err(format!("{language}: {}\n{said}\n{told}", output.status).into());
    }
    let packed = folder.path().join("friendly/dist/friendly-0.1.0.tar.gz");
    if packed.is_file() { Ok(()) } else { Err(BoxError::from(format!("{language}: no package\n{said}\n{told}"))) }
}

#[tokio::test]
async fn the_tutorial_in_rust_works_as_it_stands() -> Done {
    follow("rust").await
}

#[tokio::test]
async fn the_tutorial_in_javascript_works_as_it_stands() -> Done {
    follow("javascript").await
}

#[tokio::test]
async fn the_tutorial_in_python_works_as_it_stands() -> Done {
    follow("python").await
}
