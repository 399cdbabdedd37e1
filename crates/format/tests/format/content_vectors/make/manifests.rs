//! Manifests, most of which nobody should believe.

use serde_json::{Value, json};

use crate::content_support::hostile::RawManifest;
use crate::content_vectors::hex;

pub fn cases() -> Vec<Value> {
    let case = |name: &str, raw: RawManifest| json!({ "name": name, "bytes": hex(&raw.0) });
    let new = RawManifest::new;
    let one_chunk = |entries| new(1, 1, entries).pack(1, 50, 1).chunk(9, 50, 100);
    let good = new(2, 3, 6)
        .pack(1, 150, 2)
        .chunk(9, 50, 100)
        .chunk(8, 100, 300)
        .pack(2, 17 + 1, 1)
        .chunk(7, 18, 1)
        .directory("bin")
        .byte(2)
        .text("bin/game")
        .number(501)
        .number(2)
        .number(0)
        .number(3)
        .number(0)
        .number(1)
        .file("bin/naïve", 0, &[])
        .link("bin/to", "../bin/./game")
        .directory("empty")
        .file("z", 300, &[(1, 1)]);
    let path = |name: &str, path: &str| case(name, new(0, 0, 1).file(path, 0, &[]));
    let link = |name: &str, target: &str| case(name, new(0, 0, 2).directory("d").link("d/l", target));
    let long = "x".repeat(256);
    let deep = vec!["d"; 257].join("/");
    let many = vec!["y".repeat(250); 17].join("/");
    vec![
        case("empty", new(0, 0, 0)),
        case("one of everything", good.clone()),
        case("a byte behind the end", good.clone().byte(0)),
        case("another version", RawManifest(b"CFMANIF2\0\0\0".to_vec())),
        case("nothing", RawManifest(vec![])),
        case("a number that is too long", RawManifest(b"CFMANIF1\x80\x00\0\0".to_vec())),
        case("a number of more than 64 bits", RawManifest(b"CFMANIF1\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\0\0".to_vec())),
        case("a count of 2⁶³ entries", new(0, 0, 1 << 63)),
        case("a count of 2³² chunks", new(1, 1 << 32, 0)),
        case("fewer chunks than announced", new(1, 2, 0).pack(1, 50, 1).chunk(9, 50, 100).bytes(&[0; 40])),
        case("more chunks than announced", new(1, 1, 0).pack(1, 100, 2).chunk(9, 50, 100).chunk(8, 50, 100)),
        case("fewer entries than announced", one_chunk(2).file("a", 100, &[(0, 1)])),
        case("a pack without chunks", new(1, 0, 0).pack(1, 0, 0).bytes(&[0; 40])),
        case("a pack shorter than its chunks", new(1, 2, 0).pack(1, 99, 2).chunk(9, 50, 100).chunk(8, 50, 100)),
        case("a pack longer than its chunks", new(1, 2, 0).pack(1, 101, 2).chunk(9, 50, 100).chunk(8, 50, 100)),
        case("a pack listed twice", new(2, 2, 0).pack(1, 50, 1).chunk(9, 50, 100).pack(1, 50, 1).chunk(8, 50, 100)),
        case("a chunk of no bytes", new(1, 1, 0).pack(1, 17, 1).chunk(9, 17, 0)),
        case("a chunk with nothing but a tag", new(1, 1, 0).pack(1, 17, 1).chunk(9, 17, 1)),
        case("a chunk that is too large", new(1, 1, 0).pack(1, 300_000, 1).chunk(9, 300_000, 100)),
        case("a chunk that decompresses to too much", new(1, 1, 0).pack(1, 50, 1).chunk(9, 50, 262_145)),
        case("a file larger than its chunks", one_chunk(1).file("a", 101, &[(0, 1)])),
        case("a file smaller than its chunks", one_chunk(1).file("a", 99, &[(0, 1)])),
        case("a file without its chunks", one_chunk(1).file("a", 100, &[])),
        case("a chunk that is not there", one_chunk(1).file("a", 100, &[(1, 1)])),
        case("a run beyond the last chunk", one_chunk(1).file("a", 200, &[(0, 2)])),
        case("a run that wraps around", one_chunk(1).file("a", 100, &[(0xffff_ffff, 2)])),
        case("a run of no chunks", one_chunk(1).file("a", 0, &[(0, 0)])),
        case("two runs that are one", new(1, 2, 1).pack(1, 100, 2).chunk(9, 50, 100).chunk(8, 50, 100).file("a", 200, &[(0, 1), (1, 1)])),
        case("an entry of unknown kind", new(0, 0, 1).byte(4).text("a")),
        case("a path that is not UTF-8", new(0, 0, 1).byte(0).number(2).bytes(b"a\xff")),
        case("a path twice", new(0, 0, 2).file("a", 0, &[]).file("a", 0, &[])),
        case("paths out of order", new(0, 0, 2).file("b", 0, &[]).file("a", 0, &[])),
        case("paths in the order of bytes, not of trees", new(0, 0, 3).directory("a").file("a-b", 0, &[]).file("a/b", 0, &[])),
        case("a path without its directory", new(0, 0, 1).file("a/b", 0, &[])),
        case("a path below another directory", new(0, 0, 2).directory("a").file("b/c", 0, &[])),
        case("a path below a file", new(0, 0, 2).file("a", 0, &[]).file("a/b", 0, &[])),
        case("a path below a link", new(0, 0, 3).directory("d").link("l", "d").file("l/b", 0, &[])),
        case("names that differ in case", new(0, 0, 2).file("README", 0, &[]).file("readme", 0, &[])),
        case("names that differ in case, with files between", new(0, 0, 3).file("A", 0, &[]).file("B", 0, &[]).file("a", 0, &[])),
        case("names that differ in Unicode form", new(0, 0, 2).file("e\u{301}", 0, &[]).file("\u{e9}", 0, &[])),
        case("names that differ in case beyond ASCII", new(0, 0, 2).file("STRASSE", 0, &[]).file("straße", 0, &[])),
        case("the same name in two directories", new(0, 0, 4).directory("a").file("a/x", 0, &[]).directory("b").file("b/X", 0, &[])),
        path("an absolute path", "/etc/passwd"),
        path("a path that climbs", "../x"),
        path("a path that climbs in its middle", "a/../../x"),
        path("a path with a dot", "./x"),
        path("an empty path", ""),
        path("an empty component", "a//b"),
        path("a slash at the end", "a/"),
        path("a Windows drive", "C:x"),
        path("a Windows path", "..\\x"),
        path("a Windows device", "CON"),
        path("a Windows device with extension", "lpt1.tar.gz"),
        path("a Windows device with a superscript", "com²"),
        path("a Windows console", "conin$"),
        path("a Windows device with a space", "nul .txt"),
        path("no Windows device", "console"),
        path("no Windows device either", "com10"),
        path("a trailing dot", "a."),
        path("a trailing space", "a "),
        path("an alternate stream", "a:b"),
        path("a wildcard", "a*"),
        path("a line feed", "a\nb"),
        path("a NUL", "a\0b"),
        path("a C1 control character", "a\u{9b}b"),
        path("a component of 256 bytes", &long),
        path("257 components", &deep),
        path("a path of more than 4096 bytes", &many),
        link("a link inside", "../d"),
        link("a link with dots inside", ".././d/../d/./x"),
        link("a link that climbs out", "../../x"),
        link("a link to the root itself", ".."),
        link("a link that climbs out and comes back", "../../d"),
        link("an absolute link", "/etc/passwd"),
        link("an empty link", ""),
        link("a link to a Windows path", "..\\..\\x"),
        link("a link to a Windows drive", "C:/x"),
        // a/b/up leads to the root: from there, `..` leaves, though as written it seems to lead to a/b.
        case(
            "a link that leaves through another",
            new(0, 0, 4).directory("a").directory("a/b").link("a/b/up", "../..").link("l", "a/b/up/../x"),
        ),
        case(
            "a link that leaves through another, written in capitals",
            new(0, 0, 4).directory("a").directory("a/b").link("a/b/up", "../..").link("l", "A/B/UP/../x"),
        ),
        case("a link through links in a circle", new(0, 0, 3).link("a", "b").link("b", "a").link("c", "a/x")),
    ]
}
