//! Where wrapped secrets lie: each place says what it is wrapped under, and what it is bound to.

use std::fmt;

use counterfoil_format::wrap::RowId;

/// What a key-encryption key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Purpose {
    /// Content keys.
    Content,
    /// Library keys.
    Library,
    /// The keys that claim secrets are derived from.
    Claim,
    /// Secrets that people and their devices are told from others by.
    Device,
    /// The authority's signing and sealing keys, and what it signs to webhooks with.
    Authority,
}

impl Purpose {
    /// All there are.
    pub const ALL: [Purpose; 5] = [Self::Content, Self::Library, Self::Claim, Self::Device, Self::Authority];

    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Library => "library",
            Self::Claim => "claim",
            Self::Device => "device",
            Self::Authority => "authority",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// The place of one wrapped secret. It opens nowhere else: swapping rows is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// `content_key.wrapped`
    ContentKey {
        /// Title.
        title: &'a str,
        /// Which of its keys.
        generation: u32,
    },
    /// `grants.library_key`
    LibraryKey {
        /// Medium ID.
        medium: &'a str,
        /// Grant ID.
        grant: &'a str,
    },
    /// `license.library_key`
    LicenseKey {
        /// User ID.
        user: &'a str,
        /// Grant ID: the row has another after it was moved or issued again.
        grant: &'a str,
    },
    /// `save_key.wrapped`
    SaveKey {
        /// User ID.
        user: &'a str,
        /// Title.
        title: &'a str,
    },
    /// No row: the right to send the bytes of one upload, which its device keeps for us
    UploadTicket,
    /// `batch.claim_key`
    ClaimKey {
        /// Batch ID.
        batch: &'a str,
    },
    /// `user_device.secret`
    DeviceSecret {
        /// User ID.
        user: &'a str,
        /// Device ID.
        device: &'a str,
    },
    /// `account.totp`
    TotpSecret {
        /// User ID.
        user: &'a str,
    },
    /// `outbox.payload`: the ticket in a mail that waits
    MailedTicket {
        /// User ID.
        user: &'a str,
        /// Operation ID.
        operation: &'a str,
    },
    /// No row: what a browser keeps for us between two steps
    Between {
        /// Of what.
        purpose: &'a str,
    },
    /// `webhook_secret.wrapped`
    WebhookSecret {
        /// Webhook ID.
        webhook: &'a str,
        /// Which of its secrets.
        number: u32,
    },
    /// `gateway_issuer.wrapped`
    GatewayIssuer {
        /// Its name.
        issuer: &'a str,
    },
    /// `authority_key.wrapped`
    AuthorityKey {
        /// Its name.
        kid: &'a str,
    },
}

impl Place<'_> {
    /// What it is wrapped under.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::ContentKey { .. } => Purpose::Content,
            Self::LibraryKey { .. } | Self::LicenseKey { .. } | Self::SaveKey { .. } => Purpose::Library,
            Self::ClaimKey { .. } => Purpose::Claim,
            Self::DeviceSecret { .. } | Self::TotpSecret { .. } | Self::MailedTicket { .. } | Self::Between { .. } | Self::UploadTicket => {
                Purpose::Device
            }
            Self::AuthorityKey { .. } | Self::WebhookSecret { .. } | Self::GatewayIssuer { .. } => Purpose::Authority,
        }
    }

    /// Lends the row's name to `then`.
    pub(super) fn row<R>(&self, then: impl FnOnce(&RowId<'_>) -> R) -> R {
        match self {
            Self::ContentKey { title, generation } => {
                let text = generation.to_string();
                then(&RowId { table: "content_key", key: &[title, &text], column: "wrapped", version: *generation })
            }
            Self::LibraryKey { medium, grant } => {
                then(&RowId { table: "grants", key: &[medium, grant], column: "library_key", version: 0 })
            }
            Self::LicenseKey { user, grant } => then(&RowId { table: "license", key: &[user, grant], column: "library_key", version: 0 }),
            Self::SaveKey { user, title } => then(&RowId { table: "save_key", key: &[user, title], column: "wrapped", version: 0 }),
            Self::UploadTicket => then(&RowId { table: "", key: &["upload ticket"], column: "", version: 0 }),
            Self::ClaimKey { batch } => then(&RowId { table: "batch", key: &[batch], column: "claim_key", version: 0 }),
            Self::DeviceSecret { user, device } => {
                then(&RowId { table: "user_device", key: &[user, device], column: "secret", version: 0 })
            }
            Self::TotpSecret { user } => then(&RowId { table: "account", key: &[user], column: "totp", version: 0 }),
            Self::MailedTicket { user, operation } => {
                then(&RowId { table: "outbox", key: &[user, operation], column: "payload", version: 0 })
            }
            Self::Between { purpose } => then(&RowId { table: "", key: &[purpose], column: "", version: 0 }),
            Self::WebhookSecret { webhook, number } => {
                let text = number.to_string();
                then(&RowId { table: "webhook_secret", key: &[webhook, &text], column: "wrapped", version: *number })
            }
            Self::GatewayIssuer { issuer } => then(&RowId { table: "gateway_issuer", key: &[issuer], column: "wrapped", version: 0 }),
            Self::AuthorityKey { kid } => then(&RowId { table: "authority_key", key: &[kid], column: "wrapped", version: 0 }),
        }
    }
}

/// For messages about rows that do not open: names, no secrets.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.row(|row| write!(f, "{}.{} of {}", row.table, row.column, row.key.join(" / ")))
    }
}
