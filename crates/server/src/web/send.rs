//! `/devices/send` (A2): has a device install a title or bring it up to date, from any browser; and how far devices are with that.

use axum::extract::State;
use axum::response::Response;
use counterfoil_core::wire::SentJob;
use counterfoil_core::{DeviceId, Timestamp, UserId};

use super::buy::read_request;
use super::devices;
use super::sentence;
use super::visitor::{Sent, see_other};
use crate::actions::send::{self, Wanted};
use crate::actions::transfer::Requester;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::inbox;

/// How long it is shown what came of a job, in milliseconds.
const SHOWN: i64 = Timestamp::DAY;

/// A job of a device, as the page of devices shows it.
pub(super) struct ShownJob {
    /// Of which device.
    pub device: DeviceId,
    /// Of what.
    pub title: String,
    /// How far it is, in words.
    pub state: String,
    /// The same as a part of the whole, while it is under way.
    pub percent: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
}

impl ShownJob {
    fn of(job: &SentJob) -> Self {
        let percent = job.progress.as_ref().filter(|at| at.total > 0).map(|at| at.done.saturating_mul(100) / at.total);
        let state = match (&job.failed, job.done_at, percent) {
            (Some(code), ..) => format!("could not be done: {code}"),
            (None, Some(_), _) => "done".to_owned(),
            (None, None, Some(percent)) => format!("under way, {percent} %"),
            (None, None, None) => "waits for the device".to_owned(),
        };
        let percent = percent.filter(|_| job.done_at.is_none());
        Self { device: job.device_id, title: job.title.to_string(), state, percent, failed: job.failed.is_some() }
    }
}

/// What the devices of a user are to do, and what came of it in the last day.
///
/// # Errors
/// A failure of the database.
pub(super) async fn jobs(app: &App, user: UserId) -> Result<Vec<ShownJob>, Problem> {
    let since = Timestamp(app.clock.now().0.saturating_sub(SHOWN));
    let jobs = app.db.read("jobs of devices", async move |tx: &mut Tx| inbox::of_user(tx, user, since).await).await?;
    Ok(jobs.iter().map(ShownJob::of).collect())
}

/// Sends a title to a device. However often the form is sent, it is one job.
///
/// # Errors
/// `not_found` for what is no device or no title; a failure of the database.
pub async fn send(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let to = fields.text("device").parse().map_err(|_| ApiCode::NotFound)?;
    let title = fields.text("title").parse().map_err(|_| ApiCode::NotFound)?;
    let request_id = read_request(&fields).ok_or(ApiCode::InvalidRequest)?;
    let said = ["device", "title"].map(|name| fields.text(name).as_bytes());
    let digest = *blake3::hash(&counterfoil_format::encoding::frame(&said)).as_bytes();
    let requester = Requester { user: by.user(), actor: by.actor(), request_id, digest };
    match send::carry_out(&app, &requester, Wanted { to, title, release: None }).await? {
        Ok(_) => Ok(see_other("/devices?done=sent")),
        Err(refusal) => devices::refused(&app, &by, sentence(&refusal)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::JobId;
    use counterfoil_core::wire::JobProgress;

    fn job(progress: Option<(u64, u64)>, done_at: Option<i64>, failed: Option<&str>) -> SentJob {
        let job_id = JobId::from_bytes([1; 16]);
        SentJob {
            job_id,
            title: "sky-raider".parse().expect("a title"),
            device_id: DeviceId::from_bytes([2; 16]),
            since: Timestamp(0),
            progress: progress.map(|(done, total)| JobProgress { job_id, done, total }),
            done_at: done_at.map(Timestamp),
            failed: failed.map(str::to_owned),
        }
    }

    #[test]
    fn it_is_said_how_far_a_device_is() {
        for (job, state, percent) in [
            (job(None, None, None), "waits for the device", None),
            (job(Some((50, 200)), None, None), "under way, 25 %", Some(25)),
            (job(Some((0, 0)), None, None), "waits for the device", None),
            (job(Some((200, 200)), Some(9), None), "done", None),
            (job(None, Some(9), Some("license_ended")), "could not be done: license_ended", None),
        ] {
            let shown = ShownJob::of(&job);
            assert_eq!((shown.state.as_str(), shown.percent, shown.failed), (state, percent, job.failed.is_some()));
        }
    }
}
