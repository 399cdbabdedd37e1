//! What a pressing run has done so far, kept in its output directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use counterfoil_core::{BatchId, MediumId, ReleaseVersion, Rights, TitleId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Form;
use crate::failure::Failure;
use crate::files;
use crate::publisher::api::Api;

/// The list of media: serial, medium ID, path.
pub const LIST: &str = "media.csv";
const STATE: &str = ".press.json";
const HEADING: &str = "serial,medium_id,path\n";

/// What was ordered. A repeated command must order the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub titles: Vec<TitleId>,
    pub version: Option<ReleaseVersion>,
    pub count: Option<u64>,
    /// Hash of the file of imported IDs.
    pub imported: Option<String>,
    pub form: Form,
    pub rights: Rights,
    #[serde(default)]
    pub paid_on_copy: bool,
    pub with_client: bool,
    pub name: Option<String>,
}

/// A batch as the authority describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Batch {
    pub batch: BatchId,
    pub count: u64,
    pub titles: Vec<TitleInBatch>,
}

/// A title of a batch, with the release that was the newest when the batch was made.
#[derive(Clone, Debug, Deserialize)]
pub struct TitleInBatch {
    pub title: TitleId,
    pub version: ReleaseVersion,
}

#[derive(Serialize, Deserialize)]
struct Record {
    order: Order,
    /// Idempotency key of making the batch: stored before asking, so that asking again makes no second batch.
    key: String,
    batch: Option<BatchId>,
    /// IDs imported, once they are.
    imported: Option<u64>,
    /// Serial up to which every medium is written and durable.
    done: u64,
    /// Length of the list when that was so.
    listed: u64,
}

/// The run, and the file that it is recorded in.
pub struct State {
    out: PathBuf,
    record: Record,
}

impl State {
    /// A new run, or the one that `out` holds.
    ///
    /// # Errors
    /// `other_press`: `out` holds another one.
    pub fn begin(out: &Path, order: Order, batch: Option<BatchId>) -> Result<Self, Failure> {
        // Until they are handed out, what media prove themselves by is nobody else's.
        files::create_private_directory(out)?;
        let path = out.join(STATE);
        let record = match fs::read(&path) {
            Ok(bytes) => {
                let record: Record = serde_json::from_slice(&bytes)
                    .map_err(|error| Failure::operation("state_invalid", format!("{} is damaged: {error}", path.display())))?;
                let other_batch = batch.is_some_and(|asked| record.batch.is_some_and(|known| known != asked));
                let other_order = record.order != order && Order { count: record.order.count, ..order.clone() } != record.order;
                let other_count = order.count.is_some() && order.count != record.order.count;
                if other_batch || other_order || other_count {
                    let fact = format!("{} holds another pressing than the one asked for", out.display());
                    return Err(Failure::refused("other_press", fact)
                        .hint("Repeat the first command to go on with it, or press into another directory."));
                }
                record
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = fresh_key();
                Record { order, key, batch, imported: None, done: 0, listed: 0 }
            }
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        let state = Self { out: out.to_owned(), record };
        state.save()?;
        Ok(state)
    }

    /// The batch at the authority, made if this is the first time.
    pub fn batch(&mut self, api: &Api) -> Result<Batch, Failure> {
        if let Some(batch) = self.record.batch {
            return api.get(&format!("/v1/batches/{batch}"));
        }
        let order = &self.record.order;
        let titles: Vec<_> = order.titles.iter().map(|title| json!({ "title": title, "version": order.version })).collect();
        let mut body = json!({ "titles": titles, "rights": order.rights });
        if order.paid_on_copy {
            body["paid_on_copy"] = json!(true);
        }
        if let Some(name) = &order.name {
            body["name"] = json!(name);
        }
        if order.paid_on_copy {
            body["paid_on_copy"] = json!(true);
        }
        match order.imported {
            Some(_) => body["imported"] = json!(true),
            None => body["count"] = json!(order.count),
        }
        let batch: Batch = api.post("/v1/batches", Some(&self.record.key), &body)?;
        self.record.batch = Some(batch.batch);
        self.save()?;
        Ok(batch)
    }

    /// Whether the IDs of the file are at the authority.
    pub fn imported(&self) -> bool {
        self.record.imported.is_some()
    }

    /// They are, this many.
    pub fn set_imported(&mut self, count: u64) -> Result<(), Failure> {
        self.record.imported = Some(count);
        self.save()
    }

    /// How many media there are to be.
    pub fn media(&self, batch: &Batch) -> u64 {
        self.record.imported.unwrap_or(batch.count)
    }

    /// Serial up to which every medium is written.
    pub fn done(&self) -> u64 {
        self.record.done
    }

    /// Every medium up to `serial` is durable, and so are `listed` bytes of the list.
    pub fn mark(&mut self, serial: u64, listed: u64) -> Result<(), Failure> {
        (self.record.done, self.record.listed) = (serial, listed);
        self.save()
    }

    /// The list of media, to be gone on with.
    pub fn list(&self) -> Result<List, Failure> {
        let path = self.out.join(LIST);
        let open = || -> std::io::Result<List> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.set_len(self.record.listed)?;
            let mut length = file.seek(SeekFrom::End(0))?;
            if length == 0 {
                file.write_all(HEADING.as_bytes())?;
                length = HEADING.len() as u64;
            }
            Ok(List { path: path.clone(), out: self.out.clone(), file: std::io::BufWriter::new(file), length })
        };
        open().map_err(|error| Failure::file("write", &path, &error))
    }

    fn save(&self) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(&self.record).expect("the record is plain data with text keys");
        files::replace(&self.out.join(STATE), &bytes, 0o644)
    }
}

/// `media.csv` while it is written.
pub struct List {
    path: PathBuf,
    out: PathBuf,
    file: std::io::BufWriter<File>,
    length: u64,
}

impl List {
    /// One more medium.
    pub fn add(&mut self, serial: u64, id: &MediumId, path: &Path) -> Result<(), Failure> {
        // Neither IDs nor the names made here hold anything that CSV would need quotes for.
        let line = format!("{serial},{id},{}\n", path.strip_prefix(&self.out).unwrap_or(path).display());
        self.length += line.len() as u64;
        self.file.write_all(line.as_bytes()).map_err(|error| Failure::file("write", &self.path, &error))
    }

    /// Makes it durable, and says how long it is.
    pub fn settle(&mut self) -> Result<u64, Failure> {
        let result = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        result.map(|()| self.length).map_err(|error| Failure::file("write", &self.path, &error))
    }
}

fn fresh_key() -> String {
    use counterfoil_format::secret::{Random as _, SystemRandom};
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(count: u64) -> Order {
        Order {
            titles: vec!["sky-raider".parse().expect("a title")],
            version: None,
            count: Some(count),
            imported: None,
            form: Form::Dir,
            rights: Rights::default(),
            paid_on_copy: false,
            with_client: false,
            name: None,
        }
    }

    #[test]
    fn a_run_goes_on_where_its_mark_is_and_forgets_what_was_listed_after() {
        let out = tempfile::tempdir().expect("a directory");
        let id: MediumId = "DISC-0001".parse().expect("an ID");
        let mut state = State::begin(out.path(), order(2), None).expect("begun");
        let key = state.record.key.clone();
        let mut list = state.list().expect("made");
        list.add(1, &id, &out.path().join("0001")).expect("added");
        state.mark(1, list.settle().expect("settled")).expect("marked");
        list.add(2, &id, &out.path().join("0002")).expect("added");
        list.settle().expect("on disk, but not marked");

        let state = State::begin(out.path(), order(2), None).expect("resumed");
        assert_eq!((state.done(), &state.record.key), (1, &key));
        state.list().expect("cut back").settle().expect("settled");
        assert_eq!(fs::read_to_string(out.path().join(LIST)).expect("there"), format!("{HEADING}1,DISC-0001,0001\n"));
    }

    #[test]
    fn b1_what_is_pressed_is_its_owners_until_it_is_handed_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let place = tempfile::tempdir().expect("a directory");
        let (new, shared) = (place.path().join("a/new"), place.path().join("shared"));
        State::begin(&new, order(2), None).expect("begun");
        assert_eq!(mode(&new), 0o700);
        // A directory that somebody has made is as they want it.
        fs::create_dir(&shared).expect("made");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).expect("chmod");
        State::begin(&shared, order(2), None).expect("begun");
        assert_eq!(mode(&shared), 0o755);
    }

    #[test]
    fn another_order_into_the_same_directory_is_refused() {
        let out = tempfile::tempdir().expect("a directory");
        State::begin(out.path(), order(2), None).expect("begun");
        let refused = |order| State::begin(out.path(), order, None).map(|_| ()).expect_err("another order").code;
        assert_eq!(refused(order(3)), "other_press");
        assert_eq!(refused(Order { paid_on_copy: true, ..order(2) }), "other_press");
        assert_eq!(refused(Order { with_client: true, ..order(2) }), "other_press");
        // Without a count: "go on with what is there".
        assert!(State::begin(out.path(), Order { count: None, ..order(2) }, None).is_ok());
    }
}
