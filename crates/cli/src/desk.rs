//! Desks: a shop's or a repair centre's, which speaks to the authority with a token of its role and remembers it in a profile of its own.

use std::path::Path;

use serde::Deserialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::publisher::api::Api;
use crate::publisher::profile::Profile;

/// Which desk.
pub struct Desk {
    /// Where it is remembered.
    pub profile: &'static str,
    /// As in `the shop's`.
    pub whose: &'static str,
    /// Roles whose tokens it takes, its own first.
    pub roles: &'static [&'static str],
    /// What a token of another role does, as in `registers nobody`.
    pub otherwise: &'static str,
}

#[derive(Deserialize)]
struct WhoAmI {
    role: String,
}

impl Desk {
    /// The authority, spoken to with the desk's token: the one in the file, which is remembered, or one that is known.
    pub fn connect(&self, context: &Context, token_file: Option<&Path>) -> Result<Api, Failure> {
        let known = match Profile::load_from(&context.home, self.profile)? {
            Some(known) => Some(known),
            // An operator may do all that is done at desks.
            None => Profile::load(&context.home)?,
        };
        let missing = |what: &str, give: &str| Failure::usage(format!("{what} is missing")).hint(format!("Give {give}."));
        let given = match token_file {
            Some(path) => Some(files::read_token(path)?),
            None => context.environment_token(),
        };
        let no_token = || missing(&format!("{} token", self.whose), "`--token-file FILE` or COUNTERFOIL_TOKEN");
        if given.is_none() && known.is_none() {
            return Err(no_token());
        }
        let server = context.server.clone().or_else(|| known.as_ref().map(|known| known.server.clone()));
        let server = server.ok_or_else(|| missing("the address of the authority", "`--server URL`"))?;
        let token = match (given, &known) {
            (Some(token), _) => token,
            (None, Some(known)) => known.token_for(&server)?,
            (None, None) => return Err(no_token()),
        };
        let ca = context.absolute_ca()?.or_else(|| known.as_ref().and_then(|known| known.ca.clone()));
        let api = Api::new(&server, &token, ca.as_deref())?;
        if token_file.is_some() {
            let me: WhoAmI = api.get("/v1/whoami")?;
            if !self.roles.contains(&me.role.as_str()) {
                return Err(Failure::refused("forbidden", format!("a token of role {} {}", me.role, self.otherwise))
                    .hint(format!("Ask the operator for a token of role {}.", self.roles[0])));
            }
            Profile { server: api.server().to_owned(), token, publisher: None, ca }.save_to(&context.home, self.profile)?;
        }
        Ok(api)
    }
}
