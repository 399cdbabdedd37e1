//! What is inside stays out of reach: a webhook is no way to make this server talk to itself or its neighbours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use serde_json::json;

use super::*;

/// A receiver with a certificate of its own authority.
pub struct TlsReceiver {
    pub address: SocketAddr,
    /// PEM of the authority.
    pub authority: String,
    pub requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn tls_receiver() -> TlsReceiver {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let router = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "" }
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config))).unwrap();
    let task = tokio::spawn(async move { server.serve(router.into_make_service()).await.unwrap() });
    TlsReceiver { address, authority: certificate.pem(), requests, task }
}

db_test!(nothing_inside_is_reached_by_address_or_by_name, async |db: TestDb| {
    let receiver = tls_receiver().await;
    let port = receiver.address.port();
    let directory = tempfile::tempdir().unwrap();
    let authorities = directory.path().join("ca.pem");
    std::fs::write(&authorities, &receiver.authority).unwrap();
    let server = TestServer::with(&db, |config| {
        config.webhooks.timeout_seconds = 5;
        config.webhooks.ca_file = Some(authorities.clone());
    })
    .await;
    // Refused at once, where the address says it.
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://2130706433:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://localhost:{port}/"),
    ] {
        let new = json!({ "name": "Inside", "url": url, "events": ["*"] });
        server.post(&server.operator, "/v1/webhooks", &new).await.expect(422);
    }
    // A name says nothing: it may lead elsewhere tomorrow. It is looked at when it is connected to.
    let named = Hook::new(&server, &server.operator, &format!("https://localhost:{port}/"), &["*"]).await;
    // And one that was made when addresses inside were allowed.
    let open = server.another(&db, |config| config.webhooks.allow_private = true).await;
    let old = Hook::new(&open, &server.operator, &format!("https://127.0.0.1:{port}/"), &["*"]).await;
    for hook in [&named, &old] {
        server.post(&server.operator, &hook.path("/test"), &json!({})).await.expect(201);
    }
    lead(&server).await;
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 0);
    assert_eq!(named.deliveries(&server).await[0]["error"], "not_public");
    assert_eq!(old.deliveries(&server).await[0]["error"], "unusable");

    // The same, where the operator allows it: so it was not for something else that it failed.
    pass(&server, 60_000);
    open.app.clock.set(server.app.clock.now());
    lead(&open).await;
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 2);
    assert_eq!(named.deliveries(&server).await[0]["state"], "delivered");
    open.app.db.close().await;
});
