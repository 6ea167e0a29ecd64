-- KEYS record rooms. ARGV room epoch. The node does not hold this room at this epoch, nor at an older one.

local e = entry_read(KEYS[2], ARGV[1])
if e and e.epoch <= tonumber(ARGV[2]) then
	entry_drop(KEYS[1], KEYS[2], ARGV[1])
	return 1
end
return 0
