-- KEYS record charges rooms. ARGV room at_ms cost. Takes the cost off its bucket, and the room out of the index if it was
-- only reserved: with its last reservation, as two routers may reserve one room here and only one of them loses.

local e = entry_read(KEYS[3], ARGV[1])
if e and e.epoch == 0 and e.participants < -1 then
	e.participants = e.participants + 1
	entry_write(KEYS[3], ARGV[1], e)
elseif e and e.epoch == 0 then
	entry_drop(KEYS[1], KEYS[3], ARGV[1])
end
local buckets = redis.call('LRANGE', KEYS[2], 0, -1)
for i = #buckets, 1, -1 do
	local number, cost, at = string.match(buckets[i], '^(%d+):([^:]+):(%d+)$')
	if at == ARGV[2] then
		cost = math.max(0, tonumber(cost) - tonumber(ARGV[3]))
		redis.call('LSET', KEYS[2], i - 1, number .. ':' .. string.format('%.12g', cost) .. ':' .. at)
		break
	end
end
return 1
