//! A new card for a lost one (C15), on both engines: who may have it, that the old one is dead, and what the new one is filled with.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

mod asked;
mod decided;
mod faults;
mod filled;
mod replaced;
mod web;

use catalogue::TestServer;
use counterfoil_core::wire::{
    AskRecoveryCode, Collect, CollectResult, CollectedGrant, Operation, RecoveryCodeResult, Reissue, ReissueResult,
};
use counterfoil_core::{RecoveryCode, Refusal, UserId};
use counterfoil_format::grant::{GrantBox, GrantScope, SealedBox};
use counterfoil_format::hpke::HpkeError;
use counterfoil_format::secret::Secret;
use counterfoil_server::{auditor, jobs, store};
use serde_json::{Value, json};
use support::TestDb;
use terminal::{Terminal, card, public};

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

/// Has families told what waits to be told.
async fn deliver(server: &TestServer) {
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
}

impl Terminal {
    fn recovery_code_operation(&self) -> Operation {
        let (user_id, card_id, device_id) = (self.user.unwrap(), self.card_id().unwrap(), self.device_id());
        Operation::RecoveryCode(AskRecoveryCode { user_id, card_id, device_id })
    }

    pub async fn recovery_code(&self, server: &TestServer) -> Result<RecoveryCode, Refusal> {
        let result: RecoveryCodeResult = serde_json::from_value(self.ask(server, self.recovery_code_operation(), None).await?).unwrap();
        Ok(self.open_code(result))
    }

    fn open_code(&self, result: RecoveryCodeResult) -> RecoveryCode {
        let sealed: SealedBox = serde_json::from_value(result.code).unwrap();
        let kid = self.card_id().unwrap().to_string();
        let opened = sealed.open(&self.holder().1.sealing_key(), &["recovery code", &kid]).unwrap();
        std::str::from_utf8(&opened).unwrap().parse().unwrap()
    }

    /// The same devices with a new card in them.
    pub fn with_new_card(&self) -> Terminal {
        Terminal { card: Some(card()), device: self.device.clone(), drive: self.drive.clone(), user: self.user }
    }

    /// A card alone, which is nobody's yet.
    pub fn just_a_card() -> Terminal {
        Terminal { card: Some(card()), device: None, drive: None, user: None }
    }

    fn reissue_operation(&self, user_id: UserId, code: &str) -> Operation {
        let card = public(self.card.as_ref().unwrap());
        Operation::Reissue(Reissue { user_id, recovery_code: code.to_owned(), card, contact: Some("by phone: 555".to_owned()) })
    }

    pub async fn reissue(&self, server: &TestServer, user: UserId, code: &RecoveryCode) -> Result<ReissueResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, self.reissue_operation(user, &code.to_string()), None).await?).unwrap())
    }

    fn collect_operation(&self, after: Option<String>) -> Operation {
        Operation::Collect(Collect { card_id: self.card_id().unwrap(), after })
    }

    async fn collect_page(&self, server: &TestServer, after: Option<String>) -> Result<CollectResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, self.collect_operation(after), None).await?).unwrap())
    }

    /// All pages; the last one says what else there is of the entry.
    async fn collect(&self, server: &TestServer) -> Result<(CollectResult, Vec<CollectedGrant>), Refusal> {
        let (mut grants, mut after) = (vec![], None);
        loop {
            let mut page = self.collect_page(server, after).await?;
            assert!(page.grants.len() <= 100);
            grants.append(&mut page.grants);
            after = page.more.take();
            if after.is_none() {
                return Ok((page, grants));
            }
        }
    }

    /// The keys of a collected grant, opened with this card and the device's secret.
    fn opened(&self, collected: &CollectedGrant) -> Result<(Secret<32>, Option<Secret<32>>), HpkeError> {
        let grant = &collected.grant;
        let sealed: GrantBox = serde_json::from_value(grant.keys.clone()).unwrap();
        let (id, device) = (grant.grant_id.to_string(), collected.device_id.map(|id| id.to_string()).unwrap_or_default());
        let scope = GrantScope { title: grant.title.as_str(), grant: &id, device: &device };
        let secret = self.device.as_ref().filter(|_| grant.with_device).map(|(_, keys)| keys.device_secret().unwrap());
        let sealing = self.holder().1.sealing_key();
        let open = sealed.open(&sealing, secret, &scope)?;
        Ok((open.library_key()?, open.content_key()?))
    }

    /// Has the operator put this terminal's card in the place of the user's.
    async fn replaces(&self, server: &TestServer, user: UserId) -> Value {
        let card = public(self.card.as_ref().unwrap());
        let body = json!({ "card": { "sign": card.sign, "seal": card.seal }, "reason": "lost on the train" });
        server.post(&server.operator, &format!("/v1/entries/{user}/reissue"), &body).await.expect(200)
    }
}

/// The keys of a terminal's card as the API takes them.
pub fn card_keys(terminal: &Terminal) -> Value {
    let card = public(terminal.card.as_ref().unwrap());
    json!({ "sign": card.sign, "seal": card.seal })
}
