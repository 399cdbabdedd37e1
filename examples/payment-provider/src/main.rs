//! `payment-provider`: what `lib.rs` says, as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use payment_provider::{Deliveries, PUBLISHABLE_KEY, Provider, SECRET_KEY, WEBHOOK_SECRET};
use serde_json::json;

/// A server on this machine that behaves as Stripe's published PaymentIntents API does; it moves no money
#[derive(Parser)]
#[command(name = "payment-provider", version)]
struct Arguments {
    /// Where it listens, on this machine
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where it sends its messages, such as http://127.0.0.1:7490/v1/payments/messages
    #[arg(long, value_name = "URL")]
    messages: Option<String>,
    /// How often it sends each
    #[arg(long, value_name = "N", default_value_t = 1)]
    copies: u32,
    /// Write its address and keys into this file, as JSON, once it answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.listen.ip().is_loopback() {
        eprintln!("error: {} is not on this machine\nhint: it keeps no secret; use 127.0.0.1", arguments.listen);
        return ExitCode::from(2);
    }
    let provider = Provider::default();
    provider.state().deliveries = Deliveries { url: arguments.messages, copies: arguments.copies, ..Deliveries::default() };
    let running = match payment_provider::start(arguments.listen, provider).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error: cannot listen on {}: {error}\nhint: --listen 127.0.0.1:0 takes any port that is free", arguments.listen);
            return ExitCode::from(3);
        }
    };
    let told = json!({ "url": running.url, "secret_key": SECRET_KEY, "publishable_key": PUBLISHABLE_KEY, "webhook_secret": WEBHOOK_SECRET,
        "script_url": format!("{}/v3/", running.url) });
    println!("{told}");
    if let Some(path) = arguments.ready_file {
        // Whoever waits for it reads it whole.
        let partial = path.with_extension("partial");
        if let Err(error) = std::fs::write(&partial, told.to_string()).and_then(|()| std::fs::rename(&partial, &path)) {
            eprintln!("error: cannot write {}: {error}", path.display());
            return ExitCode::from(3);
        }
    }
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}
