//! What can be exported, table by table: each with its columns, what is left out of them, and why whole tables are.
//!
//! A test holds this to the schema: every table and every column is either here or left out with a reason, so that nothing is forgotten and
//! no secret slips in with a new column.

use std::sync::LazyLock;

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Text,
    /// A number.
    Int,
    /// True or false.
    Flag,
    /// RFC 3339, from milliseconds.
    Time,
    /// A JSON document, in place.
    Json,
    /// base64url.
    Bytes,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// In the database.
    pub name: &'static str,
    /// In the export.
    pub shown: &'static str,
    /// How it is written.
    pub form: Form,
}

/// Something that can be exported: the rows of one table, in the order of its key.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// Where it lies.
    pub table: &'static str,
    /// In words.
    pub about: &'static str,
    /// What is exported; the key first.
    pub columns: Vec<Column>,
    /// How many of them the key has.
    pub keys: usize,
    /// Columns that are not, and why.
    pub without: &'static [(&'static str, &'static str)],
}

/// Tables that are not exported, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("audit_head", "the end of each chain: the last record of `audit` says the same"),
    ("person_word", "the words of the names in `people`"),
    ("catalogue_word", "the words of the names in `titles` and `batches`"),
    ("request", "answers that are kept for a day, sealed, in case they have to be repeated"),
    ("outbox", "messages under way"),
    ("content_key", "keys"),
    ("key_encryption_key", "keys"),
    ("setting", "keys of pseudonyms and imports, and notes of the server to itself"),
    ("lease", "which process does what at the moment"),
    ("figure", "counted from the audit log"),
    ("recovery_code", "secrets, hashed"),
    ("entry_recovery", "secrets, hashed"),
    ("ticket", "secrets, hashed"),
    ("save_key", "keys"),
    ("upload_usage", "counted from `uploads`"),
    ("upload_part", "pieces of uploads under way"),
    ("sign_in_name", "hashes of the addresses that `accounts` has"),
    ("webhook_secret", "secrets"),
    ("gateway_token", "secrets, hashed"),
    ("gateway_certificate", "certificates, which gateways keep"),
    ("gateway_issuer", "keys"),
];

const SECRET: &str = "a secret";
const KEY: &str = "a key";

impl Kind {
    /// The kind of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Whether its rows hang from a user.
    pub fn is_of_users(&self) -> bool {
        self.columns[0].name == "user_id"
    }
}

impl Column {
    fn read(text: &'static str) -> Self {
        let (text, shown) = text.split_once('=').map_or((text, None), |(text, shown)| (text, Some(shown)));
        let (name, form) = text.split_once(':').unwrap_or((text, "text"));
        let form = match form {
            "text" => Form::Text,
            "int" => Form::Int,
            "flag" => Form::Flag,
            "time" => Form::Time,
            "json" => Form::Json,
            "bytes" => Form::Bytes,
            other => panic!("the table of kinds is fixed, and has a form {other:?}"),
        };
        Self { name, shown: shown.unwrap_or(name), form }
    }
}

macro_rules! kinds {
    ($($name:literal $table:literal $keys:literal, $about:literal, $columns:literal $(, without $without:expr)?;)*) => {
        /// All there are: people, what they have, what was sold, what was made, who may do what, what was done.
        pub static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| vec![$(
            Kind {
                name: $name,
                table: $table,
                about: $about,
                columns: $columns.split_whitespace().map(Column::read).collect(),
                keys: $keys,
                without: [$(&$without as &[_],)? &[]][0],
            },
        )*]);
    };
}

// Name, table, how many columns its key has, what it is in words, the columns: `name`, `name:form` or `name=shown`, those of the key first.
kinds! {
    "people" "user_info" 1, "people as shops have written them down; `counterfoil import users` takes it",
        "user_id name email address created_by created_at:time erased_at:time";
    "announced_devices" "device_info" 2, "devices as they were announced; `counterfoil import users` takes it",
        "user_id device_id maker model name=device_name created_by created_at:time retired_at:time";
    "users" "user_entry" 1, "user entries",
        "user_id holder_id holder_kind sign_key:bytes seal_key:bytes state generation:int created_at:time";
    "devices" "user_device" 2, "devices in user entries",
        "user_id device_id sign_key:bytes seal_key:bytes name created_at:time", without [("secret", SECRET)];
    "drives" "user_drive" 2, "drives in user entries",
        "user_id drive_id created_at:time";
    "holders" "holder" 1, "cards, and devices that hold their own keys",
        "holder_id kind sign_key:bytes seal_key:bytes user_id state created_at:time";
    "accounts" "account" 1, "how people sign in with a browser",
        "user_id email confirmed_at:time locked_until:time sessions_from:time created_at:time", without [("password", SECRET), ("totp", SECRET), ("totp_step", SECRET), ("failures", "of the moment")];
    "passkeys" "passkey" 2, "passkeys of accounts",
        "user_id credential_id name created_at:time used_at:time", without [("document", KEY)];
    "sessions" "session" 2, "browsers that are signed in",
        "user_id session_id agent created_at:time used_at:time expires_at:time", without [("hash", SECRET)];
    "entitlements" "entitlement" 2, "what users own, and from what",
        "user_id entitlement_id source medium_id order_id title_id state policy:json devices:int transfers:int \
         transfers_since:time expires_at:time ended_at:time created_at:time bound:flag device_id drive_id";
    "licenses" "license" 2, "which device may run what",
        "user_id license_id entitlement_id title_id device_id state moves:int grant_id generation:int holder_id holder_kind \
         drive_id transaction_id lease_until:time created_at:time issued_at:time settled_at:time ended_at:time", without [("library_key", KEY)];
    "orders" "orders" 2, "purchases and their charges",
        "user_id order_id title_id device_id kind currency amount:int payment state actor created_at:time paid_at:time \
         ended_at:time reason exchange_id medium_id request_id",
        without [("request_digest", "a hash of a request that travelled sealed")];
    "balances" "balance" 2, "what users have paid in advance",
        "user_id currency amount:int";
    "balance_entries" "balance_entry" 2, "every change of a balance",
        "user_id entry_id currency amount:int reason order_id actor created_at:time";
    "jobs" "inbox" 2, "what devices have to do",
        "user_id job_id device_id work:json created_at:time done_at:time failed sent_by bytes_done:int bytes_total:int";
    "statuses" "status" 3, "what devices last said they have",
        "user_id device_id title_id channel version document:json reported_at:time";
    "uploads" "upload" 2, "what was handed in; the bytes lie in the contents store",
        "user_id upload_id title_id slot version:int device_id object length:int received:int note state created_at:time \
         expires_at:time completed_at:time swept:flag";
    "repairs" "repair" 2, "what was exchanged in user entries",
        "user_id repair_id kind old_id new_id reason reference overridden:flag sign_key:bytes actor created_at:time";
    "reissues" "reissue" 2, "requests for new cards",
        "user_id reissue_id state holder_id sign_key:bytes seal_key:bytes contact actor created_at:time decided_by \
         decided_at:time reason repair_id";
    "media" "medium" 1, "media with a history of their own; the others of a batch are as it says. `counterfoil import media` takes it",
        "medium_id batch_id serial:int state copies_claimed:int copies_freed:int copies_lost:int epoch:int refreshes:int revision:int \
         most_copies:int rights:json created_at:time";
    "grants" "grants" 2, "keys that were granted of media, without the keys",
        "medium_id grant_id copy:int title_id generation:int user_id holder_id holder_kind device_id drive_id state \
         issued_at:time settled_at:time exchange_id order_id", without [("library_key", KEY)];
    "batches" "batch" 1, "pressing runs",
        "batch_id publisher_id name origin count:int rights:json refreshes:int revision:int most_copies:int paid_on_copy:flag created_at:time", without [("claim_key", KEY)];
    "batch_titles" "batch_title" 2, "what lies on the media of batches",
        "batch_id position:int title_id version";
    "publishers" "publisher" 1, "who publishes",
        "publisher_id name sign_key:bytes created_at:time";
    "titles" "title" 1, "what is published",
        "title_id publisher_id name kind created_at:time";
    "listings" "listing" 1, "what people see of titles, and the terms of sale",
        "title_id summary description on_sale:flag policy:json updated_at:time";
    "prices" "price" 2, "what titles cost",
        "title_id currency amount:int";
    "pictures" "picture" 2, "pictures of titles; the bytes lie in the contents store",
        "title_id position:int object media_type alt";
    "releases" "release" 2, "releases, with the documents that their publishers signed",
        "title_id version number:int channel document generation:int notes critical:flag rollout:int held_at:time \
         withdrawn_at:time allow_back:flag encoder created_at:time";
    "release_objects" "release_object" 3, "which objects of the contents store a release is made of",
        "title_id version object length:int";
    "channels" "channel_minimum" 2, "the oldest release that is still good on a channel",
        "title_id channel number:int";
    "patches" "patch" 3, "data that turns one release into another",
        "title_id from_version to_version object length:int encoder created_at:time";
    "deltas" "delta" 3, "chunks of one release written against another's",
        "title_id from_version to_version object length:int covered:int encoder created_at:time";
    "feeds" "feed" 1, "the signed lists of releases",
        "title_id sequence:int document expires_at:time updated_at:time";
    "rules" "selection_rule" 2, "supplementary titles, and whom they are for",
        "title_id supplement_id condition updated_at:time";
    "contents_servers" "contents_server" 1, "contents servers of others",
        "server_id name url relayed:flag key created_at:time ended_at:time";
    "contents_server_titles" "contents_server_title" 3, "what contents servers of others may select",
        "server_id title_id supplement_id";
    "providers" "provider" 1, "who offers services to media",
        "provider_id name url created_at:time ended_at:time";
    "provider_publishers" "provider_publisher" 2, "whose media a provider may have judged",
        "provider_id publisher_id";
    "gateways" "gateway" 1, "who resells, and under which terms",
        "gateway_id name share:int every_copy:flag created_at:time ended_at:time";
    "gateway_prices" "gateway_price" 3, "what titles cost at gateways",
        "gateway_id title_id currency amount:int";
    "gateway_exchanges" "gateway_exchange" 1, "what was charged for through gateways, and what it paid for",
        "exchange_id gateway_id operation subject order_id grants:json title_id title_name currency amount:int operator_part:int state \
         created_at:time expires_at:time began_at:time decided_at:time refunded_at:time changed_at:time reason share:int",
        without [("digest", "a hash of a request that travelled sealed")];
    "gateway_settlements" "gateway_settlement" 3, "closed months of gateways",
        "gateway_id period currency charges:int refunds:int amount:int share:int closed_at:time actor";
    "gateway_closed_months" "gateway_closed_month" 2, "which months of gateways are closed",
        "gateway_id period closed_at:time actor";
    "gateway_terms" "gateway_terms" 2, "shares of gateways, from a moment on",
        "gateway_id since:time share:int created_at:time actor";
    "tokens" "token" 1, "tokens of the API, without what they are checked by",
        "token_id role tenant name created_at:time expires_at:time revoked_at:time", without [("hash", SECRET)];
    "staff" "staff" 1, "who works at the console",
        "user_id role tenant name created_by created_at:time ended_at:time";
    "webhooks" "webhook" 1, "who is told of what happens, without secrets",
        "webhook_id publisher_id name url events:json created_at:time active_from:time ended_at:time";
    "deliveries" "delivery" 2, "what webhooks were told",
        "webhook_id delivery_id event subject sequence:int payload:json state resent:int attempts:int due_at:time give_up_at:time \
         attempted_at:time status:int error created_at:time ended_at:time";
    "authority_keys" "authority_key" 1, "public keys of this authority",
        "kid purpose public_key:bytes created_at:time retired_at:time", without [("wrapped", KEY)];
    "authority_keys_statements" "authority_keys_statement" 1, "how those keys followed one another, signed",
        "epoch:int statement created_at:time";
    "audit" "audit" 2, "the audit log, each family's chain in its order",
        "family seq:int at:time actor event detail:json prev:bytes hash:bytes";
    "checkpoints" "audit_checkpoint" 1, "signed checkpoints of the audit log",
        "number:int at:time entries:int root:bytes prev:bytes signature";
    "checkpoint_entries" "audit_checkpoint_entry" 2, "the ends of chains that a checkpoint holds",
        "family number:int seq:int hash:bytes";
}
