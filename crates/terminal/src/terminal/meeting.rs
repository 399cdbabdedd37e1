//! How a terminal comes to know its authority, and goes on knowing it when keys change: from the authority itself, by a medium, or through a gateway
//! that may lie (C16).

use super::{Terminal, key_list};
use crate::error::Result;
use crate::home::{Authority, HomeError, KeysBy};
use crate::succession::{NotFollowed, follow};
use crate::transport::Elsewhere;
use counterfoil_core::wire::AuthorityDocument;

impl Terminal {
    /// The authority that this home knows, or else the one at `--server` or at `urls` (a medium's), which is pinned from now on.
    ///
    /// # Errors
    /// [`crate::transport::TransportError`]; what the system said.
    pub fn meet(&self, urls: &[String]) -> Result<Authority> {
        if let Some(known) = self.authority()? {
            return Ok(known);
        }
        let via = self.via()?;
        let document = self.transport(urls)?.document()?;
        let asked = via.clone().or_else(|| self.setup.server.clone()).or_else(|| urls.first().cloned());
        self.pin(document, via, asked.map(KeysBy::Contact))
    }

    /// [`meet`](Self::meet) with a medium at hand, which says where the authority is and what its keys are (C16): whoever answers in its place
    /// cannot make any that follow on them. What the medium does not vouch for is the word of a gateway, or of a server that is proven by its
    /// certificate, and of nobody else.
    ///
    /// # Errors
    /// [`HomeError::NotByMedium`]; through a gateway [`HomeError::OtherAuthority`] where it shows another authority, or one none of whose keys the
    /// medium knows; as `meet`.
    pub fn meet_by(&self, medium: &AuthorityDocument) -> Result<Authority> {
        if let Some(known) = self.authority()? {
            return Ok(known);
        }
        let via = self.via()?;
        let way = self.transport(&medium.urls)?;
        let document = way.document()?;
        let vouched = document.name == medium.name && follow(&medium.name, &medium.keys, &document.keys).is_ok();
        if vouched {
            return self.pin(document, via, Some(KeysBy::Medium));
        }
        let asked = via.clone().or_else(|| self.setup.server.clone()).or_else(|| medium.urls.first().cloned()).unwrap_or_default();
        match check_same(medium, &document) {
            // One key in common does not say that the others are good.
            Ok(()) if via.is_some() || way.is_guarded() => self.pin(document, via, Some(KeysBy::Contact(asked))),
            Err(error) if via.is_some() => Err(error.into()),
            _ => {
                let (name, shown) = (medium.name.clone(), document.name.clone());
                Err(HomeError::NotByMedium { name, at: asked, shown, fingerprint: self.noted(document).fingerprint() }.into())
            }
        }
    }

    fn pin(&self, document: AuthorityDocument, via: Option<String>, keys_by: Option<KeysBy>) -> Result<Authority> {
        let authority = self.noted(document);
        self.home.remember(|profile| {
            profile.authority = Some(authority.clone());
            profile.keys_by.clone_from(&keys_by);
            profile.via.clone_from(&via);
        })?;
        if let (Some(gateway), Some(KeysBy::Contact(_)), Some(tell)) = (&via, &keys_by, &self.strangers) {
            tell(gateway, &authority);
        }
        Ok(authority)
    }

    /// Asks the authority for its document again: new keys and addresses.
    ///
    /// A gateway could put keys of its own beside the authority's, and read from then on what is sealed to them; so could whoever stands between
    /// where the address is not guarded. By such a way keys that are not known here are believed only where those that are vouch for them
    /// (SPEC §9.3), or the document has the `fingerprint` that the operator tells. Nobody can go back to keys from before what is known.
    ///
    /// Where no authority is known yet, this is the first contact; with a `fingerprint`, the authority has to have that one.
    ///
    /// # Errors
    /// [`HomeError::OtherAuthority`] where name and keys have nothing in common with what is pinned; [`HomeError::KeysUnproven`];
    /// [`HomeError::KeysOutdated`]; [`crate::transport::TransportError`].
    pub fn refresh(&self, fingerprint: Option<&str>) -> Result<Authority> {
        let Some(known) = self.authority()? else { return self.meet_called(fingerprint) };
        let way = self.transport(&known.document.urls)?;
        let between = match self.via()? {
            None if way.is_guarded() => None,
            None => Some(self.setup.server.clone().or_else(|| known.document.urls.first().cloned()).unwrap_or_default()),
            via => via,
        };
        self.adopt(&known, way.document()?, fingerprint, between)
    }

    /// The first contact, with an authority whose fingerprint may have been told.
    fn meet_called(&self, fingerprint: Option<&str>) -> Result<Authority> {
        let Some(told) = fingerprint else { return self.meet(&[]) };
        let via = self.via()?;
        let document = self.transport(&[])?.document()?;
        let (shown, asked) = (self.noted(document.clone()), via.clone().or_else(|| self.setup.server.clone()).unwrap_or_default());
        if !shown.is_called(told) {
            return Err(HomeError::KeysUnproven { gateway: asked, fingerprint: shown.fingerprint() }.into());
        }
        self.pin(document, via, Some(KeysBy::Contact(asked)))
    }

    /// [`refresh`](Self::refresh) unasked, where an answer shows that the authority has changed its keys: only at the addresses that are
    /// pinned, and only where nobody in between can answer in its place. `None` where that cannot be, or brought nothing new.
    pub(crate) fn renew(&self, known: &Authority) -> Option<Authority> {
        // Through a gateway nobody is asked who could not speak for the authority; what it shows has to fit the keys that are pinned.
        let transport = match self.via().ok()? {
            Some(_) => self.transport(&[]).ok()?,
            None => (self.connect)(&known.document.urls, Elsewhere::Follow).ok().filter(|transport| transport.is_guarded())?,
        };
        // What went wrong with this is beside the point: whoever called has a reason to report already, with `authority refresh` as hint.
        let renewed = self.adopt(known, transport.document().ok()?, None, self.via().ok()?).ok()?;
        Some(renewed).filter(|renewed| renewed.document != known.document)
    }

    /// Believes a document, where it is of the authority that is known; `between` is who could have made it up.
    fn adopt(&self, known: &Authority, document: AuthorityDocument, told: Option<&str>, between: Option<String>) -> Result<Authority> {
        let followed = follow(&known.document.name, &known.document.keys, &document.keys);
        let authority = self.noted(document);
        let named = told.is_some_and(|told| authority.is_called(told));
        match followed {
            // The keys that are known vouch for all of them, whether they are listed still or not.
            Ok(()) if known.document.name == authority.document.name => {}
            _ if named => check_same(&known.document, &authority.document)?,
            Err(NotFollowed::Older { shown, known }) => return Err(HomeError::KeysOutdated { shown, known }.into()),
            _ => {
                check_same(&known.document, &authority.document)?;
                if let Some(gateway) = between {
                    return Err(HomeError::KeysUnproven { gateway, fingerprint: authority.fingerprint() }.into());
                }
            }
        }
        self.home.remember(|profile| profile.authority = Some(authority.clone()))?;
        Ok(authority)
    }

    /// A document as it is kept: how its keys came to be is of no use any more.
    fn noted(&self, mut document: AuthorityDocument) -> Authority {
        document.keys.chain = vec![];
        Authority { document, pinned_at: self.clock.now() }
    }
}

/// Retired keys stay listed, so an authority that has merely rotated its keys still shows one that was known before.
fn check_same(known: &AuthorityDocument, shown: &AuthorityDocument) -> std::result::Result<(), HomeError> {
    let pinned = known.name.clone();
    if shown.name != pinned {
        return Err(HomeError::OtherAuthority { pinned, found: format!("`{}` answered", shown.name) });
    }
    let kept = key_list(known).keys.iter().any(|key| {
        let found = key_list(shown).find(&key.kid).and_then(|found| found.verifying_key());
        found.is_some() && found == key.verifying_key()
    });
    if kept { Ok(()) } else { Err(HomeError::OtherAuthority { pinned, found: "none of its keys is known here any more".into() }) }
}
