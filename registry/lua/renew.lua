-- KEYS record. ARGV incarnation registration seq lease_ms reported load seen shown routers. Gives { verdict, wish, charged,
-- listed }, the verdict in the order of enum renew_verdict. A registration above the record's means that the store lost data: it is
-- taken, but only for the process that the record names, and never over `lost`: somebody may be placing its rooms by that.

local r = redis.call('HMGET', KEYS[1], 'incarnation', 'registration', 'seq', 'lost', 'wish', 'charged', 'listed')
local wish, charged, listed = r[5] or 'enabled', r[6] or '0', r[7] or '0'
if not r[1] or r[1] == '' then
	return { 2, wish, charged, listed }
end
local registration, seq = tonumber(ARGV[2]), tonumber(ARGV[3])
local known, known_seq = tonumber(r[2]) or 0, tonumber(r[3]) or 0
if registration < known then
	return { 3, wish, charged, listed }
end
if r[1] ~= ARGV[1] then
	return { 2, wish, charged, listed }
end
if r[4] == '1' then
	return { 2, wish, charged, listed }
end
if registration == known and seq <= known_seq then
	return { 1, wish, charged, listed }
end
write_without_memory(KEYS[1])
redis.call('HSET', KEYS[1], 'registration', ARGV[2], 'seq', ARGV[3], 'lease_ms', ARGV[4], 'reported', ARGV[5],
	'load', ARGV[6], 'seen', ARGV[7], 'shown', ARGV[8], 'routers', ARGV[9], 'lost', '0', 'heard', num(now_ms()))
return { 0, wish, charged, listed }
