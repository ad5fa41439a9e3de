//! The command line as scripts and people see it, kept in `testdata/cli`; `POP_BLESS=1` writes the files anew.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is the assertion")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/cli");
const ROOT: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

/// Runs the real program, with an environment that says nothing.
fn pop(repo: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pop"))
        .env_clear()
        .env("HOME", repo)
        .env("POP_REPO", repo)
        .args(args)
        .output()
        .unwrap()
}

/// One command as it would look in a terminal, the exit code included.
fn transcript(repo: &Path, args: &[&str]) -> String {
    let output = pop(repo, args);
    let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&repo.display().to_string(), "REPO");
    let mut text = clean(format!("$ pop {}\n", args.join(" ")).as_bytes());
    for (name, stream) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        for line in clean(stream).lines() {
            writeln!(text, "{name}| {line}").unwrap();
        }
    }
    writeln!(text, "exit {}\n", output.status.code().unwrap()).unwrap();
    text
}

fn compare(name: &str, text: &str) {
    let path = Path::new(TESTDATA).join(name);
    if std::env::var_os("POP_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{name} changed; look at it, then bless it with POP_BLESS=1\n{text}");
}

#[test]
fn help_is_the_golden_one() {
    let repo = tempfile::tempdir().unwrap();
    let commands = [
        "",
        "init",
        "start",
        "off",
        "ping",
        "put",
        "status",
        "commit",
        "dispatch",
        "import",
        "export",
        "get",
        "list",
        "pin",
        "unpin",
        "rm",
        "gc",
        "store",
        "peers",
        "wallet",
        "wallet new",
        "wallet list",
        "wallet default",
        "wallet balance",
        "wallet import",
        "wallet export",
        "wallet pay",
        "pay",
        "pay list",
        "pay track",
        "pay submit",
        "pay settle",
        "pay collect",
        "pay earnings",
        "chain",
        "chain status",
        "chain advance",
        "config",
        "config show",
        "config check",
        "config set",
        "demo",
        "completions",
        "version",
    ];
    let text: String = commands
        .iter()
        .map(|command| {
            let args: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
            let output = pop(repo.path(), &args);
            assert!(output.status.success(), "{command}");
            format!("$ pop {}\n{}\n", args.join(" "), String::from_utf8(output.stdout).unwrap())
        })
        .collect();
    compare("help.txt", &text);
}

#[test]
fn mistakes_are_told_as_the_golden_file_says() {
    let repo = tempfile::tempdir().unwrap();
    let broken = repo.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("config.toml"), "capasity = \"1GiB\"\n").unwrap();
    let broken = broken.to_str().unwrap();
    // A daemon that was killed leaves the address of its socket behind.
    let killed = repo.path().join("killed");
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join("api"), format!("unix:{}/api.sock", killed.display())).unwrap();
    let killed = killed.to_str().unwrap();
    let cases: &[&[&str]] = &[
        &[],
        &["comit"],
        &["--json", "comit"],
        &["get", ROOT, "--max-prise", "1 FIL/GiB"],
        &["--json", "get", ROOT, "--max-prise", "1 FIL/GiB"],
        &["get", "hello"],
        &["--json", "get", "hello"],
        &["pin", "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/a"],
        &["get", ROOT, "--max-price", "cheap"],
        &["put"],
        &["export", ROOT, "--car-version", "3"],
        &["status"],
        &["--json", "status"],
        &["--repo", killed, "list"],
        &["--json", "export", ROOT, "-o", "-"],
        &["--repo", broken, "config", "check"],
        &["--json", "--repo", broken, "config", "check"],
        &["--repo", broken, "start"],
        &["--repo", "/nowhere", "config", "set", "capacity", "1GiB"],
        &["config", "set", "colour", "red"],
        &["config", "set", "capacity", "much"],
        &["start", "--capacity", "much"],
        &["demo", "/nowhere/at/all"],
        &["start", "--temp-repo", "--repo", "/nowhere"],
        &["start", "--eviction", "random"],
        &["start", "--low-watermark", "20%"],
    ];
    let text: String = cases.iter().map(|args| transcript(repo.path(), args)).collect();
    compare("errors.txt", &text);
}

#[test]
fn json_puts_exactly_one_document_on_stdout() {
    let repo = tempfile::tempdir().unwrap();
    for args in [
        &["--json", "version"][..],
        &["--json", "list"],
        &["--json", "nonsense"],
        &["--json", "config", "show"],
        &["--json", "completions", "bash"],
    ] {
        let output = pop(repo.path(), args);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), document.get("error").is_none(), "{args:?}");
    }
}

#[test]
fn settings_are_set_and_shown_without_a_daemon() {
    let repo = tempfile::tempdir().unwrap();
    assert!(pop(repo.path(), &["config", "set", "capacity", "1GiB"]).status.success());
    let shown = pop(repo.path(), &["--json", "config", "show", "--origin"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["capacity"], serde_json::json!({ "value": "1GiB", "origin": "file" }));
    assert_eq!(shown["price"]["origin"], "default");
    let shown = pop(repo.path(), &["--json", "config", "show"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["regions"], serde_json::json!(["Global"]));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let repo = tempfile::tempdir().unwrap();
    let script = format!("'{}' completions bash | head -n 1", env!("CARGO_BIN_EXE_pop"));
    let output =
        Command::new("bash").args(["-o", "pipefail", "-c", &script]).env("POP_REPO", repo.path()).output();
    assert!(output.unwrap().status.success());
}
