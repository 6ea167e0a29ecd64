-- KEYS mark. ARGV generation young_ms. whole -> rebuilding, if it is still this generation, and so young that a node which came from
-- before it may not have been heard yet.

local m = redis.call('HMGET', KEYS[1], 'generation', 'since')
if m[1] ~= ARGV[1] or (tonumber(m[2]) or 0) + tonumber(ARGV[2]) < now_ms() then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'rebuilding')
return 1
