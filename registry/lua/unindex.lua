-- KEYS record rooms. ARGV room epoch reserved_max_ms. The node does not hold this room at this epoch, nor at an older one. With
-- epoch 0: a reservation goes once it is older than a request can be.

local e = entry_read(KEYS[2], ARGV[1])
if not e or e.epoch > tonumber(ARGV[2]) or (ARGV[2] == '0' and e.uses + tonumber(ARGV[3]) > now_ms()) then
	return 0
end
entry_drop(KEYS[1], KEYS[2], ARGV[1])
return 1
