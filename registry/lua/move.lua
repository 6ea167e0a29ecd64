-- KEYS the room. ARGV epoch. open -> moving at this epoch; a repetition wins again.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch')
local won = 0
if r[2] == ARGV[1] and (r[1] == 'open' or r[1] == 'moving') then
	if r[1] == 'open' then
		write_without_memory(KEYS[1])
		redis.call('HSET', KEYS[1], 'state', 'moving')
	end
	won = 1
end
return { won, room_read(KEYS[1]) }
