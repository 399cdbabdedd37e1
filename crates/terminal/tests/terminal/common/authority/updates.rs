//! The part of the authority in memory that plans updates as a test has said, and gives the keys for them (A5).

use super::*;

impl State {
    pub(super) fn report(&mut self, ask: &Report, opened: &General) -> Result<ReportResult, Refusal> {
        // A medium asks for itself.
        if let (Some(user), Some(device)) = (ask.user_id, ask.device_id) {
            self.device_signed(user, device, opened)?;
        }
        let plan = |status: &Status| {
            let found = status.release.clone().and_then(|release| self.plans.get(&(status.title.clone(), release)));
            let (to, ways) = found.cloned().map_or((None, vec![]), |(to, ways)| (Some(to), ways));
            let (feed, fresh) = self.feeds.get(&status.title).cloned().unwrap_or_default();
            let content = self.carried.get(&status.title).cloned();
            Plan { title: status.title.clone(), refused: None, to, ways, feed, fresh, content }
        };
        let plans = ask.titles.iter().map(plan).collect();
        self.reported = ask.titles.clone();
        self.knows_deltas = ask.deltas;
        Ok(ReportResult { plans, selected: vec![], contents: vec![] })
    }

    pub(super) fn update(&mut self, ask: &AskUpdate, opened: &General) -> Result<UpdateResult, Refusal> {
        let grant = self.grants.iter().find(|grant| grant.document.grant_id == ask.grant_id && grant.claimant.user == ask.user_id);
        let grant = grant.ok_or(Code::GrantUnknown)?;
        let (_, public) = self.entry(&grant.claimant, opened)?;
        let wanted = |(title, _): &&(TitleOnMedium, String)| title.title == grant.document.title && title.release == ask.release;
        let (title, token) = self.released.iter().find(wanted).cloned().ok_or(Code::ReleaseUnknown)?;
        let device = grant.claimant.device.map(|id| id.to_string()).unwrap_or_default();
        let secret = grant.claimant.device.map(|id| self.devices[&(grant.claimant.user, id)].1.clone());
        let name = ask.grant_id.to_string();
        let scope = GrantScope { title: title.title.as_str(), grant: &name, device: &device };
        let content = &self.content[&title.title];
        let keys = seal_grant(&public.sealing, secret.as_ref(), &scope, &grant.library, Some(content), &mut SystemRandom).unwrap();
        let document = GrantDocument { keys: serde_json::to_value(keys).unwrap(), ..grant.document.clone() };
        Ok(UpdateResult { grant: document, title, release: token })
    }
}
