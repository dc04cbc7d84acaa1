//! What the fuzzers once found, or were given to begin with, stays dealt with.

use std::path::Path;

use recado::fuzz::TARGETS;

#[test]
fn every_kept_input_is_dealt_with() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let folders = std::fs::read_dir(&corpus).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a folder for each target");
    for (target, run) in TARGETS {
        let files: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() >= 10, "{target} has next to nothing to repeat");
        for file in files {
            eprintln!("{}", file.display());
            run(&std::fs::read(&file).unwrap());
        }
    }
}
