//! A room uses only rooms that `lib.rs` lists before it.

use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The room that a file below `src` belongs to.
fn room(src: &Path, file: &Path) -> String {
    let first = file.strip_prefix(src).expect("found below it").iter().next();
    let first = first.expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn arrows_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(src.join("lib.rs")).expect("lib.rs is there");
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let floors: Vec<&str> = names.collect();
    assert!(10 < floors.len(), "the list was not found");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.file_name().is_none_or(|name| name != "tests.rs")) {
        let Some(own) = floors.iter().position(|name| *name == room(&src, file)) else { continue };
        let text = std::fs::read_to_string(file).expect("a source can be read");
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or("");
        for used in text.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if floors.iter().position(|floor| *floor == name).is_some_and(|floor| own < floor) {
                wrong.push(format!("{} uses {name}", file.strip_prefix(&src).unwrap_or(file).display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
