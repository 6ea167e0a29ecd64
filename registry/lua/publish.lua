-- KEYS the room. ARGV epoch hints. opening -> open at this epoch; a repetition wins again and keeps the first hints, but for
-- lost ones ("?").

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'hints')
local won = 0
if r[2] == ARGV[1] and (r[1] == 'opening' or r[1] == 'open') then
	if r[1] == 'opening' then
		write_without_memory(KEYS[1])
		redis.call('HSET', KEYS[1], 'state', 'open')
	end
	if (r[1] == 'opening' and ARGV[2] ~= '') or r[3] == '?' then
		redis.call('HSET', KEYS[1], 'hints', ARGV[2])
	end
	won = 1
end
return { won, room_read(KEYS[1]) }
