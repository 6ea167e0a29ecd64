-- KEYS the room. ARGV epoch. -> closing at this epoch.

local won = 0
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
	redis.call('HSET', KEYS[1], 'state', 'closing')
	won = 1
end
return { won, room_read(KEYS[1]) }
