-- KEYS the room. ARGV epoch. -> closing at this epoch.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch')
local won = 0
if r[2] == ARGV[1] and r[1] ~= 'gone' then
	write_without_memory(KEYS[1])
	redis.call('HSET', KEYS[1], 'state', 'closing')
	won = 1
end
return { won, room_read(KEYS[1]) }
