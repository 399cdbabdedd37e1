//! `counterfoild gateway reconcile`

use super::{Failure, Global, open};
use crate::gateway::driver::Learned;
use crate::gateway::reconcile::{self, Compared, Difference};

/// Compares, prints, and fails where there are differences.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let app = open(global).await?;
    let compared = reconcile::compare(&app).await.map_err(|error| match error {
        Learned::Authority(error) => {
            Failure::operation(error).hint("`counterfoild gateway doctor` looks at the way to the authority. Nothing was compared.")
        }
        Learned::Db(error) => error.into(),
    })?;
    app.db.close().await;
    global.print(&compared, told)?;
    match compared.differences.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} exchanges stand otherwise at the authority"))
            .hint("Keep both databases as they are, and compare each exchange with the authority's operator.")),
    }
}

fn told(compared: &Compared) -> String {
    let mut lines: Vec<String> = compared.differences.iter().map(line).collect();
    lines.push(format!("{} compared, {} under way, {} differ", compared.compared, compared.under_way, compared.differences.len()));
    lines.join("\n")
}

fn line(difference: &Difference) -> String {
    let here = difference.gateway.map_or("not there", |state| state.as_str());
    let there = difference.authority.map_or("not there", |state| state.as_str());
    format!("{}  {}  (gateway: {here}; authority: {there})", difference.exchange_id, difference.what)
}
