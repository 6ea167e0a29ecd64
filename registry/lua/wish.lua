-- KEYS record. ARGV wish drain. Gives 1, 0: no such node, 2: nothing is left of the node now. `drain` is what goes with a wish to
-- drain (JSON of the routers'), "" with any other; a wish that is already there keeps the time since when it is.

local r = redis.call('HMGET', KEYS[1], 'wish', 'incarnation', 'drain')
if not r[1] then
	return 0
end
if (r[2] or '') == '' and ARGV[1] == 'enabled' then
	redis.call('DEL', KEYS[1])
	return 2
end
if r[1] ~= ARGV[1] or (r[3] or '') ~= ARGV[2] then
	write_without_memory(KEYS[1])
	redis.call('HSET', KEYS[1], 'wish', ARGV[1], 'drain', ARGV[2], 'wished', num(now_ms()))
end
return 1
