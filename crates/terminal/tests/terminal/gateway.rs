//! Through a gateway: nobody else is asked, the price is agreed to before it is charged and charged once, and what the gateway sees says nothing.

use crate::common::{self, gate};

use common::*;
use counterfoil_core::*;
use counterfoil_terminal::io::{Io, model::DiskModel};
use counterfoil_terminal::*;
use gate::{Books, GATE, Lie, PRICE, eur, sign_in, through};
use std::path::Path;
use std::sync::{Arc, Mutex};

struct Scene {
    world: World,
    device: Device,
    disk: DiskModel,
    books: Arc<Mutex<Books>>,
}

impl Scene {
    /// Registered and signed in through the gateway, with a medium at hand.
    fn new() -> Self {
        let (world, device) = (World::new(), Device::new("pc 1", "disk 1"));
        let scene = Self { world, device, disk: DiskModel::new(), books: Arc::default() };
        put(&scene.disk, MEDIUM, &scene.world.press(1));
        let terminal = scene.terminal();
        card_new(&terminal, None).unwrap();
        register_default(&terminal).unwrap();
        sign_in(&scene.disk);
        scene
    }

    fn terminal(&self) -> Terminal {
        through(&self.world, &self.books, Arc::new(self.disk.clone()), &self.device)
    }

    /// With somebody who agrees to that much.
    fn paying(&self, most: u64) -> Terminal {
        let mut terminal = self.terminal();
        terminal.set_prices(Box::new(move |asked| {
            assert_eq!((asked.at, asked.offer.name.as_str()), (GATE, "Sky Raider"));
            if asked.offer.price.amount <= most { Consent::Agreed } else { Consent::Declined }
        }));
        terminal
    }

    fn lie(&self, lie: Lie) {
        self.books.lock().unwrap().lie = Some(lie);
    }

    fn charges(&self) -> Vec<u64> {
        self.books.lock().unwrap().charged.values().map(|price| price.amount).collect()
    }
}

fn unpaid<T>(result: counterfoil_terminal::Result<T>) -> (Code, Price) {
    match result.map(|_| ()) {
        Err(Error::Unpaid(unpaid)) => (unpaid.refusal.code, unpaid.offer),
        other => panic!("not about a price: {other:?}"),
    }
}

#[test]
fn c16_c17_a_copy_through_a_gateway_is_agreed_to_charged_once_and_told() {
    let scene = Scene::new();
    let (code, offer) = unpaid(copy_once(&scene.terminal()));
    assert_eq!((code, offer.price), (Code::ChargeUnconfirmed, eur(PRICE)));
    let (code, _) = unpaid(copy_once(&scene.paying(PRICE - 1)));
    assert_eq!((code, scene.charges()), (Code::ChargeUnconfirmed, vec![]));
    assert_eq!(scene.world.effects("claim"), 0);

    let terminal = scene.paying(PRICE);
    copy_once(&terminal).unwrap();
    assert_plays(&scene.world, &terminal);
    let charged = terminal.take_charged();
    assert_eq!((charged.len(), charged[0].price, charged[0].balance.map(|left| left.amount)), (1, eur(PRICE), Some(3001)));
    assert_eq!((scene.charges(), scene.world.effects("claim")), (vec![1999], 1));

    // Asked three times, it was one exchange; the account's token went along, and the card's ID where the card signs.
    let books = scene.books.lock().unwrap();
    let claims: Vec<_> = books.passages.iter().filter(|passage| books.charged.contains_key(&passage.0)).collect();
    assert!(claims.len() == 4 && claims.iter().all(|passage| passage.1.is_some() && passage.3), "{claims:?}");
    assert_eq!(claims.iter().filter(|passage| passage.2 == Some(eur(PRICE))).count(), 1);
}

#[test]
fn c16_what_a_gateway_sees_names_neither_user_nor_medium_nor_device_and_no_key() {
    let scene = Scene::new();
    let terminal = scene.paying(u64::MAX);
    copy_once(&terminal).unwrap();
    let medium = Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
    let user = counterfoil_terminal::registered_user(&terminal, &CardChoice::Default, None).unwrap().to_string();
    let (device, own) = (terminal.device_id().unwrap().to_string(), medium.identity().medium_id.to_string());
    let books = scene.books.lock().unwrap();
    let seen = readable(&books.seen);
    // A search that would find something finds the card, which a gateway may know.
    assert!(seen.contains("card: Some(crd-"));
    for secret in [user.as_str(), &device, &own, "server_time", "request_id"] {
        assert!(!seen.contains(secret), "{secret}");
    }
    assert!(books.seen.iter().filter(|text| text.starts_with("sealed.")).count() > 2);
    assert_eq!(find_canary(&scene.world, seen.as_bytes()), None);
}

#[test]
fn c16_the_search_finds_what_an_authority_says_that_seals_nothing() {
    let scene = Scene::new();
    scene.world.authority.answers_plain.store(true, std::sync::atomic::Ordering::SeqCst);
    // An older authority is understood all the same.
    copy_once(&scene.paying(u64::MAX)).unwrap();
    assert!(readable(&scene.books.lock().unwrap().seen).contains("server_time"));
}

/// What was seen, with everything that is merely encoded.
fn readable(seen: &[String]) -> String {
    let decoded = |part: &str| counterfoil_format::encoding::from_base64url(part).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let parts = seen.iter().flat_map(|text| text.split(['.', '"'])).filter_map(decoded);
    parts.chain(seen.iter().cloned()).collect::<Vec<_>>().join("\n")
}

#[test]
fn c16_answers_that_a_gateway_has_changed_or_mixed_up_are_not_believed() {
    for lie in [Lie::Tampers, Lie::Mixes] {
        let scene = Scene::new();
        scene.lie(lie);
        let error = copy_once(&scene.paying(u64::MAX)).unwrap_err();
        assert_eq!(error.code(), "answer_not_authentic", "{lie:?}: {error}");
        assert!(card_show(&scene.terminal(), &CardChoice::Default).unwrap().grants.is_empty());
        // The same command once it behaves: the same exchange, charged once.
        scene.books.lock().unwrap().lie = None;
        let terminal = scene.terminal();
        copy_once(&terminal).unwrap();
        assert_plays(&scene.world, &terminal);
        assert_eq!((scene.charges(), scene.world.effects("claim")), (vec![1999], 1), "{lie:?}");
    }
}

#[test]
fn c17_a_line_that_drops_after_the_charge_is_the_same_exchange_when_the_command_is_repeated() {
    let scene = Scene::new();
    scene.lie(Lie::Drops(3));
    assert_eq!(copy_once(&scene.paying(PRICE)).unwrap_err().code(), "unreachable");
    // Nobody is there to be asked again: what was agreed to is stored with the request.
    for _ in 0..2 {
        assert_eq!(copy_once(&scene.terminal()).unwrap_err().code(), "unreachable");
    }
    let terminal = scene.terminal();
    copy_once(&terminal).unwrap();
    assert_plays(&scene.world, &terminal);
    assert_eq!((scene.charges(), scene.world.effects("claim")), (vec![1999], 1));
    assert!(scene.disk.list(Path::new("/home/requests")).unwrap().is_empty());
}

#[test]
fn c17_new_keys_of_the_authority_make_no_second_exchange_of_one_that_was_agreed_to() {
    let scene = Scene::new();
    scene.lie(Lie::Drops(1));
    copy_once(&scene.paying(PRICE)).unwrap_err();
    scene.world.authority.rotate(true);
    // New keys are believed on no gateway's word.
    let error = copy_once(&scene.terminal()).unwrap_err();
    assert_eq!(error.refusal().unwrap().code, Code::EnvelopeInvalid);
    let error = scene.terminal().refresh(None).unwrap_err();
    assert_eq!(error.code(), "keys_unproven");
    assert_eq!(scene.terminal().refresh(Some("0000-0000")).unwrap_err().code(), "keys_unproven");
}

#[test]
fn c16_c17_keys_that_a_gateway_adds_are_not_sealed_to() {
    let scene = Scene::new();
    let known = scene.terminal().authority().unwrap().unwrap();
    scene.lie(Lie::Adds);
    assert_eq!(scene.terminal().refresh(None).unwrap_err().code(), "keys_unproven");
    assert_eq!(scene.terminal().authority().unwrap().unwrap(), known);
    // The fingerprint of the authority's own document, as told by somebody else, does not fit either.
    assert_eq!(scene.terminal().refresh(Some(&known.fingerprint())).unwrap_err().code(), "keys_unproven");
    scene.books.lock().unwrap().lie = None;
    assert_eq!(scene.terminal().refresh(None).unwrap().document, known.document);
}

#[test]
fn c16_an_authority_whose_keys_were_replaced_is_believed_by_the_fingerprint_that_was_told() {
    let scene = Scene::new();
    scene.world.authority.rotate(true);
    let told = Authority { document: scene.world.authority.document_of(), pinned_at: authority::NOW }.fingerprint();
    assert_eq!(scene.terminal().refresh(Some(&told.to_uppercase())).unwrap().fingerprint(), told);
    copy_once(&scene.paying(u64::MAX)).unwrap();
}

#[test]
fn c16_new_keys_are_followed_through_a_gateway_where_those_before_vouch_for_them() {
    for listed in [true, false] {
        let scene = Scene::new();
        scene.world.authority.rotate_stated(listed);
        // Nobody is asked anything: the copy itself finds out that the keys are others now.
        copy_once(&scene.paying(u64::MAX)).unwrap();
        let known = scene.terminal().authority().unwrap().unwrap();
        assert_eq!((known.document.keys.epoch, known.document.keys.chain.len()), (1, 0), "listed: {listed}");
        assert_plays(&scene.world, &scene.terminal());
    }
}

#[test]
fn c16_a_gateway_shows_no_keys_of_its_own_as_the_next_and_none_from_before() {
    let scene = Scene::new();
    scene.world.authority.rotate_stated(true);
    scene.lie(Lie::Forges);
    assert_eq!(scene.terminal().refresh(None).unwrap_err().code(), "keys_unproven");
    scene.lie(Lie::Adds);
    assert_eq!(scene.terminal().refresh(None).unwrap_err().code(), "keys_unproven");
    scene.books.lock().unwrap().lie = None;
    let newest = scene.terminal().refresh(None).unwrap();
    scene.lie(Lie::Keeps);
    let error = scene.terminal().refresh(None).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("epoch 0")), ("keys_outdated", true), "{error}");
    scene.lie(Lie::Forges);
    assert_eq!(scene.terminal().refresh(None).unwrap_err().code(), "keys_unproven");
    assert_eq!(scene.terminal().authority().unwrap().unwrap().document, newest.document);
}

#[test]
fn c16_keys_that_a_gateway_adds_at_first_contact_are_not_the_mediums_word() {
    let (world, device, disk) = (World::new(), Device::new("pc 1", "disk 1"), DiskModel::new());
    put(&disk, MEDIUM, &world.press(1));
    let books = Arc::<Mutex<Books>>::default();
    let told = Arc::new(Mutex::new(0));
    for (lie, by_medium) in [(Some(Lie::Adds), false), (Some(Lie::Forges), false), (None, true)] {
        books.lock().unwrap().lie = lie;
        let mut terminal = through(&world, &books, Arc::new(disk.clone()), &device);
        let count = told.clone();
        terminal.set_strangers(Box::new(move |_, _| *count.lock().unwrap() += 1));
        let medium = Medium::open(&terminal, Path::new(MEDIUM)).unwrap();
        terminal.meet_by(&medium.area().authority).unwrap();
        let keys_by = terminal.home().profile().unwrap().keys_by;
        assert_eq!(keys_by == Some(KeysBy::Medium), by_medium, "{lie:?}");
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), i32::from(!by_medium), "{lie:?}");
        counterfoil_terminal::io::remove_all(&disk, Path::new(HOME)).unwrap();
    }
}

#[test]
fn c17_a_price_that_is_raised_is_asked_about_again_and_not_for_ever() {
    let scene = Scene::new();
    scene.lie(Lie::Raises(1));
    let (_, offer) = unpaid(copy_once(&scene.paying(PRICE)));
    assert_eq!((offer.price.amount, scene.charges()), (2499, vec![]));
    copy_once(&scene.paying(2499)).unwrap();
    assert_eq!(scene.charges(), [2499]);

    let scene = Scene::new();
    scene.lie(Lie::Raises(u64::MAX));
    assert_eq!(copy_once(&scene.paying(u64::MAX)).unwrap_err().code(), "not_an_authority");
    assert!(scene.charges().is_empty());
}

#[test]
fn c16_an_exchange_that_was_given_up_is_begun_anew_once() {
    let scene = Scene::new();
    scene.lie(Lie::Ends(1));
    copy_once(&scene.paying(u64::MAX)).unwrap();
    assert_eq!(scene.charges(), [1999]);

    let scene = Scene::new();
    scene.lie(Lie::Ends(u64::MAX));
    assert_eq!(refusal(copy_once(&scene.paying(u64::MAX))), Code::ExchangeEnded);
    assert_eq!((scene.charges(), scene.world.effects("claim")), (vec![], 0));
}

#[test]
fn c17_without_an_account_nothing_is_charged_and_the_request_stays() {
    let scene = Scene::new();
    counterfoil_terminal::io::remove_all(&scene.disk, Path::new("/home/accounts")).unwrap();
    assert_eq!(refusal(copy_once(&scene.paying(u64::MAX))), Code::AccountNeeded);
    assert_eq!(scene.disk.list(Path::new("/home/requests")).unwrap().len(), 1);
    sign_in(&scene.disk);
    copy_once(&scene.paying(u64::MAX)).unwrap();
    assert_eq!(scene.charges(), [1999]);
}

#[test]
fn c16_keys_are_pinned_by_a_medium_at_hand_and_by_the_gateways_word_only_where_that_is_told() {
    let (world, device, disk) = (World::new(), Device::new("pc 1", "disk 1"), DiskModel::new());
    put(&disk, MEDIUM, &world.press(1));
    let books = Arc::<Mutex<Books>>::default();
    let told = Arc::new(Mutex::new(0));
    let open = || {
        let mut terminal = through(&world, &books, Arc::new(disk.clone()), &device);
        let told = told.clone();
        terminal.set_strangers(Box::new(move |gateway, _| {
            assert_eq!(gateway, GATE);
            *told.lock().unwrap() += 1;
        }));
        terminal
    };
    let medium = Medium::open(&open(), Path::new(MEDIUM)).unwrap();
    open().meet_by(&medium.area().authority).unwrap();
    let profile = open().home().profile().unwrap();
    assert_eq!((profile.keys_by, profile.via, *told.lock().unwrap()), (Some(KeysBy::Medium), Some(GATE.into()), 0));

    // A gateway that stands for another authority than the medium's.
    let other = DiskModel::new();
    let mut strange = medium.area().authority.clone();
    strange.name = "another".into();
    let terminal = through(&world, &books, Arc::new(other.clone()), &device);
    assert_eq!(terminal.meet_by(&strange).unwrap_err().code(), "other_authority");
    assert_eq!(terminal.authority().unwrap(), None);

    counterfoil_terminal::io::remove_all(&disk, Path::new(HOME)).unwrap();
    open().meet(&[]).unwrap();
    assert_eq!(open().home().profile().unwrap().keys_by, Some(KeysBy::Contact(GATE.into())));
    assert_eq!(*told.lock().unwrap(), 1);
}
