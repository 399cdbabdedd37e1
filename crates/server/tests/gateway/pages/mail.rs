//! Mail of a gateway: receipts and alerts, to a real mail server; none lost, and none twice that is known to have been taken.

use counterfoil_core::wire::UndoReason;
use counterfoil_server::gateway::exchange::{Undoing, undo};
use counterfoil_server::gateway::{alerts, post};

use super::*;
use crate::support::smtp::MailServer;

async fn posting(db: &TestDb, port: u16) -> Rig {
    with(Rig::new(db, 2, 5000).await, |config| {
        config.mail.smtp_url = Some(format!("smtp://127.0.0.1:{port}").into());
        config.mail.from = Some("North <no-reply@north.example>".to_owned());
        config.alerts.to = vec!["desk@north.example".to_owned()];
        config.server.name = "North".to_owned();
    })
    .await
}

async fn deliver(rig: &Rig) -> usize {
    post::deliver(&rig.gateway, rig.gateway.relay.as_ref().unwrap()).await.unwrap()
}

async fn wants_receipts(rig: &Rig) {
    let at = public(&rig.gateway);
    let fields = [("email", "ada@example.org"), ("receipts", "on"), ("low", "")];
    let kept = ada(&at).await.submit(&at, "/account/settings", "/account/settings/mail", &fields).await;
    assert_eq!(kept.status, 303, "{}", text(&kept));
}

// proves: C17
db_test!(c17_receipts_go_to_who_wants_them_once_for_each_charge_and_refund, async |db: TestDb| {
    let server = MailServer::start();
    let rig = posting(&db, server.port).await;
    rig.claiming(0).answered(Some("1999 EUR")).await;
    assert_eq!(deliver(&rig).await, 0, "nobody wanted one");
    wants_receipts(&rig).await;
    let claiming = rig.claiming(1);
    claiming.answered(Some("1999 EUR")).await;
    claiming.answered(Some("1999 EUR")).await;
    assert_eq!((deliver(&rig).await, deliver(&rig).await), (1, 0));
    assert_eq!(undo(&rig.gateway, claiming.id(), UndoReason::Refund, "").await.unwrap(), Undoing::Done);
    assert_eq!((deliver(&rig).await, deliver(&rig).await), (1, 0));
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    let id = claiming.id().to_string();
    for (mail, part) in [
        (0, "To: ada@example.org"),
        (0, "Subject: North: receipt for"),
        (0, "19.99 EUR, charged"),
        (0, id.as_str()),
        (1, "19.99 EUR, given back"),
        (1, id.as_str()),
    ] {
        assert!(mails[mail].contains(part), "{part}: {}", mails[mail]);
    }
    assert_eq!(rig.db.number("SELECT count(*) FROM mail").await, 0);
    rig.gone().await;
});

// proves: C17
db_test!(c17_a_receipt_waits_for_a_mail_server_and_survives_whoever_is_killed_while_sending, async |db: TestDb| {
    // Nobody listens there.
    let rig = posting(&db, 9).await;
    wants_receipts(&rig).await;
    rig.claiming(0).answered(Some("1999 EUR")).await;
    assert_eq!(deliver(&rig).await, 1);
    assert_eq!(rig.db.number("SELECT count(*) FROM mail WHERE attempts = 1 AND last_error IS NOT NULL").await, 1);
    assert_eq!(deliver(&rig).await, 0, "it is not due");
    let server = MailServer::start();
    let rig = with(rig, |config| config.mail.smtp_url = Some(format!("smtp://127.0.0.1:{}", server.port).into())).await;
    rig.later(60_000);
    // Two processes look at the same time: one has it.
    let (one, other) = tokio::join!(deliver(&rig), deliver(&rig));
    assert_eq!((one + other, server.mails().len()), (1, 1));

    // Taken by a process that was killed before it knew: it is sent again, not before that one would have given up.
    rig.claiming(1).answered(Some("1999 EUR")).await;
    let due = rig.gateway.clock.now();
    let taken = async move |tx: &mut Tx| -> Result<bool, counterfoil_server::db::DbError> {
        let waiting = counterfoil_server::gateway::store::mail::due(tx, due, 1).await?;
        counterfoil_server::gateway::store::mail::take(tx, &waiting[0], counterfoil_core::Timestamp(due.0 + 300_000)).await
    };
    assert!(rig.db.write("take", rig.account.to_string(), taken).await.unwrap());
    assert_eq!(deliver(&rig).await, 0);
    rig.later(300_000);
    assert_eq!((deliver(&rig).await, server.mails().len()), (1, 2));
    rig.gone().await;
});

// proves: C17
db_test!(c17_an_alert_is_mailed_once_and_when_it_is_over, async |db: TestDb| {
    let server = MailServer::start();
    let rig = posting(&db, server.port).await;
    rig.claiming(0).answered(Some("1999 EUR")).await;
    rig.db.run("UPDATE exchange SET state = 'undoing'").await;
    rig.later(11 * 60_000);
    let look = async || alerts::look(&rig.gateway, &mut alerts::Watch::default()).await.unwrap();
    look().await;
    // Written down with the alert: whatever is killed here, it is sent.
    assert_eq!(rig.db.number("SELECT count(*) FROM mail WHERE letter = 'alert'").await, 1);
    look().await;
    assert_eq!((deliver(&rig).await, deliver(&rig).await), (1, 0));
    look().await;
    assert_eq!(deliver(&rig).await, 0);
    rig.db.run("UPDATE exchange SET state = 'charged'").await;
    look().await;
    assert_eq!(deliver(&rig).await, 1);
    let mails = server.mails();
    assert!(mails[0].contains("To: desk@north.example") && mails[0].contains("Subject: North: Exchanges are stuck"), "{}", mails[0]);
    assert!(mails[1].contains("Subject: North: over: Exchanges are stuck"), "{}", mails[1]);
    rig.gone().await;
});
