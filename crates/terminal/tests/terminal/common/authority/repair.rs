//! Repair and reissue as the authority in memory does them (C14, C15): what a terminal hears of both.

use super::*;

/// What is written down of an entry besides its holder.
#[derive(Clone, Default)]
pub struct Repairs {
    generations: HashMap<UserId, u32>,
    exchanged_at: HashMap<UserId, Timestamp>,
    codes: HashMap<UserId, RecoveryCode>,
    reissues: Vec<Reissued>,
    /// Grants in one answer; 100 where nothing is said.
    pub page: Option<usize>,
    /// Right after the first page of the next answer, its entry is raised a generation once.
    pub raised_between_pages: bool,
    /// Grants that entries have not heard of yet.
    pub unheard: Vec<GrantId>,
    /// Devices that took another's place and have not registered yet.
    pub(super) expected: Vec<(UserId, DeviceId)>,
    /// Devices that were exchanged.
    pub(super) exchanged: Vec<(UserId, DeviceId)>,
}

#[derive(Clone)]
struct Reissued {
    id: ReissueId,
    user: UserId,
    card: CardId,
    public: HolderPublic,
    state: ReissueState,
}

/// When things are exchanged: after everything that was issued until then.
const EXCHANGED: Timestamp = Timestamp(NOW.0 + 1);

impl State {
    pub fn generation(&self, user: UserId) -> u32 {
        self.repairs.generations.get(&user).copied().unwrap_or(0)
    }

    /// A device takes another's place: the old one's grants end, their copies are free.
    pub fn exchange_device(&mut self, user: UserId, old: DeviceId, new: DeviceId) {
        self.repairs.expected.push((user, new));
        self.repairs.exchanged.push((user, old));
        assert!(self.devices.remove(&(user, old)).is_some(), "the entry has that device");
        self.end(user, |claimant| claimant.device == Some(old));
    }

    /// Another drive in the place of one.
    pub fn exchange_drive(&mut self, user: UserId, old: DriveId, new: DriveId) {
        let drive = self.drives.iter_mut().find(|(owner, drive)| *owner == user && *drive == old).expect("the entry has that drive");
        drive.1 = new;
        self.end(user, |claimant| claimant.drive == Some(old));
    }

    fn end(&mut self, user: UserId, of: impl Fn(&claim::Claimant) -> bool) {
        for grant in self.grants.iter_mut().filter(|grant| grant.claimant.user == user && of(&grant.claimant)) {
            grant.state = confirm::GrantState::Revoked;
        }
        self.raise(user);
        // Issued after it, and answered anew.
        self.now = Some(Timestamp(EXCHANGED.0 + 1));
        self.answers.clear();
    }

    fn raise(&mut self, user: UserId) {
        *self.repairs.generations.entry(user).or_default() += 1;
        self.repairs.exchanged_at.insert(user, EXCHANGED);
    }

    /// The repair centre decides on the request that waits.
    pub fn decide_reissue(&mut self, state: ReissueState) {
        let waiting = self.repairs.reissues.iter_mut().find(|asked| asked.state == ReissueState::Waiting).expect("one waits");
        waiting.state = state;
        let asked = waiting.clone();
        if state != ReissueState::Done {
            return;
        }
        let (old, _) = self.holders.iter().find(|(_, (user, ..))| *user == asked.user).expect("the entry has a card");
        let old = *old;
        self.holders.remove(&old);
        self.dead.push(old);
        self.holders.insert(asked.card.into(), (asked.user, HolderKind::Card, asked.public));
        for grant in self.grants.iter_mut().filter(|grant| grant.claimant.user == asked.user) {
            grant.claimant.card = Some(asked.card);
        }
        self.raise(asked.user);
    }

    pub(super) fn recovery_code(&mut self, ask: &AskRecoveryCode, opened: &General) -> Result<RecoveryCodeResult, Refusal> {
        let claimant = claim::Claimant { user: ask.user_id, card: Some(ask.card_id), device: ask.device_id, drive: None };
        if self.devices.keys().any(|(owner, _)| *owner == ask.user_id) {
            self.device_signed(ask.user_id, ask.device_id.ok_or(Code::DeviceNotRegistered)?, opened)?;
        }
        let public = self.card(ask.card_id, opened)?;
        if self.holders[&ask.card_id.into()].0 != claimant.user {
            return Err(Code::UserInvalid.into());
        }
        let mut bits = [0; 10];
        SystemRandom.fill(&mut bits);
        let code = RecoveryCode::from_bytes(bits);
        let name = ask.card_id.to_string();
        let sealed = seal_box(&public.sealing, &["recovery code", &name], code.to_string().as_bytes(), &mut SystemRandom).unwrap();
        self.repairs.codes.insert(ask.user_id, code);
        Ok(RecoveryCodeResult { code: serde_json::to_value(sealed).unwrap() })
    }

    /// A card that is registered and has signed.
    fn card(&self, card: CardId, opened: &General) -> Result<HolderPublic, Refusal> {
        let (_, _, public) = self.holders.get(&card.into()).ok_or(Code::CardUnknown)?;
        opened.verify(&card.to_string(), Verifier::Key(&public.signing)).map_err(|_| Code::ProofInvalid)?;
        Ok(*public)
    }

    pub(super) fn reissue(&mut self, ask: &Reissue, opened: &General) -> Result<ReissueResult, Refusal> {
        let public = public(&ask.card);
        let card = CardId::from_bytes(public.id());
        opened.verify(&card.to_string(), Verifier::Key(&public.signing)).map_err(|_| Code::ProofInvalid)?;
        if let Some(asked) = self.repairs.reissues.iter().find(|asked| asked.card == card && asked.user == ask.user_id) {
            return match asked.state {
                ReissueState::Declined => Err(Code::ReissueDeclined.into()),
                state => Ok(ReissueResult { reissue_id: asked.id, state }),
            };
        }
        let typed: RecoveryCode = ask.recovery_code.parse().map_err(|_| Code::UserInvalid)?;
        if self.repairs.codes.get(&ask.user_id) != Some(&typed) {
            return Err(Code::UserInvalid.into());
        }
        let mut id = [0; 16];
        SystemRandom.fill(&mut id);
        let id = ReissueId::from_bytes(id);
        self.repairs.reissues.push(Reissued { id, user: ask.user_id, card, public, state: ReissueState::Waiting });
        Ok(ReissueResult { reissue_id: id, state: ReissueState::Waiting })
    }

    pub(super) fn collect(&mut self, ask: &Collect, opened: &General) -> Result<CollectResult, Refusal> {
        let public = self.card(ask.card_id, opened)?;
        let user = self.holders[&ask.card_id.into()].0;
        let from: usize = ask.after.as_deref().map_or(0, |after| after.parse().unwrap());
        let page = self.repairs.page.unwrap_or(100);
        let stands = |grant: &&Granted| {
            let heard = !self.repairs.unheard.contains(&grant.document.grant_id);
            grant.claimant.user == user && grant.state != confirm::GrantState::Revoked && heard
        };
        let standing: Vec<&Granted> = self.grants.iter().filter(stands).collect();
        let grants = standing.iter().skip(from).take(page).map(|grant| self.sealed_anew(grant, &public)).collect();
        let more = (standing.len() > from + page).then(|| (from + page).to_string());
        let name = ask.card_id.to_string();
        let sealed = seal_box(&public.sealing, &["user ID", &name], user.to_string().as_bytes(), &mut SystemRandom).unwrap();
        let result = CollectResult {
            user: serde_json::to_value(sealed).unwrap(),
            combination: Combination {
                card: true,
                device: self.devices.keys().any(|(owner, _)| *owner == user),
                drive: self.drives.iter().any(|(owner, _)| *owner == user),
            },
            generation: self.generation(user),
            exchanged_at: self.repairs.exchanged_at.get(&user).copied(),
            grants,
            more,
        };
        if std::mem::take(&mut self.repairs.raised_between_pages) {
            self.raise(user);
        }
        Ok(result)
    }

    /// With the device's secret as at first; with the content key only while the copy is not confirmed.
    fn sealed_anew(&self, grant: &Granted, public: &HolderPublic) -> CollectedGrant {
        let device = grant.claimant.device.map(|id| id.to_string()).unwrap_or_default();
        let secret = grant.claimant.device.map(|id| self.devices[&(grant.claimant.user, id)].1.clone());
        let name = grant.document.grant_id.to_string();
        let scope = GrantScope { title: grant.document.title.as_str(), grant: &name, device: &device };
        let content = (grant.state != confirm::GrantState::Settled).then(|| &self.content[&grant.document.title]);
        let keys = seal_grant(&public.sealing, secret.as_ref(), &scope, &grant.library, content, &mut SystemRandom).unwrap();
        let license = self.licenses.iter().find(|license| license.grant == Some(grant.document.grant_id));
        CollectedGrant {
            grant: GrantDocument { keys: serde_json::to_value(keys).unwrap(), ..grant.document.clone() },
            medium_id: grant.medium.clone(),
            license_id: license.map(|license| license.license),
            device_id: grant.claimant.device,
        }
    }
}
