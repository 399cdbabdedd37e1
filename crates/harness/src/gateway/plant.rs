//! Bugs put in on purpose: what a gateway or an authority that lost money or keys would have left behind.

use super::house::House;
use crate::{authority::Failure, database::Database};

/// A bug put in on purpose; all but two at the end, before everything is asked for and compared. SQLite only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The gateway forgets a charge after the authority has carried it out.
    ForgetCharge,
    /// The gateway voids a charge although the authority has carried it out; its own books are in order.
    VoidCommitted,
    /// A charge is taken from an account twice.
    DoubleCharge,
    /// Operator and gateway have each other's part, in the ledger and in the exchange alike; the gateway's own books are in order.
    SwapParts,
    /// The authority forgets a key that was paid for.
    ForgetKey,
    /// Whoever got no answer asks again under another ID.
    OtherId,
    /// The gateway's database is put back to what it was some kills before.
    StaleBooks,
}

/// Damages the databases; nothing runs meanwhile.
pub(super) fn apply(plant: Plant, house: &House, authority: &Database) -> Result<(), Failure> {
    // Of an account that holds something.
    let charged = "SELECT x.exchange_id FROM exchange x JOIN balance b ON b.account_id = x.account_id WHERE x.state = 'charged'
                   ORDER BY b.posted DESC, x.exchange_id LIMIT 1";
    let one = |database: &Database, sql: &str| -> Result<String, Failure> {
        database.lines(sql)?.pop().ok_or_else(|| Failure::Broken("there is nothing yet to plant a bug into".into()))
    };
    let unlock = "DROP TRIGGER posting_is_not_changed; DROP TRIGGER posting_is_not_deleted; DROP TRIGGER funding_is_not_deleted;
                  PRAGMA foreign_keys = OFF;";
    let sql = match plant {
        Plant::OtherId | Plant::StaleBooks => return Ok(()),
        Plant::ForgetKey => {
            let paid = "SELECT exchange_id FROM grants WHERE exchange_id IS NOT NULL AND state <> 'revoked' ORDER BY grant_id LIMIT 1";
            let exchange = one(authority, paid)?;
            return authority.execute(&format!("DELETE FROM grants WHERE exchange_id = '{exchange}'"));
        }
        Plant::ForgetCharge => {
            "UPDATE balance SET posted = posted + X.amount WHERE account_id = X.account AND currency = 'EUR';
             UPDATE lot SET remaining = remaining + (SELECT f.amount FROM funding f JOIN posting r USING (account_id, posting_id)
               WHERE r.exchange_id = X.id AND f.lot_id = lot.lot_id) WHERE EXISTS (SELECT 1 FROM funding f JOIN posting r USING (account_id, posting_id)
               WHERE r.exchange_id = X.id AND f.lot_id = lot.lot_id);
             DELETE FROM funding WHERE posting_id IN (SELECT posting_id FROM posting WHERE exchange_id = X.id);
             DELETE FROM posting WHERE exchange_id = X.id; UPDATE exchange SET state = 'lapsed' WHERE exchange_id = X.id;"
        }
        Plant::VoidCommitted => {
            "UPDATE balance SET posted = posted + X.amount WHERE account_id = X.account AND currency = 'EUR';
             UPDATE lot SET remaining = remaining + (SELECT f.amount FROM funding f JOIN posting r USING (account_id, posting_id)
               WHERE r.exchange_id = X.id AND f.lot_id = lot.lot_id) WHERE EXISTS (SELECT 1 FROM funding f JOIN posting r USING (account_id, posting_id)
               WHERE r.exchange_id = X.id AND f.lot_id = lot.lot_id);
             UPDATE posting SET kind = 'void', customer = 0, operator = 0, gateway = 0 WHERE exchange_id = X.id AND kind = 'charge';
             UPDATE exchange SET state = 'voided' WHERE exchange_id = X.id;"
        }
        Plant::DoubleCharge => "UPDATE balance SET posted = MAX(reserved, posted - X.amount) WHERE account_id = X.account AND currency = 'EUR';
             UPDATE lot SET remaining = 0 WHERE account_id = X.account;",
        Plant::SwapParts => "UPDATE posting SET operator = gateway, gateway = operator WHERE exchange_id = X.id;
             UPDATE exchange SET operator_part = amount - operator_part WHERE exchange_id = X.id;",
    };
    let exchange = one(&house.database, charged)?;
    let of = |column: &str| format!("(SELECT {column} FROM exchange WHERE exchange_id = '{exchange}')");
    let sql = sql.replace("X.id", &format!("'{exchange}'")).replace("X.amount", &of("amount")).replace("X.account", &of("account_id"));
    house.database.execute(&format!("{unlock} {sql}"))
}
