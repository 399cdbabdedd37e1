//! Registration, and what is said of a medium and a user before anything is done.

use super::*;

impl State {
    pub(super) fn register(&mut self, ask: &Register, opened: &General) -> Result<RegisterResult, Refusal> {
        let device = ask.device.as_ref().map(|device| &device.keys);
        let drive = ask.drive.as_ref().and_then(|drive| drive.keys.as_ref());
        let combination = Combination { card: ask.card.is_some(), device: device.is_some(), drive: ask.drive.is_some() };
        let (kind, keys) = match (&ask.card, device, drive) {
            (Some(keys), ..) => (HolderKind::Card, keys),
            (None, Some(keys), _) => (HolderKind::Device, keys),
            (None, None, Some(keys)) => (HolderKind::Drive, keys),
            _ => return Err(Code::RegistrationNotAllowed.into()),
        };
        let public = public(keys);
        let holder = HolderId::from_bytes(public.id());
        let name = match kind {
            HolderKind::Card => CardId::from(holder).to_string(),
            HolderKind::Device => ask.device.as_ref().unwrap().id.to_string(),
            HolderKind::Drive => ask.drive.as_ref().unwrap().id.to_string(),
        };
        let proven =
            |name: &str, key: &HolderVerifyingKey| opened.verify(name, Verifier::Key(key)).map_err(|_| Refusal::from(Code::ProofInvalid));
        proven(&name, &public.signing)?;
        if let Some(device) = &ask.device {
            proven(&device.id.to_string(), &self::public(&device.keys).signing)?;
        }
        let facts = match self.holders.get(&holder) {
            _ if self.dead.contains(&holder) => register::HolderFacts::Dead,
            Some((user, ..)) => register::HolderFacts::Registered(*user),
            None => register::HolderFacts::Unknown,
        };
        let mut fresh = [0; 16];
        SystemRandom.fill(&mut fresh);
        let decision = register::decide_holder(&self.policy, combination, &facts, ask.user_id, false, UserId::from_bytes(fresh))?;
        let (register::HolderDecision::Reserve(user) | register::HolderDecision::Continue(user)) = decision;
        let device_id = ask.device.as_ref().map(|device| device.id);
        let drive_id = ask.drive.as_ref().map(|drive| drive.id);
        let facts = register::EntryFacts {
            holder: matches!(decision, register::HolderDecision::Continue(_)).then_some(kind),
            established: matches!(decision, register::HolderDecision::Continue(_)),
            has_device: device_id.is_some_and(|id| self.devices.contains_key(&(user, id))),
            has_drive: drive_id.is_some_and(|id| self.drives.contains(&(user, id))),
            devices: self.devices.keys().filter(|(owner, _)| *owner == user).count() as u32,
            drives: self.drives.iter().filter(|(owner, _)| *owner == user).count() as u32,
            expected: device_id.is_some_and(|id| self.repairs.expected.contains(&(user, id))),
            exchanged: device_id.is_some_and(|id| self.repairs.exchanged.contains(&(user, id))),
            ..register::EntryFacts::default()
        };
        register::decide_entry(&self.policy, &facts, kind, device_id, drive_id, ask.user_id.is_some())?;
        self.holders.insert(holder, (user, kind, public));
        if let Some(device) = &ask.device {
            let secret = Secret::from_slice(&from_base64url(&device.secret).unwrap()).unwrap();
            self.secrets.push(secret.clone());
            self.devices.insert((user, device.id), (self::public(&device.keys).signing, secret));
        }
        self.drives.extend(drive_id.map(|id| (user, id)));
        let sealed = seal_box(&public.sealing, &["user ID", &name], user.to_string().as_bytes(), &mut SystemRandom).unwrap();
        let card_id = (kind == HolderKind::Card).then(|| holder.into());
        Ok(RegisterResult { holder: kind, user: serde_json::to_value(sealed).unwrap(), card_id, generation: self.generation(user) })
    }

    pub(super) fn inspect(&mut self, ask: &Inspect, opened: &General) -> Result<InspectResult, Refusal> {
        let medium = match &ask.medium_id {
            None => None,
            Some(id) => {
                let medium = self.medium(id, opened)?;
                let title = |title: &TitleId| TitleOnOffer { title: title.clone(), name: "A title".into(), kind: Kind::App, newest: None };
                let titles = medium.titles.iter().map(title).collect();
                let left = medium.rights.copies - self.copies(id);
                Some(MediumVerdict {
                    titles,
                    rights: medium.rights.clone(),
                    copies_left: left,
                    yours: false,
                    paid_on_copy: false,
                    prices: vec![],
                })
            }
        };
        let user = ask.user_id.map(|_| UserVerdict { devices: vec![], titles: vec![] });
        Ok(InspectResult { medium, user, device: None })
    }
}

pub(super) fn public(keys: &HolderKeys) -> HolderPublic {
    let sealing: SealingPublicKey = keys.seal.parse().unwrap();
    HolderPublic { signing: keys.sign.parse().unwrap(), sealing }
}
