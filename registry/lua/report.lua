-- KEYS rooms. ARGV room epoch participants, repeated. Entries of the index at the same epoch take the participants. 2^53 - 1 says
-- that the node has let go of the room at this epoch, for ever: a report that comes late changes nothing any more.

for i = 1, #ARGV, 3 do
	local e = entry_read(KEYS[1], ARGV[i])
	local n = tonumber(ARGV[i + 2])
	if e and e.epoch > 0 and n >= 0 and e.epoch == tonumber(ARGV[i + 1]) and (n > 0 or n ~= e.participants) and
		e.participants < 9007199254740991 then
		e.participants = n
		e.uses = e.uses + 1
		write_without_memory(KEYS[1])
		entry_write(KEYS[1], ARGV[i], e)
	end
end
return 1
