-- KEYS the room. ARGV from_epoch node incarnation registration exclusive router floor. Gives { won, record after it }.
-- The epoch grows past the record's, past every epoch the router met, and with the clock; a floor more than a day ahead of
-- the clock is somebody's mistake and is cut there.

local at = redis.call('HGET', KEYS[1], 'epoch') or '0'
if at ~= ARGV[1] then
	return { 0, room_read(KEYS[1]) }
end
local now = now_ms()
local epoch = math.max(tonumber(at) + 1, math.min(tonumber(ARGV[7]), now + 86400000) + 1, now)
if epoch > 9007199254740991 then
	return redis.error_reply('ERR the epoch of this room is at its end')
end
redis.call('HDEL', KEYS[1], 'hints')
redis.call('HSET', KEYS[1], 'state', 'opening', 'epoch', num(epoch), 'node', ARGV[2], 'incarnation', ARGV[3],
	'registration', ARGV[4], 'exclusive', ARGV[5], 'by', ARGV[6], 'created_at', num(now))
return { 1, room_read(KEYS[1]) }
