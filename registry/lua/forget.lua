-- KEYS the room. ARGV epoch remembered_ms. Deletes the record at this epoch. What is left for a while is a tombstone: only the
-- epoch, so that a late report does not bring the room back. It is the one key of ours with a time to live. A room that is moving
-- stays: that its node has ended it is what its mover waits for.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch')
local won = 0
if r[2] == ARGV[1] and r[1] ~= 'gone' and r[1] ~= 'moving' then
	won = 1
	redis.call('DEL', KEYS[1])
	redis.call('HSET', KEYS[1], 'state', 'gone', 'epoch', ARGV[1])
	redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { won, room_read(KEYS[1]) }
