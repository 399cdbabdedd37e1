//! A gateway in memory between a terminal and the authority: it charges for claims, keeps what it sees, and lies where a test has it lie.

use super::authority::Authority;
use super::{Device, HOME, World};
use counterfoil_core::wire::*;
use counterfoil_core::*;
use counterfoil_format::content::ObjectName;
use counterfoil_format::secret::SystemRandom;
use counterfoil_format::sign::SigningKey;
use counterfoil_terminal::clock::FixedClock;
use counterfoil_terminal::io::{Io, model::DiskModel};
use counterfoil_terminal::transport::{Charged, Elsewhere, Part, Passage, Passed, Transport, TransportError};
use counterfoil_terminal::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub const GATE: &str = "https://shop.example";
/// In minor units of EUR.
pub const PRICE: u64 = 1999;

/// How a gateway is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Changes a character of the answer.
    Tampers,
    /// Answers with what it had for another request.
    Mixes,
    /// Asks for more once a price was agreed to, so often.
    Raises(u64),
    /// Charges, and drops the line before the answer is out, so often.
    Drops(u64),
    /// Says that the exchange has ended, so often.
    Ends(u64),
    /// Shows keys of its own beside the authority's.
    Adds,
    /// Shows keys of its own, and says under the authority's name that they are the next.
    Forges,
    /// Shows the document as it was at first.
    Keeps,
}

#[derive(Default)]
pub struct Books {
    pub lie: Option<Lie>,
    /// What was charged, by exchange.
    pub charged: HashMap<RequestId, Money>,
    /// All that was seen: envelopes, what goes with them, answers.
    pub seen: Vec<String>,
    /// What goes with envelopes.
    pub passages: Vec<(RequestId, Option<CardId>, Option<Money>, bool)>,
    last: Option<String>,
    raised: u64,
    /// What it was shown by the authority at first.
    first: Option<AuthorityDocument>,
}

pub struct Gate {
    pub authority: Arc<Authority>,
    pub books: Arc<Mutex<Books>>,
}

impl Gate {
    fn offer(&self, price: Money) -> ChargeOnOffer {
        let balance = Money { amount: 5000, currency: price.currency };
        ChargeOnOffer {
            title: super::title(),
            name: "Sky Raider".into(),
            price,
            balance,
            expires_at: Timestamp(super::authority::NOW.0 + 1),
            card: None,
        }
    }

    fn unpaid(&self, code: Code, price: Money) -> TransportError {
        TransportError::Unpaid(Box::new(Unpaid { refusal: code.into(), offer: self.offer(price).into() }))
    }
}

pub fn eur(amount: u64) -> Money {
    Money { amount, currency: "EUR".parse().unwrap() }
}

fn dropped() -> TransportError {
    TransportError::Unreachable { url: GATE.into(), reason: "the line was cut".into() }
}

impl Transport for Gate {
    fn document(&self) -> std::result::Result<AuthorityDocument, TransportError> {
        let mut document = self.authority.document_of();
        let (mut books, shown) = (self.books.lock().unwrap(), document.clone());
        let lie = books.lie;
        let first = books.first.get_or_insert(shown).clone();
        if lie == Some(Lie::Keeps) {
            return Ok(first);
        }
        if matches!(lie, Some(Lie::Adds | Lie::Forges)) {
            let own = counterfoil_format::hpke::SealingKey::from_seed(&counterfoil_format::secret::Secret::new([0xEE; 32]));
            let key = counterfoil_format::hpke::DiffieHellman::public_key(&own).to_string();
            document.keys.sealing.insert(0, SealingKeyDocument { kid: "seal-1".into(), key, retired_at: None });
        }
        if lie == Some(Lie::Forges) {
            let own = SigningKey::from_seed(&counterfoil_format::secret::Secret::new([0xEE; 32]));
            document.keys.epoch += 1;
            let stated = AuthorityKeys { chain: vec![], ..document.keys.clone() };
            document.keys.chain.push(super::authority::stated_by(stated, &document.name, &own));
        }
        Ok(document)
    }

    fn exchange(&self, _: &[u8]) -> std::result::Result<String, TransportError> {
        panic!("sent without saying which exchange it is");
    }

    fn pass(&self, envelope: &[u8], passage: &Passage<'_>) -> std::result::Result<Passed, TransportError> {
        let mut books = self.books.lock().unwrap();
        books.seen.push(String::from_utf8(envelope.to_vec()).unwrap());
        books.seen.push(format!("{passage:?}"));
        books.passages.push((passage.exchange, passage.card, passage.pay, passage.token == Some("cga_secret")));
        // What `prepare` says: which is charged for.
        let Some(request) = self.authority.asked(envelope) else { return Err(TransportError::Refused(Code::EnvelopeInvalid.into())) };
        assert_eq!(request.request_id, passage.exchange);
        let charges = matches!(request.operation, Operation::Claim(_));
        if charges && !books.charged.contains_key(&passage.exchange) {
            if passage.token.is_none() {
                return Err(TransportError::Refused(Code::AccountNeeded.into()));
            }
            let price = eur(PRICE + books.raised * 500);
            let Some(pay) = passage.pay else { return Err(self.unpaid(Code::ChargeUnconfirmed, price)) };
            match &mut books.lie {
                Some(Lie::Raises(times @ 1..)) => {
                    *times -= 1;
                    books.raised += 1;
                    let price = eur(PRICE + books.raised * 500);
                    return Err(self.unpaid(Code::PriceChanged, price));
                }
                Some(Lie::Ends(times @ 1..)) => {
                    *times -= 1;
                    return Err(TransportError::Refused(Code::ExchangeEnded.into()));
                }
                _ if pay != price => return Err(self.unpaid(Code::PriceChanged, price)),
                _ => {}
            }
            books.charged.insert(passage.exchange, price);
        }
        let mut answer = self.authority.answer(envelope)?;
        books.seen.push(answer.clone());
        match &mut books.lie {
            Some(Lie::Tampers) => {
                let at = answer.len() / 2;
                let other = if &answer[at..=at] == "A" { "B" } else { "A" };
                answer.replace_range(at..=at, other);
            }
            Some(Lie::Mixes) => answer = books.last.replace(answer.clone()).unwrap_or(answer),
            Some(Lie::Drops(times @ 1..)) if charges => {
                *times -= 1;
                return Err(dropped());
            }
            _ => books.last = Some(answer.clone()),
        }
        let charged = books.charged.get(&passage.exchange).map(|price| Charged {
            price: *price,
            title: super::title(),
            name: "Sky Raider".into(),
            balance: Money { amount: 5000 - price.amount, ..*price },
        });
        Ok(Passed { answer, charged })
    }

    fn fetch(&self, object: &str, part: Part) -> std::result::Result<Box<dyn std::io::Read + std::marker::Send>, TransportError> {
        self.authority.contents.fetch(object, part)
    }

    fn get(&self, _: &str) -> std::result::Result<Vec<u8>, TransportError> {
        Err(dropped())
    }

    fn is_guarded(&self) -> bool {
        true
    }
}

/// A terminal that reaches the gateway and nobody else.
pub fn through(world: &World, books: &Arc<Mutex<Books>>, io: Arc<dyn Io>, device: &Device) -> Terminal {
    let (authority, books) = (world.authority.clone(), books.clone());
    let connect: Connect = Box::new(move |urls, elsewhere| {
        assert_eq!((urls, elsewhere), (&[GATE.to_owned()][..], Elsewhere::Stay), "somebody else than the gateway is asked");
        Ok(Arc::new(Gate { authority: authority.clone(), books: books.clone() }) as Arc<dyn Transport>)
    });
    let setup = Setup { server: None, via: Some(format!("{GATE}/")), ..device.setup() };
    let parts = Parts { io, clock: Arc::new(FixedClock::at(super::authority::NOW)), random: Box::new(SystemRandom), connect };
    Terminal::with_parts(setup, parts).unwrap()
}

/// Signed in, as `account sign-in` leaves it.
pub fn sign_in(disk: &DiskModel) {
    let name = ObjectName::of(GATE.as_bytes()).to_string();
    let account = serde_json::json!({ "gateway": GATE, "name": "anna", "token": "cga_secret" });
    super::put(disk, HOME, &[(format!("accounts/{}.json", &name[..32]), account.to_string().into_bytes())]);
    assert!(disk.list(&Path::new(HOME).join("accounts")).unwrap().len() == 1);
}
