-- KEYS rooms. ARGV room epoch. Somebody joined or talks to the room.

local e = entry_read(KEYS[1], ARGV[1])
if e and e.epoch == tonumber(ARGV[2]) then
	e.uses = e.uses + 1
	write_without_memory(KEYS[1])
	entry_write(KEYS[1], ARGV[1], e)
end
return 1
