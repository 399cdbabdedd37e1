//! Media are claimed, confirmed and healed.

use super::*;

impl State {
    pub(super) fn medium(&self, id: &MediumId, opened: &General) -> Result<&PressedMedium, Refusal> {
        let medium = self.media.get(id).ok_or(Code::MediumUnknown)?;
        medium.proven(id, opened).ok_or(Code::MediumUnknown)?;
        Ok(medium)
    }

    pub(super) fn copies(&self, medium: &MediumId) -> u32 {
        let mut claimants: Vec<claim::Claimant> = Vec::new();
        for grant in self.grants.iter().filter(|grant| grant.medium.as_ref() == Some(medium) && grant.state != confirm::GrantState::Revoked)
        {
            if !claimants.contains(&grant.claimant) {
                claimants.push(grant.claimant);
            }
        }
        claimants.len() as u32
    }

    /// The holder of an entry, once it and the device have signed.
    pub(super) fn entry(&self, claimant: &claim::Claimant, opened: &General) -> Result<(HolderKind, HolderPublic), Refusal> {
        let found = self.holders.iter().find(|(_, (user, ..))| *user == claimant.user);
        let facts = found.map(|(holder, (user, kind, _))| {
            let device = claimant.device.and_then(|id| self.devices.get(&(*user, id)).map(|device| (id, device)));
            let proven = device.is_some_and(|(id, (key, _))| opened.verify(&id.to_string(), Verifier::Key(key)).is_ok());
            claim::EntryFacts {
                card: (*kind == HolderKind::Card).then(|| (*holder).into()),
                holder_dead: self.dead.contains(holder),
                has_devices: self.devices.keys().any(|(owner, _)| owner == user),
                device_registered: proven,
                has_drives: self.drives.iter().any(|(owner, _)| owner == user),
                drive_registered: claimant.drive.is_some_and(|id| self.drives.contains(&(*user, id))),
            }
        });
        claim::decide_entry(claimant, facts.as_ref())?;
        let (holder, (_, kind, public)) = found.unwrap();
        let name = match kind {
            HolderKind::Card => CardId::from(*holder).to_string(),
            HolderKind::Device => claimant.device.unwrap().to_string(),
            HolderKind::Drive => claimant.drive.unwrap().to_string(),
        };
        opened.verify(&name, Verifier::Key(&public.signing)).map_err(|_| Code::ProofInvalid)?;
        Ok((*kind, *public))
    }

    pub(super) fn claim(&mut self, ask: &Claim, opened: &General) -> Result<ClaimResult, Refusal> {
        let claimant = claim::Claimant { user: ask.user_id, card: ask.card_id, device: ask.device_id, drive: ask.drive_id };
        let (kind, public) = self.entry(&claimant, opened)?;
        let medium = self.medium(&ask.medium_id, opened)?;
        let open = self
            .grants
            .iter()
            .filter(|grant| grant.medium.as_ref() == Some(&ask.medium_id) && grant.state == confirm::GrantState::Delivered);
        let facts = claim::MediumFacts {
            retired: medium.retired,
            rights: medium.rights.clone(),
            copies_claimed: self.copies(&ask.medium_id),
            unsettled: open.map(|grant| claim::OpenClaim { grants: vec![grant.document.grant_id], claimant: grant.claimant }).collect(),
        };
        match claim::decide(&claimant, &facts, NOW)? {
            claim::Decision::Again(_) => {
                let mine = self.grants.iter().filter(|grant| grant.medium.as_ref() == Some(&ask.medium_id) && grant.claimant == claimant);
                Ok(ClaimResult {
                    grants: mine.map(|grant| grant.document.clone()).collect(),
                    generation: self.generation(claimant.user),
                    charged: None,
                })
            }
            claim::Decision::Issue => {
                let titles = medium.titles.clone();
                let grants: Vec<_> = titles.iter().map(|title| self.issue(title, kind, &public, &claimant, Some(&ask.medium_id))).collect();
                Ok(ClaimResult { grants, generation: self.generation(claimant.user), charged: None })
            }
        }
    }

    pub(super) fn issue(
        &mut self,
        title: &TitleId,
        holder: HolderKind,
        public: &HolderPublic,
        claimant: &claim::Claimant,
        medium: Option<&MediumId>,
    ) -> GrantDocument {
        let mut id = [0; 16];
        SystemRandom.fill(&mut id);
        let grant_id = GrantId::from_bytes(id);
        let library_key = Secret::random(&mut SystemRandom);
        self.secrets.push(library_key.clone());
        let device = claimant.device.map(|id| id.to_string()).unwrap_or_default();
        let secret = claimant.device.map(|id| self.devices[&(claimant.user, id)].1.clone());
        let grant = grant_id.to_string();
        let scope = GrantScope { title: title.as_str(), grant: &grant, device: &device };
        let content = &self.content[title];
        let keys = seal_grant(&public.sealing, secret.as_ref(), &scope, &library_key, Some(content), &mut SystemRandom).unwrap();
        let bound =
            HardwareBinding { device_id: claimant.device.map(|id| id.to_string()), drive_id: claimant.drive.map(|id| id.to_string()) };
        let binding = if bound.device_id.is_none() && bound.drive_id.is_none() {
            String::new()
        } else {
            seal_binding(&library_key, &bound, &mut SystemRandom)
        };
        let document = GrantDocument {
            grant_id,
            title: title.clone(),
            generation: 1,
            holder,
            with_device: secret.is_some(),
            keys: serde_json::to_value(keys).unwrap(),
            binding,
            issued_at: self.now(),
        };
        let state = confirm::GrantState::Delivered;
        self.grants.push(Granted { document: document.clone(), library: library_key, medium: medium.cloned(), claimant: *claimant, state });
        document
    }

    pub(super) fn confirm(&mut self, ask: &Confirm, opened: &General) -> Result<ConfirmResult, Refusal> {
        if let Some(device) = ask.device_id {
            let (key, _) = self.devices.get(&(ask.user_id, device)).ok_or(Code::DeviceNotRegistered)?;
            opened.verify(&device.to_string(), Verifier::Key(key)).map_err(|_| Code::ProofInvalid)?;
        }
        let ended = |license: &Licensed| license.ended && license.grant.is_some_and(|grant| ask.grant_ids.contains(&grant));
        if self.licenses.iter().any(ended) {
            return Err(Code::LicenseEnded.into());
        }
        let facts: Vec<_> = self.grants.iter().map(grant_facts).collect();
        let settle = confirm::decide(&ask.grant_ids, ask.user_id, ask.device_id, &facts)?;
        for grant in self.grants.iter_mut().filter(|grant| settle.contains(&grant.document.grant_id)) {
            grant.state = confirm::GrantState::Settled;
        }
        // What was answered with keys is not answered again.
        self.answers
            .retain(|_, outcome| !matches!(outcome, Outcome::Result(value) if value.get("grants").or(value.get("grant")).is_some()));
        Ok(ConfirmResult { settled: ask.grant_ids.clone() })
    }

    pub(super) fn heal(&mut self, ask: &Heal, opened: &General) -> Result<HealResult, Refusal> {
        let grant = self.grants.iter().find(|grant| grant.document.grant_id == ask.grant_id);
        let facts = grant.map(grant_facts);
        heal::decide(ask.grant_id, ask.user_id, ask.device_id, ask.chunks.len(), facts.as_ref())?;
        let grant = grant.unwrap();
        let (_, public) = self.entry(&grant.claimant, opened)?;
        let content = ContentKey::new(self.content[&grant.document.title].clone());
        let ids: Vec<ChunkId> = ask.chunks.iter().map(|id| ChunkId(from_base64url(id).unwrap().try_into().unwrap())).collect();
        let keys: Vec<u8> = content.keys_of(&ids).iter().flat_map(|key| *key.expose()).collect();
        let sealed = seal_box(&public.sealing, &["heal", &ask.grant_id.to_string()], &keys, &mut SystemRandom).unwrap();
        Ok(HealResult { keys: serde_json::to_value(sealed).unwrap() })
    }
}

fn grant_facts(grant: &Granted) -> confirm::GrantFacts {
    confirm::GrantFacts { grant: grant.document.grant_id, user: grant.claimant.user, device: grant.claimant.device, state: grant.state }
}
