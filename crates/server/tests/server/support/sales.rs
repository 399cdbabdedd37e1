//! Titles on sale, and a terminal that orders them.

use counterfoil_core::wire::{Operation, Order, OrderResult, Orders, OrdersResult, Refund, RefundResult};
use counterfoil_core::{Money, OrderId, Refusal};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::store::word::{self, Shelf};
use serde_json::Value;

use super::TestDb;
use super::catalogue::TestServer;
use super::terminal::Terminal;

/// Lists a title that is published, at one price for each of `prices` (`19.99 EUR`) and under these terms. The same again lists it anew.
pub async fn list(db: &TestDb, title: &str, prices: &[&str], policy: Value) {
    let (title, policy) = (title.to_owned(), policy.to_string());
    let prices: Vec<Money> = prices.iter().map(|price| price.parse().unwrap()).collect();
    db.write("list", format!("/title/{title}"), async move |tx: &mut Tx| -> Result<(), DbError> {
        tx.query("DELETE FROM price WHERE title_id = $1").bind(&title).execute().await?;
        tx.query("DELETE FROM listing WHERE title_id = $1").bind(&title).execute().await?;
        tx.query("INSERT INTO listing (title_id, summary, description, on_sale, policy, updated_at) VALUES ($1, '', '', 1, $2, 1)")
            .bind(&title)
            .bind(&policy)
            .execute()
            .await?;
        for price in &prices {
            tx.query("INSERT INTO price (title_id, currency, amount) VALUES ($1, $2, $3)")
                .bind(&title)
                .bind(price.currency.as_str())
                .bind(i64::try_from(price.amount).unwrap())
                .execute()
                .await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Publishes a title and lists it.
pub async fn sell(server: &TestServer, db: &TestDb, title: &str, prices: &[&str], policy: Value) {
    super::catalogue::publish(server, "blue-fox", title, "1.0").await;
    list(db, title, prices, policy).await;
}

/// Many titles `game-0`, `game-1` … at one price, like the first, which is published.
pub async fn sell_many(server: &TestServer, db: &TestDb, count: usize, price: &'static str) -> Vec<String> {
    sell(server, db, "game-0", &[price], Value::Object(Default::default())).await;
    let names: Vec<String> = (0..count).map(|number| format!("game-{number}")).collect();
    let others = names[1..].to_vec();
    db.write("many", "/title/many", async move |tx: &mut Tx| -> Result<(), DbError> {
        for title in &others {
            for sql in [
                "INSERT INTO title (title_id, publisher_id, name, kind, created_at)
                   SELECT CAST($1 AS TEXT), publisher_id, CAST($1 AS TEXT), kind, created_at FROM title WHERE title_id = 'game-0'",
                "INSERT INTO release (title_id, version, number, document, generation, created_at, channel)
                   SELECT CAST($1 AS TEXT), version, number, document, generation, created_at, channel FROM release WHERE title_id = 'game-0'",
                "INSERT INTO listing (title_id, summary, description, on_sale, policy, updated_at)
                   SELECT CAST($1 AS TEXT), summary, description, on_sale, policy, updated_at FROM listing WHERE title_id = 'game-0'",
                "INSERT INTO price (title_id, currency, amount) SELECT CAST($1 AS TEXT), currency, amount FROM price WHERE title_id = 'game-0'",
            ] {
                tx.query(sql).bind(title).execute().await?;
            }
            word::keep(tx, Shelf::Titles, title, title).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    names
}

/// The order of a title by this terminal, at the price that it was shown, or to be tried.
pub fn order_operation(terminal: &Terminal, title: &str, price: Option<&str>) -> Operation {
    Operation::Order(Order {
        user_id: terminal.user.unwrap(),
        card_id: terminal.card_id(),
        device_id: terminal.device_id().unwrap(),
        title: title.parse().unwrap(),
        price: price.map(|price| price.parse().unwrap()),
        currency: None,
        trial: price.is_none(),
    })
}

pub fn refund_operation(terminal: &Terminal, order: OrderId) -> Operation {
    Operation::Refund(Refund {
        user_id: terminal.user.unwrap(),
        card_id: terminal.card_id(),
        device_id: terminal.device_id().unwrap(),
        order_id: order,
    })
}

impl Terminal {
    pub async fn order(&self, server: &TestServer, title: &str, price: &str) -> Result<OrderResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, order_operation(self, title, Some(price)), None).await?).unwrap())
    }

    pub async fn try_out(&self, server: &TestServer, title: &str) -> Result<OrderResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, order_operation(self, title, None), None).await?).unwrap())
    }

    pub async fn give_back(&self, server: &TestServer, order: OrderId) -> Result<RefundResult, Refusal> {
        Ok(serde_json::from_value(self.ask(server, refund_operation(self, order), None).await?).unwrap())
    }

    pub async fn orders(&self, server: &TestServer) -> OrdersResult {
        let ask = Orders { user_id: self.user.unwrap(), device_id: self.device_id().unwrap() };
        serde_json::from_value(self.ask(server, Operation::Orders(ask), None).await.unwrap()).unwrap()
    }

    /// Pays in advance, at the shop.
    pub async fn top_up(&self, server: &TestServer, money: &str) {
        let money: Money = money.parse().unwrap();
        let path = format!("/v1/users/{}/balance", self.user.unwrap());
        server.post(&server.operator, &path, &serde_json::to_value(money).unwrap()).await.expect(200);
    }
}
