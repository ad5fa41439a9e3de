//! What can be shown without an authority, and at the end the whole with a real one.

use std::collections::HashMap;

use rustls::sign::CertifiedKey;
use x509_parser::prelude::FromDer;

use super::super::config::{self, Configs};
use super::super::tests::{NAME, greet, made, trusting};
use super::super::{Acceptor, Keeper};
use super::*;
use crate::settings::Certificates;

fn settings(cache: &Path, domains: &[&str]) -> Certificates {
    Certificates::Acme {
        domains: domains.iter().map(|&name| name.to_owned()).collect(),
        // Nobody listens there.
        directory: "https://127.0.0.1:1/directory".to_owned(),
        contact: None,
        roots: None,
        cache: cache.to_owned(),
    }
}

fn refused(domains: &[&str]) -> String {
    let domains: Vec<String> = domains.iter().map(|&name| name.to_owned()).collect();
    names(&domains).unwrap_err().to_string()
}

#[test]
fn names_are_those_that_an_authority_can_prove() {
    let given = ["Gateway.Example", "www.gateway.example.", "gateway.example"].map(str::to_owned);
    assert_eq!(names(&given).unwrap(), ["gateway.example", "www.gateway.example"]);
    assert!(refused(&[]).contains("names"));
    assert!(refused(&["*.gateway.example"]).contains("DNS"));
    for wrong in ["", ".", "127.0.0.1", "::1", "a b", "a..b", "gateway.example:443", "ünder.example"] {
        assert!(refused(&[wrong]).contains("not a DNS name"), "{wrong:?}");
    }
    let many: Vec<String> = (0..=MOST_NAMES).map(|n| format!("n{n}.example")).collect();
    assert!(names(&many).is_err());
}

#[test]
fn roots_that_cannot_be_used_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let start = || {
        let mut settings = settings(folder.path(), &[NAME]);
        if let Certificates::Acme { roots, .. } = &mut settings {
            *roots = Some(file.clone());
        }
        Acceptor::new(&settings)
    };
    assert!(told(&start().err().unwrap()).contains("roots.pem"));
    std::fs::write(&file, "nothing").unwrap();
    assert!(told(&start().err().unwrap()).contains("no certificate"));
    std::fs::write(&file, made(|_| {}).chain).unwrap();
    assert!(start().is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_certificate_handshakes_are_refused_and_orders_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (acceptor, keeper) = Acceptor::new(&settings(folder.path(), &[NAME])).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(keeper.run(stop.clone()));
    // Hours of failures.
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!(!task.is_finished());
    let (client, server) = greet(&acceptor, trusting(&made(|_| {}).chain)).await;
    let said = client.unwrap_err().to_string();
    assert!(said.contains("alert"), "the client is told and not just left: {said}");
    assert!(server.is_err());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn kept_certificate_is_used_at_once_and_only_for_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let kept = made(|_| {});
    let cache = Cache::open(folder.path(), "https://127.0.0.1:1/directory").unwrap();
    cache.keep_certificate(&format!("{}{}", kept.key, kept.chain)).unwrap();
    let (acceptor, keeper) = Acceptor::new(&settings(folder.path(), &[NAME])).unwrap();
    let (client, server) = greet(&acceptor, trusting(&kept.chain)).await;
    assert!(client.is_ok() && server.unwrap().is_some());
    let Keeper::Acme(renewal) = keeper else { panic!("an authority is asked") };
    let due = schedule::due(renewal.validity(), SystemTime::now());
    assert!(due > SystemTime::now(), "it is not ordered again");

    let (acceptor, _) = Acceptor::new(&settings(folder.path(), &[NAME, "other.example"])).unwrap();
    let (client, server) = greet(&acceptor, trusting(&kept.chain)).await;
    assert!(client.is_err() && server.is_err(), "it is not for all names");

    cache.keep_certificate("half a certif").unwrap();
    assert!(Acceptor::new(&settings(folder.path(), &[NAME])).is_ok(), "what is broken is ordered again");
}

#[tokio::test]
async fn authority_gets_the_answer_to_its_challenge_and_nothing_else() {
    let provider = config::provider();
    let holder = Arc::new(Holder::default());
    let configs = Arc::new(Configs::new(&provider, &holder).unwrap());
    let acceptor = Acceptor { configs, holder: Arc::clone(&holder) };
    let digest = [7; 32];
    let answer = authority::answer(NAME, &digest, &provider).unwrap();
    let der = answer.cert.first().unwrap().clone();
    let trusted = made(|_| {}).chain;
    let validation = || {
        let mut client = trusting(&trusted);
        client.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        client
    };

    // RFC 8737 section 3: a critical extension with the digest as an octet string, and the name.
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    let extension = parsed.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let extension = extension.unwrap();
    assert!(extension.critical);
    assert_eq!(extension.value, [[4, 32].as_slice(), &digest].concat());

    assert!(greet(&acceptor, validation()).await.1.is_err(), "no challenge is open");
    let other: HashMap<String, Arc<CertifiedKey>> =
        HashMap::from([("other.example".to_owned(), Arc::new(answer.clone()))]);
    let guard = holder.answer(other);
    assert!(greet(&acceptor, validation()).await.1.is_err(), "the challenge is for another name");
    drop(guard);
    let guard = holder.answer(HashMap::from([(NAME.to_owned(), Arc::new(answer))]));
    // The client refuses the answer, as it must: the extension is critical and unknown to it.
    let (client, _) = greet(&acceptor, validation()).await;
    assert!(client.unwrap_err().to_string().contains("UnsupportedCriticalExtension"));
    assert!(greet(&acceptor, trusting(&trusted)).await.1.is_err(), "an answer is no certificate for clients");
    drop(guard);
    assert!(greet(&acceptor, validation()).await.1.is_err());
}
