//! Where updates happen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use counterfoil_core::wire::{PatchOnOffer, WayKind};
use counterfoil_format::content::ReadAt as _;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_terminal::io::{Create, Io, model::DiskModel};
use counterfoil_terminal::update::{Brought, UpdateOptions};
use counterfoil_terminal::*;

use crate::common::releases::*;
use crate::common::*;

/// A library with the first release, and the next one at the contents servers.
pub struct Updating {
    pub world: World,
    pub device: Device,
    pub disk: DiskModel,
}

pub const OLD: usize = 0;
pub const NEW: usize = 1;

impl Updating {
    pub fn new() -> Self {
        // Enough that does not change for packs that both releases have, wherever the key lets the cuts fall.
        let mut still = vec![0; 600_000];
        blake3::Hasher::new().update(b"still").finalize_xof().fill(&mut still);
        let first = release_of(TITLE, "1.0.0", Secret::random(&mut SystemRandom), &[("data/still.bin", still)]);
        let (mut world, device) = (World::with(vec![first]), Device::new("pc 1", "disk 1"));
        let disk = registered(&world, &device);
        world.sell(&world.contents[OLD]);
        install_once(&world.terminal(Arc::new(disk.clone()), &device)).unwrap();
        let next = next_release(&world.contents[OLD], "1.1.0", usual_change);
        world.release(&world.contents[OLD]);
        world.release(&next);
        world.contents.push(next);
        Self { world, device, disk }
    }

    pub fn terminal(&self) -> Terminal {
        self.world.terminal(Arc::new(self.disk.clone()), &self.device)
    }

    pub fn offer(&self, patches: Vec<PatchOnOffer>) {
        let (old, new) = (&self.world.contents[OLD], &self.world.contents[NEW]);
        self.world.offer(old, new, ways(old, new, patches));
    }

    /// Updates, and says which ways were given up on the way, and why.
    pub fn update(&self) -> (Brought, Vec<(WayKind, String)>) {
        let given_up = Mutex::new(vec![]);
        let brought = update_as(&self.terminal(), &UpdateOptions::default(), &|step| {
            if let Step::GivenUp { kind, reason } = step {
                given_up.lock().unwrap().push((kind, reason));
            }
        });
        let brought = brought.unwrap().expect("something is offered");
        plays(&self.world.contents[NEW], &self.terminal()).unwrap();
        (brought, given_up.into_inner().unwrap())
    }

    pub fn patch(&self) -> PatchOnOffer {
        self.world.patch(&self.world.contents[OLD], &self.world.contents[NEW])
    }

    pub fn edit_object(&self, object: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(self.world.authority.contents.objects.lock().unwrap().get_mut(object).unwrap());
    }

    /// Turns over a byte of a pack in the library that both releases have, or of one that only the first one has.
    pub fn damage(&self, shared: bool) {
        let is_wanted = |pack: &str| {
            let has = |content: &Content| content.packs.keys().any(|name| pack.starts_with(&name.to_string()));
            has(&self.world.contents[OLD]) && (has(&self.world.contents[NEW]) == shared)
        };
        let files = self.disk.named_files();
        let is_pack = |path: &PathBuf| path.starts_with(LIBRARY) && path.extension().is_some_and(|extension| extension == "pack");
        let wanted = files.iter().filter(|(path, _)| is_pack(path) && is_wanted(path.file_name().unwrap().to_str().unwrap()));
        let (path, bytes) = wanted.max_by_key(|(_, bytes)| bytes.len()).unwrap_or_else(|| panic!("a pack that is shared: {shared}"));
        let middle = bytes.len() as u64 / 2;
        let file = self.disk.create(path, Create::Resume, 0o644).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, middle).unwrap();
        file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    }

    pub fn verify(&self) -> usize {
        let library = Library::open(&self.terminal(), Path::new(LIBRARY)).unwrap();
        verify(&self.terminal(), &library, &title(), &CardChoice::Default, None, &|_| {}).unwrap().damaged.len()
    }

    pub fn no_plaintext(&self) {
        assert!(!self.disk.all_bytes().iter().any(|bytes| has_plaintext(bytes)), "plaintext on the disk");
        // The device's own secret lies in its home; no key lies in the library.
        for (path, bytes) in self.disk.named_files().iter().filter(|(path, _)| path.starts_with(LIBRARY)) {
            assert_eq!(find_canary(&self.world, bytes), None, "{}", path.display());
        }
    }
}
