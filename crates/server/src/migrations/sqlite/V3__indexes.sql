-- Finds delivered messages that are old enough to be dropped.
CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;

-- Finds a device in whosever entries it is: anybody may ask, so it must not take longer with every device.
CREATE INDEX user_device_by_device ON user_device (device_id, created_at);
