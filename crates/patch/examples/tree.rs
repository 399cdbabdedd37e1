//! Differences between two directories, to measure the engine by itself.
//!
//!     tree diff OLD NEW PATCH
//!     tree apply OLD PATCH OUT
//!
//! Files that both have alike, by name or by content, cost nothing but their names; the names are written plainly, which releases do better.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use counterfoil_patch::{Files, Limits, Options, ReadAt, Sink, apply, make};

struct Opened(Vec<(File, u64)>);

impl Opened {
    fn of(root: &Path, paths: &[PathBuf]) -> io::Result<Self> {
        let open = |path: &PathBuf| {
            let file = File::open(root.join(path))?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        Ok(Opened(paths.iter().map(open).collect::<io::Result<_>>()?))
    }
}

impl Files for Opened {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn length(&self, file: usize) -> u64 {
        self.0[file].1
    }

    fn read_exact_at(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0[file].0.read_exact_at(buffer, offset)
    }
}

struct Part {
    file: File,
    start: u64,
    length: u64,
}

impl ReadAt for Part {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start + offset)
    }
}

struct Tree {
    root: PathBuf,
    paths: Vec<PathBuf>,
    current: Option<BufWriter<File>>,
}

impl Sink for Tree {
    fn begin(&mut self, file: usize, _: u64) -> io::Result<()> {
        if let Some(mut last) = self.current.take() {
            last.flush()?;
        }
        self.current = Some(BufWriter::new(create(&self.root.join(&self.paths[file]))?));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)
}

fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => walk(root, &path, found)?,
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Names of old files that take part, names of new ones to make, and new ones that are a copy of an old one.
#[derive(Default)]
struct Names {
    old: Vec<PathBuf>,
    new: Vec<PathBuf>,
    copies: Vec<(PathBuf, PathBuf)>,
}

impl Names {
    fn compare(old: &Path, new: &Path) -> io::Result<Self> {
        let (mut olds, mut news) = (Vec::new(), Vec::new());
        walk(old, Path::new(""), &mut olds)?;
        walk(new, Path::new(""), &mut news)?;
        let contents: HashMap<Vec<u8>, PathBuf> =
            olds.iter().rev().map(|path| Ok((fs::read(old.join(path))?, path.clone()))).collect::<io::Result<_>>()?;
        let mut names = Names::default();
        for path in news {
            let content = fs::read(new.join(&path))?;
            match contents.get(&content) {
                Some(copy) => names.copies.push((copy.clone(), path)),
                None => names.new.push(path),
            }
        }
        let same: std::collections::HashSet<&PathBuf> = names.copies.iter().filter(|(from, to)| from == to).map(|(from, _)| from).collect();
        names.old = olds.iter().filter(|path| !same.contains(path)).cloned().collect();
        Ok(names)
    }

    fn write(&self) -> Vec<u8> {
        let lines = |paths: &[PathBuf]| paths.iter().map(|path| format!("{}\n", path.display())).collect::<String>();
        let copies: String = self.copies.iter().map(|(from, to)| format!("{}\n{}\n", from.display(), to.display())).collect();
        format!("{} {} {}\n{}{}{}", self.old.len(), self.new.len(), self.copies.len(), lines(&self.old), lines(&self.new), copies)
            .into_bytes()
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let counts: Vec<usize> = lines.next()?.split(' ').map(|count| count.parse().ok()).collect::<Option<_>>()?;
        let mut take = |count: usize| (0..count).map(|_| lines.next().map(PathBuf::from)).collect::<Option<Vec<_>>>();
        let (old, new, copies) = (take(*counts.first()?)?, take(*counts.get(1)?)?, take(2 * counts.get(2)?)?);
        Some(Names { old, new, copies: copies.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect() })
    }
}

fn diff(old: &Path, new: &Path, patch: &Path) -> io::Result<()> {
    let names = Names::compare(old, new)?;
    let mut file = BufWriter::new(File::create(patch)?);
    let text = names.write();
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;
    let (old, new) = (Opened::of(old, &names.old)?, Opened::of(new, &names.new)?);
    let made = make(&old, &new, &Options::default(), &mut file, &mut |_| ()).map_err(io::Error::other)?;
    file.flush()?;
    for stream in &made.streams {
        println!("{:12} {:>12} {:>10}", stream.name, stream.raw, stream.written);
    }
    println!("{:12} {:>12} {:>10}", "all", "", made.length);
    Ok(())
}

fn patched(old: &Path, patch: &Path, out: &Path) -> io::Result<()> {
    let mut file = File::open(patch)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut text = vec![0; u64::from_le_bytes(length) as usize];
    file.read_exact(&mut text)?;
    let start = 8 + text.len() as u64;
    let names =
        String::from_utf8(text).ok().and_then(|text| Names::read(&text)).ok_or_else(|| io::Error::other("the names are damaged"))?;
    let part = Part { length: file.metadata()?.len() - start, file, start };
    let mut tree = Tree { root: out.to_owned(), paths: names.new, current: None };
    apply(&Opened::of(old, &names.old)?, &part, &Limits::default(), &mut tree, &mut |_| ()).map_err(io::Error::other)?;
    if let Some(mut last) = tree.current.take() {
        last.flush()?;
    }
    for (from, to) in names.copies {
        io::copy(&mut File::open(old.join(from))?, &mut create(&out.join(to))?)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["diff", old, new, patch] => diff(Path::new(old), Path::new(new), Path::new(patch)),
        ["apply", old, patch, out] => patched(Path::new(old), Path::new(patch), Path::new(out)),
        _ => Err(io::Error::other("tree diff OLD NEW PATCH | tree apply OLD PATCH OUT")),
    }
}
