//! Content that lies on a medium, whether that has an identity or not: a directory, a drive or an image.

use super::{Source, processors};
use crate::copy::CopyError;
use crate::error::Result;
use crate::io::Sequential;
use crate::medium::{Area, LONGEST_MANIFEST, LONGEST_RELEASE, MediumError, layout, read_area};
use counterfoil_core::TitleId;
use counterfoil_format::content::{ObjectName, Release, Transcrypter};
use std::io::{self, Read};
use std::ops::Range;

/// A title in a content area.
pub(crate) struct OnArea<'a> {
    pub area: &'a dyn Area,
    pub title: &'a TitleId,
}

impl OnArea<'_> {
    /// The release document as it lies there, not verified.
    pub fn token(&self) -> Result<String> {
        let file = layout::release(self.title);
        let token = match read_area(self.area, &file, LONGEST_RELEASE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(MediumError::NoContent(self.title.clone()).into()),
            Err(source) => return Err(MediumError::Unreadable { file, offset: 0, source }.into()),
            Ok(token) => token,
        };
        let token = String::from_utf8(token).map_err(|_| self.wrong("the release document is not text".into()))?;
        Ok(token.trim_end().to_owned())
    }

    fn wrong(&self, reason: String) -> MediumError {
        MediumError::NotAuthentic { title: self.title.clone(), reason }
    }
}

impl Source for OnArea<'_> {
    fn manifest(&self, release: &Release) -> Result<Vec<u8>> {
        let file = layout::manifest(self.title, &release.manifest.object);
        let sealed = read_area(self.area, &file, LONGEST_MANIFEST.min(release.manifest.length))
            .map_err(|source| MediumError::Unreadable { file, offset: 0, source })?;
        release.check_manifest_object(&sealed).map_err(|error| self.wrong(error.to_string()))?;
        Ok(sealed)
    }

    fn pack(&self, pack: &ObjectName, range: Range<u64>) -> Result<Box<dyn Read + Send + '_>> {
        let file = layout::pack(self.title, pack);
        let opened = self.area.open(&file).map_err(|source| MediumError::Unreadable { file, offset: 0, source })?;
        Ok(Box::new(Sequential::new(opened, range.start).take(range.end - range.start)))
    }

    fn not_authentic(&self, reason: String) -> crate::Error {
        self.wrong(reason).into()
    }

    fn bulk(&self) -> usize {
        Transcrypter::BULK
    }

    fn at_once(&self) -> usize {
        processors()
    }

    fn unreadable(&self, pack: &ObjectName, offset: u64, source: io::Error) -> crate::Error {
        MediumError::Unreadable { file: layout::pack(self.title, pack), offset, source }.into()
    }

    fn damaged(&self, pack: &ObjectName, offset: u64, reason: String) -> crate::Error {
        CopyError::Damaged { file: layout::pack(self.title, pack), offset, reason }.into()
    }
}
