-- KEYS record charges rooms. ARGV incarnation. Gives 0: this process does not hold the node, 1: nothing is left of it,
-- 2: its wish is left, as one other than "enabled" outlives the process.

if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then
	return 0
end
local r = redis.call('HMGET', KEYS[1], 'wish', 'drain', 'wished')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
local wish, drain = wish_left(r[1] or 'enabled', r[2] or '')
if wish ~= 'enabled' then
	redis.call('HSET', KEYS[1], 'wish', wish, 'drain', drain, 'wished', r[3] or '0')
	return 2
end
return 1
