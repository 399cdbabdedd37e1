//! Which gateway asks: by its certificate, looked up anew with every request, so that one that has ended is let in no more from then on.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::GatewayId;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use super::pace::Pace;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::gateway::{self, certificate};

/// How often it is looked whether somebody with something open has ended.
const LOOK: Duration = Duration::from_secs(1);

/// SHA-256 of the certificate that a connection was opened with: in the extensions of each of its requests, put there by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// The gateway that asks. As an extractor it exists only behind a route that admits gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Which.
    pub gateway: GatewayId,
    /// For people.
    pub name: String,
    /// Its share of a price, in hundredths of a percent.
    pub share: u32,
    /// Whether titles with a price are charged for whenever they are copied through it.
    pub every_copy: bool,
}

impl Caller {
    /// As in the audit log.
    pub fn actor(&self) -> String {
        gateway::family(self.gateway)
    }
}

/// Whose certificates are good at this moment, as the listener's own look at the database has it. Cheap to clone.
#[derive(Clone)]
pub struct Live(watch::Sender<BTreeSet<Fingerprint>>);

impl Default for Live {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }
}

impl Live {
    /// Looks at the database for as long as the server runs; what belongs to certificates that are good no more ends.
    pub async fn look_forever(self, app: App) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            // Nobody waits for it: nothing is open.
            if self.0.receiver_count() == 0 {
                continue;
            }
            if let Err(error) = self.look(&app).await {
                tracing::warn!(%error, "it cannot be seen which gateways have ended; what they have open stays open meanwhile");
            }
        }
    }

    async fn look(&self, app: &App) -> Result<(), DbError> {
        let now = app.clock.now();
        let good = app.db.read("live gateways", async move |tx: &mut Tx| certificate::good(tx, now).await).await?;
        self.0.send_replace(good.into_iter().map(Fingerprint).collect());
        Ok(())
    }

    /// Returns when a certificate that is good now is good no more.
    async fn ended(self, app: App, fingerprint: Fingerprint) {
        let mut seen = self.0.subscribe();
        // It never closes: `self` sends, too.
        while seen.changed().await.is_ok() {
            if seen.borrow_and_update().contains(&fingerprint) {
                continue;
            }
            // The look may have begun before the certificate was made: only what is seen from now on counts.
            match find(&app, fingerprint).await {
                Err(problem) if !problem.status.is_server_error() => return,
                _ => {}
            }
        }
    }
}

/// The layer of every route that admits gateways: lets one in, tells the handler which, and ends what it does when it is revoked.
pub async fn require(State((app, live, pace)): State<(App, Live, Pace)>, mut request: Request, next: Next) -> Response {
    let Some(fingerprint) = request.extensions().get::<Option<Fingerprint>>().copied().flatten() else {
        return Problem::with(ApiCode::Unauthorized, "this address is for gateways, which come with a certificate").into_response();
    };
    let caller = match find(&app, fingerprint).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if let Err(problem) = pace.admit(caller.gateway) {
        return problem.into_response();
    }
    request.extensions_mut().insert(caller);
    let mut ended: Ended = Box::pin(live.ended(app, fingerprint));
    tokio::select! {
        biased;
        response = next.run(request) => response.map(|body| Body::new(UntilEnded { body, ended })),
        () = &mut ended => over().into_response(),
    }
}

/// The gateway that a certificate was made for, if both are good.
async fn find(app: &App, fingerprint: Fingerprint) -> Result<Caller, Problem> {
    let now = app.clock.now();
    let found = app.db.read("gateway of a certificate", async move |tx: &mut Tx| certificate::owner(tx, &fingerprint.0, now).await).await?;
    let unknown = || Problem::with(ApiCode::Unauthorized, "this certificate belongs to no gateway any more");
    let (gateway, not_after) = found.ok_or_else(unknown)?;
    if not_after <= now {
        return Err(unknown());
    }
    if gateway.ended_at.is_some() {
        return Err(over());
    }
    Ok(Caller { gateway: gateway.id, name: gateway.name, share: gateway.share, every_copy: gateway.every_copy })
}

fn over() -> Problem {
    Problem::with(ApiCode::Forbidden, "the operator of the authority has ended this gateway")
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a handler asks which gateway calls, on a route that lets others in");
        parts.extensions.get::<Caller>().cloned().ok_or_else(missing)
    }
}

type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer that breaks off when the gateway that it goes to is revoked.
struct UntilEnded {
    body: Body,
    ended: Ended,
}

impl HttpBody for UntilEnded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("the gateway has ended"))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
