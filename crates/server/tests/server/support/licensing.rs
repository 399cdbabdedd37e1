//! Licenses from a terminal's side: asked for, fetched, verified as anybody would, renewed and moved.

use counterfoil_core::license::{LICENSE_TYP, License};
use counterfoil_core::wire::{
    AskLicense, Confirm, Inbox, InboxResult, Job, JobDone, JobProgress, LicenseResult, Operation, Redeem, RedeemResult, Renew, RenewResult,
    Send, SendResult, Sent, SentJob, SentResult, Transfer, TransferResult,
};
use counterfoil_core::{DriveId, GrantId, JobId, LicenseId, Refusal, TransactionId, UserId};
use counterfoil_format::jwt::{self, Demands};
use serde::de::DeserializeOwned;

use super::catalogue::TestServer;
use super::terminal::{Terminal, device, random};

/// One more device of somebody who is registered, with a drive of its own.
pub async fn one_more(server: &TestServer, owner: &Terminal) -> Terminal {
    let mut other =
        Terminal { card: owner.card.clone(), device: Some(device()), drive: Some((DriveId::from_bytes(random()), None)), user: None };
    other.register(server, owner.user).await.unwrap();
    other
}

/// A license as anybody verifies it, with the published keys alone.
pub fn verified(server: &TestServer, terminal: &Terminal, token: &str) -> License {
    let device = terminal.device_id().unwrap().to_string();
    let demands =
        Demands { typ: LICENSE_TYP, now: server.app.clock.now().seconds(), audience: None, holder: Some(&device), must_expire: false };
    jwt::verify(token, &server.app.keys.key_list(), &demands).unwrap()
}

impl Terminal {
    fn who(&self) -> UserId {
        self.user.unwrap_or(UserId::from_bytes([9; 16]))
    }

    pub fn license_operation(&self, title: &str, again: bool) -> Operation {
        let (user_id, device_id) = (self.who(), self.device_id().unwrap());
        Operation::License(AskLicense { user_id, device_id, title: title.parse().unwrap(), release: None, channel: None, again, feed: 0 })
    }

    pub fn redeem_operation(&self, transaction_id: TransactionId) -> Operation {
        let (user_id, device_id) = (self.who(), self.device_id().unwrap());
        Operation::Redeem(Redeem { user_id, device_id, drive_id: self.drive_id(), transaction_id })
    }

    pub fn renew_operation(&self, license_id: LicenseId) -> Operation {
        Operation::Renew(Renew { user_id: self.who(), device_id: self.device_id().unwrap(), license_id })
    }

    pub fn installed_operation(&self, grant: GrantId) -> Operation {
        Operation::Confirm(Confirm { user_id: self.who(), medium_id: None, grant_ids: vec![grant], device_id: self.device_id() })
    }

    pub fn transfer_operation(&self, source: &Terminal, destination: &Terminal, title: Option<&str>, preview: bool) -> Operation {
        Operation::Transfer(Transfer {
            user_id: self.who(),
            card_id: self.card_id(),
            device_id: self.device_id().unwrap(),
            source: source.device_id().unwrap(),
            destination: destination.device_id().unwrap(),
            title: title.map(|title| title.parse().unwrap()),
            preview,
        })
    }

    pub fn inbox_operation(&self, done: Vec<JobDone>) -> Operation {
        Operation::Inbox(Inbox { user_id: self.who(), device_id: self.device_id().unwrap(), done, progress: vec![] })
    }

    pub fn send_operation(&self, to: &Terminal, title: &str, release: Option<&str>) -> Operation {
        Operation::Send(Send {
            user_id: self.who(),
            card_id: self.card_id(),
            device_id: self.device_id().unwrap(),
            to: to.device_id().unwrap(),
            title: title.parse().unwrap(),
            release: release.map(|release| release.parse().unwrap()),
        })
    }

    /// Has another device install or update a title.
    pub async fn send(&self, server: &TestServer, to: &Terminal, title: &str) -> Result<JobId, Refusal> {
        Ok(self.get::<SendResult>(server, self.send_operation(to, title, None)).await?.job_id)
    }

    /// How far the jobs are that it has sent.
    pub async fn sent(&self, server: &TestServer, job_id: Option<JobId>) -> Vec<SentJob> {
        let sent = Operation::Sent(Sent { user_id: self.who(), device_id: self.device_id().unwrap(), job_id });
        self.get::<SentResult>(server, sent).await.unwrap().jobs
    }

    /// Tells how far it is with a job.
    pub async fn at(&self, server: &TestServer, job_id: JobId, done: u64, total: u64) {
        let progress = vec![JobProgress { job_id, done, total }];
        let inbox = Inbox { user_id: self.who(), device_id: self.device_id().unwrap(), done: vec![], progress };
        self.get::<InboxResult>(server, Operation::Inbox(inbox)).await.unwrap();
    }

    async fn get<T: DeserializeOwned>(&self, server: &TestServer, operation: Operation) -> Result<T, Refusal> {
        Ok(serde_json::from_value(self.ask(server, operation, None).await?).unwrap())
    }

    pub async fn license(&self, server: &TestServer, title: &str) -> Result<LicenseResult, Refusal> {
        self.get(server, self.license_operation(title, false)).await
    }

    pub async fn license_again(&self, server: &TestServer, title: &str) -> Result<LicenseResult, Refusal> {
        self.get(server, self.license_operation(title, true)).await
    }

    pub async fn redeem(&self, server: &TestServer, transaction: TransactionId) -> Result<RedeemResult, Refusal> {
        self.get(server, self.redeem_operation(transaction)).await
    }

    pub async fn renew(&self, server: &TestServer, license: LicenseId) -> Result<RenewResult, Refusal> {
        self.get(server, self.renew_operation(license)).await
    }

    pub async fn installed(&self, server: &TestServer, grant: GrantId) -> Result<(), Refusal> {
        self.ask(server, self.installed_operation(grant), None).await.map(drop)
    }

    /// Everything that an installation asks for.
    pub async fn install(&self, server: &TestServer, title: &str) -> Result<(LicenseResult, RedeemResult), Refusal> {
        let license = self.license(server, title).await?;
        let redeemed = self.redeem(server, license.transaction_id).await?;
        self.installed(server, redeemed.grant.grant_id).await?;
        Ok((license, redeemed))
    }

    /// Asks for a transfer between devices of its user.
    pub async fn transfer(
        &self,
        server: &TestServer,
        source: &Terminal,
        destination: &Terminal,
        title: Option<&str>,
    ) -> Result<TransferResult, Refusal> {
        self.get(server, self.transfer_operation(source, destination, title, false)).await
    }

    pub async fn preview(
        &self,
        server: &TestServer,
        source: &Terminal,
        destination: &Terminal,
        title: Option<&str>,
    ) -> Result<TransferResult, Refusal> {
        self.get(server, self.transfer_operation(source, destination, title, true)).await
    }

    pub async fn jobs(&self, server: &TestServer) -> Vec<Job> {
        self.get::<InboxResult>(server, self.inbox_operation(vec![])).await.unwrap().jobs
    }

    /// Tells that a job is done, and is told what is left.
    pub async fn done(&self, server: &TestServer, job_id: JobId, failed: Option<&str>) -> Vec<Job> {
        let done = vec![JobDone { job_id, failed: failed.map(str::to_owned) }];
        self.get::<InboxResult>(server, self.inbox_operation(done)).await.unwrap().jobs
    }
}
