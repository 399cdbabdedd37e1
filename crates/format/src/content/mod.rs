//! Content on its way from the publisher to the library: cut, compressed, sealed, packed, listed, read at any offset.
//!
//! How the parts fit (bytes in `SPEC.md` §1–§5):
//!
//! - A publisher calls [`publish`] with a [`ContentKey`] and a [`PackSink`]; what comes back is signed as a [`Release`].
//! - A terminal checks the release ([`Release::verify`]), opens its manifest ([`Release::open_manifest`]), and brings each
//!   pack under the library key with a [`Transcrypter`]; packs are independent, so several threads can each take one.
//! - [`Reader`] reads files from packs at any offset, under content key or library key alike: both give [`ChunkKeys`].
//! - [`verify_pack`] names what is damaged, [`repair_pack`] heals exactly that from any other source of the same packs.
//!
//! Nothing here knows a clock, a network or a source of randomness, and no plaintext is ever handed to a `Write`.

mod cache;
mod chunk;
mod codec;
mod cut;
mod delta;
mod feed;
mod healing;
mod keys;
mod manifest;
mod names;
mod object;
mod pack;
mod patch;
mod path;
mod publish;
mod reader;
mod release;
mod seal;
mod transcrypt;
mod tree;
mod verify;

pub use chunk::{ChunkError, Codec, Decoder, Encoder, MAX_PLAIN, OVERHEAD, TAG_LEN};
pub use codec::{ManifestError, limits};
pub use cut::{AVERAGE_CHUNK, Cutter, MAX_CHUNK, MIN_CHUNK};
pub use delta::{DELTA_HEAD, DELTA_NEW, DELTA_OLD, DeltaError, DeltaFront, DeltaGroup, DeltaIndex, DeltaSealer, delta_front_length};
pub use feed::{FEED_TYP, FRESH_TYP, Feed, FeedError, Fresh, ListedRelease, MAX_FEED, MAX_LISTED, MAX_NOTES, MAX_VALIDITY};
pub use healing::{HealingKeys, OpenChunk};
pub use keys::{ChunkIdKey, ChunkKeys, ChunkSealKey, ContentKey, DeltaKey, LibraryKey, PatchKey, WRAPPED_ID_KEY_LEN};
pub use manifest::{ChunkRef, Entry, EntryKind, Manifest, ManifestBuilder, PackRef, Run};
pub use names::{ChunkId, ObjectName};
pub use object::{ObjectError, ObjectReader, ReadAt, check_object};
pub use pack::{DirectorySink, PackSink, PackedObject};
pub use patch::{PATCH_SEGMENT, PatchError, PatchHeader, PatchWriter, SealedPatch, good_patch_bytes};
pub use path::{PathError, PathRule, check_link, check_path, fold_name};
pub use publish::{PublishError, PublishOptions, PublishProgress, Published, Reused, publish};
pub use reader::{FileView, ReadError, Reader};
pub use release::{Kind, ManifestRef, RELEASE_TYP, Release, ReleaseError};
pub use transcrypt::{GoodPrefix, TranscryptError, Transcrypter, good_prefix, transcrypt_manifest};
pub use tree::{Found, FoundKind, TreeError, walk};
pub use verify::{Affected, Damage, DamageKind, PackReport, affected, repair_pack, verify_pack};
