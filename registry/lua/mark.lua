-- KEYS mark. ARGV server generation keep state. Gives { generation, state, since }. The mark says which data this is, and whether
-- it is all there. Without a mark a new generation begins, in the state that the caller knows best: "whole" if it knows of no
-- node that ever was; "" begins none, and nothing is given. One that another server process wrote may be from before a loss: then it is rebuilding. keep 1: the
-- replicas have all that counts, so that another process with our mark in its data has it, too.

local m = redis.call('HMGET', KEYS[1], 'generation', 'state', 'server')
if not m[1] and ARGV[4] == '' then
	return { '0', '', '0' }
end
if m[3] ~= ARGV[1] then
	write_without_memory(KEYS[1])
end
if not m[1] then
	redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'state', ARGV[4], 'server', ARGV[1], 'since', num(now_ms()))
elseif m[3] ~= ARGV[1] and ARGV[3] ~= '1' then
	redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'state', 'rebuilding', 'server', ARGV[1], 'since', num(now_ms()))
elseif m[3] ~= ARGV[1] then
	redis.call('HSET', KEYS[1], 'server', ARGV[1])
end
return redis.call('HMGET', KEYS[1], 'generation', 'state', 'since')
