-- KEYS the room. ARGV from_epoch released node incarnation registration exclusive router floor from_registration. Gives
-- { won, record after it }. A room that is open at its epoch changes hands only when its owner is lost or has let go: an open
-- that one router saw fail, another may have seen succeed and published. And only under the registration that was seen: an owner
-- that has come back since has its rooms again, at their epochs.
-- The epoch grows past the record's (also of one that ended), past every epoch the router met, and with the clock; a floor more
-- than a day ahead of the clock is somebody's mistake and is cut there. What takes memory is written first: a server that is
-- out of it refuses only a script's first write.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'reg')
local last = r[2] or '0'
local at = r[1] == 'gone' and '0' or last
if at ~= ARGV[1] or (at ~= '0' and (r[3] ~= ARGV[9] or (r[1] ~= 'opening' and ARGV[2] ~= '1'))) then
	return { 0, room_read(KEYS[1]) }
end
local now = now_ms()
local epoch = math.max(tonumber(last) + 1, math.min(tonumber(ARGV[8]), now + 86400000) + 1, now)
if epoch > 9007199254740991 then
	return redis.error_reply('ERR the epoch of this room is at its end')
end
redis.call('HSET', KEYS[1], 'state', 'opening', 'epoch', num(epoch), 'node', ARGV[3], 'inc', ARGV[4],
	'reg', ARGV[5], 'by', ARGV[7])
redis.call('HDEL', KEYS[1], 'created_at', 'exclusive', 'hints')
redis.call('PERSIST', KEYS[1])
room_created(KEYS[1], epoch, now)
if ARGV[6] == '1' then
	redis.call('HSET', KEYS[1], 'exclusive', '1')
end
return { 1, room_read(KEYS[1]) }
