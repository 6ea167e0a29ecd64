-- KEYS mark. ARGV generation. rebuilding -> whole, if it is still this generation.

if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'whole')
return 1
