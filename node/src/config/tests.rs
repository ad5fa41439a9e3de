use super::*;

fn read(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let flags: Vec<_> = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    Config::of(&Layers::new(Some(file), &environment, &flags)?)
}

fn origin(config: &Config, key: &str) -> Origin {
    config.entries().iter().find(|entry| entry.key == key).unwrap().origin
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let file = "capacity = \"1GiB\"\nprice = \"1 FIL/GiB\"\nmax_price = \"2 FIL/GiB\"\n";
    let environment = [("POP_PRICE", "3 FIL/GiB"), ("POP_MAX_PRICE", "4 FIL/GiB"), ("POP_REPO", "/x")];
    let config = read(file, &environment, &[("max_price", "5 FIL/GiB")]).unwrap();
    assert_eq!(config.capacity, Bytes::GIB);
    assert_eq!(config.price, "3 FIL/GiB".parse().unwrap());
    assert_eq!(config.max_price, "5 FIL/GiB".parse().unwrap());
    assert_eq!(origin(&config, "capacity"), Origin::File);
    assert_eq!(origin(&config, "price"), Origin::Environment);
    assert_eq!(origin(&config, "max_price"), Origin::Flag);
    assert_eq!(origin(&config, "chain"), Origin::Default);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = Config::default();
    assert_eq!(config.listen.len(), 3);
    assert_eq!(config.capacity, Bytes::new(10 << 30));
    assert!(config.price.is_free());
    assert_eq!(config.chain, ChainChoice::Local);
    assert_eq!(config.regions, ["Global"]);
    assert_eq!(config.max_spend_per_day, None);
    assert_eq!((config.eviction, config.low_watermark.get()), (pop_evict::Choice::Aged, 95));
}

#[test]
fn eviction_and_its_watermark_are_read_from_every_layer() {
    let config =
        read("eviction = \"s3-fifo\"\nlow_watermark = 90", &[("POP_EVICTION", "sieve")], &[]).unwrap();
    assert_eq!((config.eviction, config.low_watermark.get()), (pop_evict::Choice::Sieve, 90));
    let config = read("", &[], &[("low_watermark", "98%")]).unwrap();
    assert_eq!(config.low_watermark.to_string(), "98%");
    for (key, value) in [
        ("eviction", "random"),
        ("low_watermark", "49%"),
        ("low_watermark", "101"),
        ("low_watermark", "half"),
    ] {
        let error = read("", &[], &[(key, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key} (flag): {value:?}")), "{error}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_nearest_right_one() {
    let error = read("capasity = \"1GiB\"", &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "unknown key \"capasity\" in config.toml; did you mean \"capacity\"?");
    let error = read("[chain_token]\nx = 1", &[], &[]).unwrap_err().to_string();
    assert!(error.contains("\"chain_token\"") && error.contains("chain_token_file"), "{error}");
    let error = read("zzz = 1", &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "unknown key \"zzz\" in config.toml");
}

#[test]
fn bad_values_name_key_and_layer() {
    let error = read("capacity = \"much\"", &[], &[]).unwrap_err().to_string();
    assert!(error.starts_with("capacity (file): \"much\" is no size"), "{error}");
    let error = read("", &[("POP_LOG_LEVEL", "loud")], &[]).unwrap_err().to_string();
    assert_eq!(error, "log_level (environment): \"loud\" is none of error, warn, info, debug, trace");
    assert!(matches!(read("a = = b", &[], &[]), Err(ConfigError::Syntax(_))));
    assert!(read("capacity = true", &[], &[]).is_err());
    assert!(read("up_limit = 0", &[], &[]).is_err());
}

#[test]
fn lists_take_commas_spaces_and_arrays_and_drop_repetitions() {
    let config = read("regions = [\"Asia\", \"Europe\"]", &[], &[]).unwrap();
    assert_eq!(config.regions, ["Asia", "Europe"]);
    let config = read("", &[], &[("regions", "Asia, Europe,,Asia\nmine")]).unwrap();
    assert_eq!(config.regions, ["Asia", "Europe", "mine"]);
    assert_eq!(read("", &[("POP_REGIONS", "")], &[]).unwrap().regions, Vec::<String>::new());
}

#[test]
fn numbers_are_as_good_as_text() {
    let config = read("capacity = 4096\nup_limit = 1024", &[("POP_DOWN_LIMIT", "2MiB/s")], &[]).unwrap();
    assert_eq!(config.capacity, Bytes::new(4096));
    assert_eq!(config.up_limit, Some(Rate(Bytes::KIB)));
    assert_eq!(config.down_limit, Some(Rate(Bytes::new(2 << 20))));
}

#[test]
fn every_value_reads_back_as_it_is_shown() {
    let config = read("capacity = \"1000MB\"\nmax_spend_per_day = \"0.5 FIL\"", &[], &[]).unwrap();
    let flags: Vec<_> = config.entries().into_iter().map(|entry| (entry.key, entry.value)).collect();
    let again = Config::of(&Layers::new(None, &[], &flags).unwrap()).unwrap();
    assert_eq!(again.capacity, config.capacity);
    assert_eq!(again.listen, config.listen);
    assert_eq!(again.max_spend_per_day, config.max_spend_per_day);
}

#[test]
fn the_written_file_is_all_comments_but_what_was_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    write_default_commented(&path, &[("capacity", "1GiB".to_owned())]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let chosen: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(chosen, ["capacity = \"1GiB\""]);
    assert!(text.contains("# regions = [\"Global\"]"));
    let uncommented: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")))
        .fold(String::new(), |all, line| match line.split_once(' ') {
            Some((key, _)) if ROWS.iter().any(|row| row.key == key) => all + line + "\n",
            _ => all,
        });
    let config = read(&uncommented, &[], &[]).unwrap();
    assert_eq!(config.listen, Config::default().listen);
}

#[test]
fn setting_a_key_keeps_comments_and_refuses_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, "# mine\ncapacity = \"1GiB\" # small\n").unwrap();
    set(&path, "capacity", "2GiB").unwrap();
    set(&path, "log-level", "debug").unwrap();
    set(&path, "regions", "Asia,Europe").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let want =
        "# mine\ncapacity = \"2GiB\" # small\nlog_level = \"debug\"\nregions = [\"Asia\", \"Europe\"]\n";
    assert_eq!(text, want);
    assert!(set(&path, "capacity", "none").is_err());
    assert!(set(&path, "colour", "red").is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

fn contradiction(flags: &[(&str, &str)]) -> Option<String> {
    read("", &[], flags).unwrap().check().err().map(|error| error.to_string())
}

#[test]
fn settings_that_contradict_each_other_are_told_by_both_names() {
    let gateway = ("gateway_listen", "127.0.0.1:0");
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tables: [(&[(&str, &str)], &str); 15] = [
        (&[("upload_token_file", here)], "upload_token_file is given and gateway_listen is not"),
        (&[("gateway_fetch", "free")], "gateway_fetch is given and gateway_listen is not"),
        (&[("domains", "pop.example")], "domains is given and gateway_listen is not"),
        (
            &[gateway, ("gateway_fetch", "free"), ("gateway_fetch_for", "")],
            "gateway_fetch is given and gateway_fetch_for is not",
        ),
        (&[gateway, ("gateway_fetch", "paid")], "gateway_fetch paid is given and max_spend_per_day is not"),
        (&[gateway, ("tls_cert_file", here)], "tls_cert_file is given and tls_key_file is not"),
        (
            &[gateway, ("tls_listen", "127.0.0.1:0")],
            "tls_listen is given and domains or tls_cert_file is not",
        ),
        (
            &[gateway, ("https_redirect", "443")],
            "https_redirect is given and domains or tls_cert_file is not",
        ),
        (
            &[gateway, ("domains", "pop.example"), ("tls_cert_file", here), ("tls_key_file", here)],
            "domains and tls_cert_file exclude each other",
        ),
        (
            &[("gateway_listen", "127.0.0.1:8080"), ("admin_listen", "127.0.0.1:8080")],
            "gateway_listen and admin_listen exclude each other",
        ),
        (&[("rpc_browser_listen", "127.0.0.1:0")], "rpc_browser_listen is given and rpc_origins is not"),
        (
            &[("rpc_browser_listen", "127.0.0.1:0"), ("rpc_origins", "https://a.example/path")],
            "rpc_origins: \"https://a.example/path\" is no origin; write it like https://console.example.org",
        ),
        (
            &[("gateway_hosts", "http://pop.example")],
            "gateway_hosts: \"http://pop.example\" is no host name; write it without scheme and port",
        ),
        (
            &[gateway, ("domains", "*.a.example")],
            "domains: \"*.a.example\": wildcards need a proof by DNS; use certificate files (tls_cert_file, tls_key_file)",
        ),
        (&[gateway, ("gateway_deny_file", "/nowhere/list")], "gateway_deny_file: /nowhere/list"),
    ];
    for (flags, want) in tables {
        assert_eq!(contradiction(flags).as_deref(), Some(want));
    }
}

#[test]
fn settings_of_a_gateway_that_go_together_pass() {
    assert_eq!(contradiction(&[]), None);
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let flags = [
        ("gateway_listen", "0.0.0.0:8080"),
        ("gateway_fetch", "paid"),
        ("max_spend_per_day", "1 FIL"),
        ("gateway_fetch_for", "10.0.0.0/8 ::1"),
        ("upload_token_file", here),
        ("upload_quota", "5GiB"),
        ("domains", "pop.example, www.pop.example"),
        ("acme_roots_file", here),
        ("rpc_browser_listen", "[::1]:0"),
        ("rpc_origins", "https://console.example:8443 http://localhost:3000"),
    ];
    assert_eq!(contradiction(&flags), None);
    let config = read("", &[], &flags).unwrap();
    assert_eq!(config.gateway_fetch_for[1].0, "::1/128".parse().unwrap());
    assert_eq!(config.upload_quota, Some(Bytes::new(5 << 30)));
}
