-- KEYS record. Gives 1, 0: no such node. Routers that see the number grow close their breakers for the node.

if redis.call('EXISTS', KEYS[1]) == 0 then
	return 0
end
write_without_memory(KEYS[1])
redis.call('HINCRBY', KEYS[1], 'resets', 1)
return 1
