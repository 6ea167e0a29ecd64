-- KEYS record charges rooms. ARGV incarnation replaces info lease_ms. Gives { verdict, registration, wish }, the verdict in
-- the order of enum register_verdict. A registration is made like an epoch: it only grows, also over a loss of data. One that was
-- not used yet is given again: else a copy that the process gave up on, and that runs late, would make the process itself stale.

local r = redis.call('HMGET', KEYS[1], 'incarnation', 'registration', 'lost', 'wish', 'seq', 'drain')
local held, wish, drain = r[1] or '', r[4] or 'enabled', r[6] or ''
local again = held == ARGV[1]
if held ~= '' and not again and r[3] ~= '1' and held ~= ARGV[2] then
	return { 2, r[2] or '0', wish }
end
local now = num(now_ms())
local registration = num(math.max((tonumber(r[2]) or 0) + 1, tonumber(now)))
if again and r[3] ~= '1' and r[5] == '0' then
	registration = r[2]
end
if again then
	write_without_memory(KEYS[1])
end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[1], 'registration', registration, 'seq', '0', 'lost', '0', 'info', ARGV[3],
	'lease_ms', ARGV[4], 'heard', now, 'wish', wish, 'listed', '0', 'routers', '')
if not again then
	local left, left_drain = wish_left(wish, drain)
	if left ~= wish then
		wish = left
		redis.call('HSET', KEYS[1], 'wish', left, 'drain', left_drain, 'wished', now)
	end
	redis.call('HSET', KEYS[1], 'since', now, 'reported', 'ready', 'load', '{}', 'seen', '0', 'shown', '0')
	redis.call('HDEL', KEYS[1], 'exclusive')
	redis.call('DEL', KEYS[2], KEYS[3])
end
return { again and 1 or 0, registration, wish }
