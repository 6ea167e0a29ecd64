-- KEYS routers. ARGV id info silent_ms. Says that this router lives, and forgets those that have been silent.

local now = now_ms()
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], num(now) .. ' ' .. ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local heard = tonumber(string.match(all[i + 1], '^(%d+) ') or '0')
	if heard + tonumber(ARGV[3]) < now then
		redis.call('HDEL', KEYS[1], all[i])
	end
end
return 1
