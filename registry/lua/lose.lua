-- KEYS record. ARGV registration seq. Gives 1 if it was still what the caller watched, and is lost now.

local r = redis.call('HMGET', KEYS[1], 'registration', 'seq', 'incarnation')
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or (r[3] or '') == '' then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'lost', '1')
return 1
