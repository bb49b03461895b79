//! What the documentation says is what the program does: the guide's files and commands, in order, print what stands there; the lists of
//! recipes and filters are whole.

use std::path::{Path, PathBuf};

use crate::support::process::{campanile, run};

fn read(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fenced block: what stands after its fence (`yaml campaigns/cart.yaml`, `console`), and its text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(head)) => Some((head.to_owned(), String::new())),
            (Some(block), Some("")) => {
                blocks.push(block);
                None
            }
            (Some((head, body)), _) => Some((head, body + line + "\n")),
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "a block without an end: {open:?}");
    blocks
}

/// Runs the commands of a block, and gives it as it should be printed.
fn console(directory: &Path, block: &str) -> String {
    let mut printed = String::new();
    for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("campanile"), "{command}");
        let ran = run(campanile(directory, &words.collect::<Vec<_>>()));
        printed += &format!("$ {command}\n{}{}", ran.stdout, ran.stderr);
    }
    printed
}

#[test]
fn the_guide_prints_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut commands = 0;
    for (head, body) in blocks(&read("guide.md")) {
        match head.split_once(' ') {
            Some((_, file)) => {
                let path = directory.path().join(file);
                std::fs::create_dir_all(path.parent().expect("below the directory")).expect("a directory");
                std::fs::write(path, body).expect("the disk has room");
            }
            None if head == "console" => {
                assert_eq!(console(directory.path(), &body), body);
                commands += 1;
            }
            None => {}
        }
    }
    assert!(commands > 5, "only {commands} blocks of commands");
}

#[test]
fn every_recipe_is_in_the_list() {
    let list = read("recipes/README.md");
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/recipes");
    let files: Vec<String> = std::fs::read_dir(directory)
        .expect("recipes")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    for file in files.iter().filter(|file| file.ends_with(".yaml")) {
        assert!(list.contains(&format!("({file})")), "{file} is not in docs/recipes/README.md");
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    for file in ["control.md", "guide.md", "reference.md", "scenarios.md", "templates.md", "recipes/README.md"] {
        let text = read(file);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.starts_with(['#', 'h'])) {
            let path = docs.join(file).parent().expect("a directory").join(target);
            assert!(path.exists(), "docs/{file}: {target}");
        }
    }
}
