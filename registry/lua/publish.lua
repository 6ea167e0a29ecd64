-- KEYS the room. ARGV epoch hints. opening -> open at this epoch; a repetition wins again and keeps the first hints.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch')
local won = 0
if r[2] == ARGV[1] then
	if r[1] == 'opening' then
		redis.call('HSET', KEYS[1], 'state', 'open')
		if ARGV[2] ~= '' then
			redis.call('HSET', KEYS[1], 'hints', ARGV[2])
		end
		won = 1
	elseif r[1] == 'open' then
		won = 1
	end
end
return { won, room_read(KEYS[1]) }
