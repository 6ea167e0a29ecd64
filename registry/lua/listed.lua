-- KEYS record. ARGV registration generation. This registration's full list of rooms was gone through, with the store's data as of
-- this generation.

if redis.call('HGET', KEYS[1], 'registration') ~= ARGV[1] then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'listed', ARGV[2])
return 1
