-- C18: an order that pays for a copy at the authority itself: of which medium, and the request that it is made for, which after a crash is carried out
-- or ended by what that left. `request_digest` is over the bytes that the terminal signed.
ALTER TABLE orders ADD COLUMN medium_id TEXT COLLATE "C";
ALTER TABLE orders ADD COLUMN request_id TEXT COLLATE "C";
ALTER TABLE orders ADD COLUMN request_digest BYTEA;
CREATE UNIQUE INDEX orders_request ON orders (user_id, request_id) WHERE request_id IS NOT NULL;

-- The order that paid for a copy, as `exchange_id` is the exchange.
ALTER TABLE grants ADD COLUMN order_id TEXT COLLATE "C";
