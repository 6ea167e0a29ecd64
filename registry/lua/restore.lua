-- KEYS the room. ARGV epoch node incarnation registration hints rebuilding. Gives { won, record after it }; won 2: it was not
-- there before. Restoring is not assigning: node, incarnation and epoch are the report's. A process that has registered again
-- keeps its rooms under the new registration, and no claim that began under the old one takes them.

local r = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'node', 'inc', 'reg')
local epoch, at = tonumber(ARGV[1]), tonumber(r[2]) or 0
local same = r[3] == ARGV[2] and r[4] == ARGV[3]
if r[1] and r[1] ~= 'gone' then
	if at == epoch and same then
		if tonumber(ARGV[4]) > (tonumber(r[5]) or 0) then
			redis.call('HSET', KEYS[1], 'reg', ARGV[4])
		end
		return { 1, room_read(KEYS[1]) }
	end
	if at >= epoch or not (same or ARGV[6] == '1') then
		return { 0, room_read(KEYS[1]) }
	end
elseif r[1] == 'gone' and at >= epoch then
	return { 0, room_read(KEYS[1]) }
end
redis.call('HSET', KEYS[1], 'state', 'open', 'epoch', ARGV[1], 'node', ARGV[2], 'inc', ARGV[3], 'reg', ARGV[4])
redis.call('HDEL', KEYS[1], 'created_at', 'by', 'exclusive', 'hints')
redis.call('PERSIST', KEYS[1])
room_created(KEYS[1], epoch, now_ms())
if ARGV[5] ~= '' then
	redis.call('HSET', KEYS[1], 'hints', ARGV[5])
end
return { 2, room_read(KEYS[1]) }
