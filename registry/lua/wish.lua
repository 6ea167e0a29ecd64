-- KEYS record. ARGV wish. Gives 1, 0: no such node, 2: nothing is left of the node now.

local r = redis.call('HMGET', KEYS[1], 'wish', 'incarnation')
if not r[1] then
	return 0
end
if (r[2] or '') == '' and ARGV[1] == 'enabled' then
	redis.call('DEL', KEYS[1])
	return 2
end
redis.call('HSET', KEYS[1], 'wish', ARGV[1])
return 1
