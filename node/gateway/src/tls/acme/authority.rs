//! One order: account, challenges, certificate.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Limited;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse,
    ChallengeType, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

use super::super::holder::Holder;
use super::super::{TlsError, content, read, told};
use super::cache::Cache;

/// How long an authority may look at the challenges, and how long it may take to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));
/// The largest answer that is read; chains are a few kilobytes.
const ANSWER: usize = 1 << 20;
/// One request to the authority.
const REQUEST: Duration = Duration::from_secs(60);

/// What is ordered, and from whom.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) domains: Vec<String>,
    pub(crate) directory: String,
    pub(crate) contact: Option<String>,
    pub(crate) roots: Option<PathBuf>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the authority's answer")]
    Authority(#[from] instant_acme::Error),
    #[error("{domain} was not proven: {why}")]
    Refused { domain: String, why: String },
    #[error("the authority does not offer TLS-ALPN-01 for {domain}")]
    NoChallenge { domain: String },
    #[error("the order is {status:?}")]
    Status { status: OrderStatus },
    #[error("a key or a request cannot be made")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("TLS to the authority cannot be set up")]
    Setup(#[from] rustls::Error),
    #[error("the roots of this system cannot be used")]
    Roots(#[from] std::io::Error),
    #[error("the account cannot be written")]
    Credentials(#[from] serde_json::Error),
}

impl Order {
    /// Reads the file of roots, to see whether it can be used.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check(&self) -> Result<(), TlsError> {
        self.roots().map(|_| ())
    }

    fn roots(&self) -> Result<Option<RootCertStore>, TlsError> {
        let Some(path) = &self.roots else {
            return Ok(None);
        };
        let bytes = read(path)?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&bytes) {
            let root = root.map_err(|error| content(path, format!("no PEM: {error}")))?;
            let added = roots.add(root);
            added.map_err(|error| content(path, format!("a root cannot be used: {error}")))?;
        }
        if roots.is_empty() { Err(content(path, "no certificate in it")) } else { Ok(Some(roots)) }
    }
}

/// Gets a certificate for the names of an order; returns its key and chain in PEM.
///
/// Dropping it leaves an order that the authority forgets by itself.
pub(super) async fn order(
    order: &Order,
    cache: &Cache,
    provider: &Arc<CryptoProvider>,
    holder: &Holder,
) -> Result<String, OrderError> {
    let account = account(order, cache, provider).await?;
    let names: Vec<Identifier> = order.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut placed = match account.new_order(&NewOrder::new(&names)).await {
        Ok(placed) => placed,
        Err(error) => {
            if is_unknown_account(&error)
                && let Err(error) = cache.forget_account()
            {
                warn!(error = told(&error), "an account that the authority does not know stays");
            }
            return Err(error.into());
        }
    };
    prove(&mut placed, provider, holder).await?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(order.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    placed.finalize_csr(request.der()).await?;
    let chain = placed.poll_certificate(&PATIENCE).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Answers the challenges of every name that is not proven yet.
async fn prove(
    placed: &mut instant_acme::Order,
    provider: &Arc<CryptoProvider>,
    holder: &Holder,
) -> Result<(), OrderError> {
    let mut answers = HashMap::new();
    let mut authorizations = placed.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let domain = authorization.identifier().to_string().to_ascii_lowercase();
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(OrderError::Refused { domain, why: format!("it is {status:?}") }),
        }
        let Some(challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(OrderError::NoChallenge { domain });
        };
        let answer = answer(&domain, challenge.key_authorization().digest().as_ref(), provider)?;
        answers.insert(domain, Arc::new(answer));
    }
    if answers.is_empty() {
        return Ok(());
    }
    let _answering = holder.answer(answers);
    let mut authorizations = placed.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01)
        {
            challenge.set_ready().await?;
        }
    }
    let outcome = placed.poll_ready(&PATIENCE).await;
    if matches!(outcome, Ok(OrderStatus::Ready | OrderStatus::Valid)) {
        return Ok(());
    }
    // The order says only that it failed; the challenges say why.
    if let Some(refused) = refusal(placed).await {
        return Err(refused);
    }
    Err(outcome.map_or_else(OrderError::from, |status| OrderError::Status { status }))
}

async fn refusal(placed: &mut instant_acme::Order) -> Option<OrderError> {
    let mut authorizations = placed.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let domain = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(OrderError::Refused { domain, why: problem.to_string() });
        }
    }
    None
}

/// Returns the certificate that proves a name: RFC 8737 section 3.
pub(super) fn answer(
    domain: &str,
    digest: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, OrderError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let secret = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    // Not compared with the key: the extension is critical and means nothing to whom it is not for.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], secret))
}

/// Returns the account that was kept, or makes one.
async fn account(
    order: &Order,
    cache: &Cache,
    provider: &Arc<CryptoProvider>,
) -> Result<Account, OrderError> {
    if let Some(json) = cache.account()? {
        match serde_json::from_slice::<AccountCredentials>(&json) {
            Ok(credentials) => return Ok(builder(order, provider)?.from_credentials(credentials).await?),
            Err(error) => warn!(%error, "the kept account cannot be read, a new one is made"),
        }
    }
    let contact = order.contact.as_deref().map(address);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) =
        builder(order, provider)?.create(&new, order.directory.clone(), None).await?;
    cache.keep_account(&serde_json::to_vec(&credentials)?)?;
    Ok(account)
}

fn address(contact: &str) -> String {
    if contact.contains(':') { contact.to_owned() } else { format!("mailto:{contact}") }
}

fn is_unknown_account(error: &instant_acme::Error) -> bool {
    const UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
    matches!(error, instant_acme::Error::Api(problem) if problem.r#type.as_deref() == Some(UNKNOWN))
}

fn builder(order: &Order, provider: &Arc<CryptoProvider>) -> Result<AccountBuilder, OrderError> {
    let connector = HttpsConnectorBuilder::new();
    // The library's own client asks for the process's provider of cryptography, which is for the binary to choose.
    let connector = match order.roots()? {
        Some(roots) => connector.with_tls_config(
            ClientConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth(),
        ),
        None => connector.with_provider_and_platform_verifier(Arc::clone(provider))?,
    };
    let connector = connector.https_only().enable_http1().enable_http2().build();
    Ok(Account::builder_with_http(Box::new(Bounded(Client::builder(TokioExecutor::new()).build(connector)))))
}

/// A client that neither waits nor reads without end.
struct Bounded(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Bounded {
    fn request(&self, request: http::Request<BodyWrapper<Bytes>>) -> Answer {
        let answer = self.0.request(request);
        Box::pin(async move {
            let answer = tokio::time::timeout(REQUEST, answer).await;
            let answer = answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            let answer = answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(answer.map(|body| Limited::new(body, ANSWER))))
        })
    }
}
