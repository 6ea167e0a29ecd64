-- KEYS the room. ARGV epoch. Writes what is there already, if it is opening at this epoch: what the replicas then have of this write,
-- they have of the claim before it.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch')
local won = 0
if r[1] == 'opening' and r[2] == ARGV[1] then
	write_without_memory(KEYS[1])
	redis.call('HSET', KEYS[1], 'state', 'opening')
	won = 1
end
return { won, room_read(KEYS[1]) }
