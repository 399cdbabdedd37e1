//! The part of the authority in memory that signs licenses, and renews them.

use super::*;
use counterfoil_core::license::LICENSE_TYP;

/// How long licenses are good without anybody being asked, and their grace, in days.
#[derive(Clone, Copy)]
pub struct Lease {
    pub days: i64,
    pub grace_days: i64,
}

impl State {
    /// The authority's clock.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or(NOW)
    }

    pub(super) fn sign_license(&self, licensed: &Licensed, grant: GrantId) -> String {
        let now = self.now().seconds();
        let day = Timestamp::DAY / 1000;
        let license = License {
            iss: "test-authority".into(),
            sub: licensed.license,
            jti: format!("{grant} {now}"),
            iat: now,
            exp: self.lease.map(|lease| now + lease.days * day),
            grace: self.lease.map_or(0, |lease| lease.grace_days * day),
            ends: false,
            cnf: LicensedDevice { kid: licensed.device },
            title: licensed.title.clone(),
            release: self.on_sale[&licensed.title].0.release.clone(),
            grant,
            trial: false,
            devices: 1,
            control_program: self.control_program,
            attributes: Default::default(),
        };
        let (kid, key) = self.signs.as_ref().unwrap();
        sign_compact(LICENSE_TYP, kid, &license, key)
    }

    pub(super) fn renew(&mut self, ask: &Renew, opened: &General) -> Result<RenewResult, Refusal> {
        self.device_signed(ask.user_id, ask.device_id, opened)?;
        let held = |licensed: &&Licensed| licensed.license == ask.license_id && licensed.device == ask.device_id && !licensed.ended;
        let licensed = self.licenses.iter().find(held).ok_or(Code::LicenseEnded)?;
        let grant = licensed.grant.ok_or(Code::LicenseEnded)?;
        Ok(RenewResult { license: self.sign_license(licensed, grant) })
    }
}
