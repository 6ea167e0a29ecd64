-- KEYS record charges rooms. ARGV room registration cost rooms_max exclusive bucket_ms buckets channel node.
-- Gives { "" or why not, number, at_ms }. Charges of one bucket are one entry, so that the list stays short however fast rooms
-- come. Numbers grow with the clock, so that a node's old `seen` covers nothing new after a loss of data. All routers hear of it.

local r = redis.call('HMGET', KEYS[1], 'registration', 'lost', 'charged', 'exclusive')
if r[1] ~= ARGV[2] or r[2] == '1' then
	return { 'registration', '0', '0' }
end
local e = entry_read(KEYS[3], ARGV[1])
local others = redis.call('HLEN', KEYS[3]) - (e and 1 or 0)
if (r[4] and r[4] ~= ARGV[1]) or (ARGV[5] == '1' and others > 0) then
	return { 'exclusive', '0', '0' }
end
local most = tonumber(ARGV[4])
if most > 0 and others >= most then
	return { 'rooms', '0', '0' }
end

local now = now_ms()
local number = num(math.max((tonumber(r[3]) or 0) + 1, now))
local cost = tonumber(ARGV[3])
local at = num(now - now % tonumber(ARGV[6]))
local last = redis.call('LINDEX', KEYS[2], -1)
local last_cost, last_at
if last then
	last_cost, last_at = string.match(last, '^%d+:([^:]+):(%d+)$')
end
if last_at == at then
	redis.call('LSET', KEYS[2], -1, number .. ':' .. string.format('%.12g', tonumber(last_cost) + cost) .. ':' .. at)
else
	redis.call('RPUSH', KEYS[2], number .. ':' .. string.format('%.12g', cost) .. ':' .. at)
	redis.call('LTRIM', KEYS[2], -tonumber(ARGV[7]), -1)
end
if not e or e.epoch == 0 then
	entry_write(KEYS[3], ARGV[1], { epoch = 0, participants = (e and e.participants or 0) - 1, uses = now })
end
redis.call('HSET', KEYS[1], 'charged', number)
if ARGV[5] == '1' then
	redis.call('HSET', KEYS[1], 'exclusive', ARGV[1])
end
redis.pcall('PUBLISH', ARGV[8], ARGV[9] .. ' ' .. number .. ' ' .. ARGV[3])
return { '', number, at }
