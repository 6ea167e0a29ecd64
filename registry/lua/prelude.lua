-- Stands before every other script. Numbers reach 2^53; tostring() would round them, so they are always printed by num().

local function num(n)
	return string.format('%.0f', n)
end

local function now_ms()
	local t = redis.call('TIME')
	return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- A server that is out of memory refuses a script's first write and no other. What must go on then (leases, marks, the end of
-- rooms: not what makes new ones) begins with this write, which takes no memory and changes nothing. Every version of Redis
-- and Valkey behaves so; the flag "allow-oom" would do it in Redis 7 only.
local function write_without_memory(key)
	redis.call('HDEL', key, '')
end

-- Reading is also what makes Redis watch the key for the caller; a write by the caller itself ends the watch. So every
-- script whose answer is kept in a table calls this last. There are many rooms, each in as few bytes as can be read: names are
-- short, and a field that is not there says created_at = the epoch, by = "report", exclusive = 0, no hints.
local function room_read(key)
	return redis.call('HMGET', key, 'state', 'epoch', 'node', 'inc', 'reg', 'created_at', 'by', 'exclusive', 'hints')
end

-- An epoch is the time at which the room was made, but for one that ran ahead of the clock by more than people mind.
local function room_created(key, epoch, now)
	if epoch > now + 1000 then
		redis.call('HSET', key, 'created_at', num(now))
	end
end

-- An entry of a node's index of rooms: "epoch participants uses". Epoch 0 while the room is only reserved: then participants
-- counts the reservations, below zero, and uses is the time of the last, so that one that nobody gives back can be told.
local function entry_read(key, room)
	local text = redis.call('HGET', key, room)
	if not text then
		return nil
	end
	local epoch, participants, uses = string.match(text, '^(%d+) (-?%d+) (%d+)$')
	return { epoch = tonumber(epoch) or 0, participants = tonumber(participants) or -1, uses = tonumber(uses) or 0 }
end

local function entry_write(key, room, e)
	redis.call('HSET', key, room, num(e.epoch) .. ' ' .. num(e.participants) .. ' ' .. num(e.uses))
end

-- A room leaves the index of its node; with it goes the node's being held by that room alone.
local function entry_drop(record, key, room)
	redis.call('HDEL', key, room)
	if redis.call('HGET', record, 'exclusive') == room then
		redis.call('HDEL', record, 'exclusive')
	end
end

-- The wish that outlives a process: its own drain (registry/nodes.h, DRAIN_OWN) ends with it.
local function wish_left(wish, drain)
	local own = '{"by":"node"'
	if wish ~= 'draining' or string.sub(drain, 1, #own) ~= own then
		return wish, drain
	end
	local cordoned = own .. ',"was":"cordoned"'
	return string.sub(drain, 1, #cordoned) == cordoned and 'cordoned' or 'enabled', ''
end
