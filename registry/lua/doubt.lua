-- KEYS mark. ARGV generation young_ms other_generation. A node is from before this data. whole -> rebuilding, if it is still this
-- generation, and so young that such a node may not have been heard yet. Where there is no mark at all, one begins that nobody
-- has taken for whole, and that every server's next look takes for another's.

local m = redis.call('HMGET', KEYS[1], 'generation', 'since')
if not m[1] then
	redis.call('HSET', KEYS[1], 'generation', ARGV[3], 'state', 'rebuilding', 'server', '', 'since', num(now_ms()))
	return 1
end
if m[1] ~= ARGV[1] or (tonumber(m[2]) or 0) + tonumber(ARGV[2]) < now_ms() then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'rebuilding')
return 1
