-- KEYS record rooms. ARGV room epoch. The node holds this room at this epoch. An older one than is known changes nothing, nor
-- does it for a node that left: its index would stay for ever.

if (redis.call('HGET', KEYS[1], 'incarnation') or '') == '' then
	return 0
end
local e = entry_read(KEYS[2], ARGV[1]) or { epoch = 0, participants = -1, uses = 0 }
local epoch = tonumber(ARGV[2])
if epoch > e.epoch then
	entry_write(KEYS[2], ARGV[1], { epoch = epoch, participants = -1, uses = e.uses + 1 })
end
return 1
