-- Orders of one state, newest first, for the console: of a seldom state, all others were read before.
CREATE INDEX orders_by_state ON orders (state, created_at, order_id);
