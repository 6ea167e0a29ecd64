-- KEYS the room. ARGV epoch. Deletes the record at this epoch.

local won = 0
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
	redis.call('DEL', KEYS[1])
	won = 1
end
return { won, room_read(KEYS[1]) }
