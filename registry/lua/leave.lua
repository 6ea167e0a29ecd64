-- KEYS record charges rooms. ARGV incarnation. Gives 0: this process does not hold the node, 1: nothing is left of it,
-- 2: its wish is left, as one other than "enabled" outlives the process.

if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then
	return 0
end
local wish = redis.call('HGET', KEYS[1], 'wish') or 'enabled'
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if wish ~= 'enabled' then
	redis.call('HSET', KEYS[1], 'wish', wish)
	return 2
end
return 1
