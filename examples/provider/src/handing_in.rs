//! `/v1/uploads`: tus 1.0 for whoever has a session with the right to upload.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use counterfoil_tus::{self as tus, Create, Error as Tus, Extension, Head, Server, header};

use crate::app::{App, now, random_hex};
use crate::contents::is_name;
use crate::problem::{Code, Problem};
use crate::sessions::Session;
use crate::uploads::{Record, UploadError, Uploads, Wanted, is_id};

const EXTENSIONS: &[Extension] = &[Extension::Creation, Extension::Termination, Extension::Expiration];

/// What was asked for, by somebody who may.
struct Asked {
    server: Server,
    uploads: Arc<Uploads>,
    session: Session,
    holder: String,
}

/// `POST` makes an upload, `OPTIONS` says what can be done.
pub async fn all(State(app): State<Arc<App>>, method: Method, headers: HeaderMap) -> Response {
    let server = app.tus();
    answered(&server, async {
        match server.read(&method, &headers)? {
            tus::Request::Options => Ok(server.options()),
            tus::Request::Create(create) => app.admit(server, &headers).await?.create(create).await,
            _ => Err(Tus::Method.into()),
        }
    })
    .await
}

/// `HEAD` says how far one is, `PATCH` goes on with it, `DELETE` takes it away.
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let server = app.tus();
    let (request, body) = request.into_parts();
    answered(&server, async {
        let asked_for = server.read(&request.method, &request.headers)?;
        if asked_for == tus::Request::Options {
            return Ok(server.options());
        }
        let asked = app.admit(server, &request.headers).await?;
        if !is_id(&id) {
            return Err(Tus::Unknown.into());
        }
        match asked_for {
            tus::Request::Head => asked.state(id).await,
            tus::Request::Patch(patch) => {
                let (offset, record) = asked.uploads.append(&asked.holder, &id, patch, body, now()).await?;
                Ok(server.accepted(offset, Some(expires(&record))))
            }
            tus::Request::Delete => asked.delete(id).await,
            tus::Request::Options | tus::Request::Create(_) => Err(Tus::Method.into()),
        }
    })
    .await
}

impl App {
    fn tus(&self) -> Server {
        Server { max_size: self.uploads.as_ref().map(|uploads| uploads.most), extensions: EXTENSIONS }
    }

    async fn admit(&self, server: Server, headers: &HeaderMap) -> Result<Asked, Problem> {
        let session = self.session(headers).await?;
        let uploads = self.uploads.clone().ok_or_else(|| Problem::new(Code::RightMissing, "nothing is taken here"))?;
        if !session.allows("upload") {
            return Err(Problem::new(Code::RightMissing, "the verdict does not say `upload`"));
        }
        let holder = session.holder.clone().ok_or_else(|| Problem::new(Code::RightMissing, "it is not known whose it would be"))?;
        Ok(Asked { server, uploads, session, holder })
    }
}

impl Asked {
    async fn create(self, create: Create) -> Result<Head, Problem> {
        // Stock clients call it `filename`.
        let name = create.metadata.text("name").or_else(|| create.metadata.text("filename")).unwrap_or_default().to_owned();
        if !is_name(&name) {
            let detail = "Upload-Metadata wants `name`: 1 to 100 of a-z A-Z 0-9 . _ -, not beginning with a dot";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        let id = random_hex();
        let location = format!("/v1/uploads/{id}");
        let server = self.server;
        let record = aside(move || {
            let wanted =
                Wanted { name: &name, length: create.length, metadata: create.metadata.to_header(), limit: self.session.upload_limit };
            self.uploads.create(&self.holder, &id, wanted, now())
        })
        .await?;
        server.created(&location, Some(expires(&record))).ok_or_else(|| Problem::new(Code::StorageFailed, "its address is none"))
    }

    async fn state(self, id: String) -> Result<Head, Problem> {
        let server = self.server;
        let (offset, record) = aside(move || self.uploads.state(&self.holder, &id, now())).await?;
        let metadata = tus::Metadata::parse(&record.metadata);
        let expires = Some(expires(&record));
        Ok(server.state(&tus::State { offset, length: record.length, metadata: metadata.as_ref(), expires }))
    }

    async fn delete(self, id: String) -> Result<Head, Problem> {
        let server = self.server;
        aside(move || self.uploads.remove(&self.holder, &id, now())).await?;
        Ok(server.removed())
    }
}

/// Work on files, where it keeps nobody else waiting.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, UploadError> + Send + 'static) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Problem::new(Code::StorageFailed, error.to_string())),
    }
}

/// The headers of tus are in every answer, the words of a problem in every refusal.
async fn answered(server: &Server, work: impl Future<Output = Result<Head, Problem>>) -> Response {
    match work.await {
        Ok(head) => (head.status, head.headers).into_response(),
        Err(problem) => {
            let headers = match &problem.code {
                Code::Tus(error) => server.refused(error).headers,
                _ => HeaderMap::from_iter([(header::RESUMABLE, HeaderValue::from_static(tus::VERSION))]),
            };
            let mut response = problem.into_response();
            response.headers_mut().extend(headers);
            response
        }
    }
}

fn expires(record: &Record) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(record.expires).unwrap_or(0))
}

impl From<Tus> for Problem {
    fn from(error: Tus) -> Self {
        let detail = error.to_string();
        Problem::new(Code::Tus(error), detail)
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Tus(error) => error.into(),
            UploadError::Quota { held, limit } => Problem::new(Code::TooLarge, format!("{held} of {limit} bytes are held already")),
            UploadError::TooMany => Code::TooManyUploads.into(),
            UploadError::Busy => Problem::passing(Code::Busy, "it may be over in a moment", 1),
            UploadError::Cut => Problem::new(Code::InvalidRequest, "the body ended early; ask with HEAD how much has come"),
            UploadError::Io(error) => Problem::new(Code::StorageFailed, error.to_string()),
        }
    }
}
