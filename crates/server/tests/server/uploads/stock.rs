//! A tus client that others have written, tuspy, over a real connection: `scripts/interop` runs this.

use super::*;
use crate::support::released::noise;
use counterfoil_format::content::ObjectName;

#[test]
#[ignore = "needs tuspy: scripts/interop runs it, with COUNTERFOIL_INTEROP_PYTHON"]
fn a4_a_stock_tus_client_goes_on_where_another_one_has_stopped() {
    let python = std::env::var("COUNTERFOIL_INTEROP_PYTHON").expect("scripts/interop says where the Python with tuspy is");
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let server = TestServer::new(&db).await;
            let (desk, laptop) = saver(&server, &db, 20).await;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = server.router.clone();
            let serving = tokio::spawn(async move { axum::serve(listener, router).await });
            let bytes = noise("of a stock client", (5 << 20) + 17);
            let file = server.directory.path().join("sealed");
            std::fs::write(&file, &bytes).unwrap();
            let begun = desk.begin(&server, "quick", 0, &bytes).await.unwrap();
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests-interop/tus.py");
            let at = format!("{url}{}", begun.path);
            let run =
                tokio::task::spawn_blocking(move || std::process::Command::new(python).arg(script).args(["--at", &at]).arg(&file).output());
            let run = run.await.unwrap().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let held = laptop.uploads(&server, &[]).await.unwrap().items;
            assert_eq!(held.iter().map(|item| item.object.clone()).collect::<Vec<_>>(), [ObjectName::of(&bytes).to_string()]);
            assert!(db.number("SELECT count(*) FROM upload_part").await >= 5, "it came in pieces");
            is_sound(&db).await;
            serving.abort();
        },
    );
}
