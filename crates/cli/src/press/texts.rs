//! What people find on a medium beside the areas (B9, C20): a launcher, and a page that says what it is.

use counterfoil_core::wire::{IdentityClaims, NoticeClaims};

/// `START`: finds the client and says what can be done. Nothing is done unasked.
pub const START: &str = r#"#!/bin/sh
# Finds the Counterfoil client, on this medium or on this computer, and says what can be done with the medium.
# Usage: ./START                          what this is
#        ./START register --library DIR   register at the authority that the medium names
#        ./START copy --library DIR       copy it into your library
#        ./START COMMAND …                any other command of the client
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
if [ -x "$here/client/counterfoil" ]; then
    client=$here/client/counterfoil
elif command -v counterfoil >/dev/null 2>&1; then
    client=counterfoil
else
    echo "error: the Counterfoil client is neither on this medium nor on this computer" >&2
    echo "hint: install it (README.txt says where from), or mount the medium so that programs on it may run" >&2
    exit 3
fi
case ${1-} in
"")
    "$client" inspect --offline "$here"
    cat <<TEXT

To use it:
  1. once per person     $client card new
  2. once per computer   "$here/START" register --library DIR
  3. for this medium     "$here/START" copy --library DIR
  4. as often as wanted  $client play TITLE --library DIR
A medium with an identity can be copied as often as its rights say, usually once, into the library of whoever does it first. One without is
everybody's, and its key is bought when it is copied.
TEXT
    ;;
register)
    shift
    exec "$client" register --medium "$here" "$@"
    ;;
copy)
    shift
    exec "$client" copy "$here" "$@"
    ;;
*)
    exec "$client" "$@"
    ;;
esac
"#;

/// `README.txt` of one medium.
pub fn readme(identity: &IdentityClaims, urls: &[String], with_client: bool) -> String {
    let mut text = String::from("This is a Counterfoil medium.\n\nIt carries\n");
    for title in &identity.titles {
        text += &format!("  {} ({}), release {}, of {}\n", title.name, title.kind, title.release, title.publisher.id);
    }
    text += &format!("\nMedium ID   {}\n", identity.medium_id);
    text += &format!("Copies      {}\n", identity.rights.copies);
    for url in urls {
        text += &format!("Authority   {url}\n");
    }
    text += "\nThe content is encrypted. Who copies it first has it: copying asks the authority for the keys, and binds them to\n\
             your card, device and drive. Afterwards the medium and the network are not needed to play.\n\n\
             How to use it, in a shell in this directory:\n  ./START                         says what this is\n  \
             ./START card new                makes your card, once\n  \
             ./START register --library DIR  registers you, once per computer\n  \
             ./START copy --library DIR      copies it into the library in DIR\n\n";
    text + client(with_client)
}

/// `README.txt` of media without an identity (C18).
pub fn readme_without(notice: &NoticeClaims, urls: &[String], with_client: bool) -> String {
    let mut text = String::from("This is a Counterfoil medium without an identity: copy it, and give it away.\n\nIt carries\n");
    for title in &notice.titles {
        text += &format!("  {} ({}), release {}, of {}\n", title.name, title.kind, title.release, title.publisher.id);
    }
    text += "\n";
    for url in urls {
        text += &format!("Authority   {url}\n");
    }
    text += "\nThe content is encrypted. Its key is bought when it is copied, from the authority or a shop that sells it: the price is shown\n\
             before anything is charged. Afterwards the medium and the network are not needed to play.\n\n\
             How to use it, in a shell in this directory:\n  ./START                         says what this is\n  \
             ./START card new                makes your card, once\n  \
             ./START register --library DIR  registers you, once per computer\n  \
             ./START copy --library DIR      buys its key, and copies it into the library in DIR\n\n";
    text + client(with_client)
}

fn client(with_client: bool) -> &'static str {
    if with_client {
        "The client for this kind of computer is in client/.\n"
    } else {
        "The client, `counterfoil`, has to be installed on the computer.\n"
    }
}

/// `README.txt` for the plant, beside identity areas.
pub const PLANT: &str = "What is in common/ is the same on every medium. Each file in identities/ belongs on one medium only, in its top\n\
directory, under the name identity.json. media.csv says which file is which medium.\n\
The identity areas are secret until they are sold: who has one can claim its copies.\n";
