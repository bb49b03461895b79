-- Founds the store when there is none; says what it was founded with.
--
-- KEYS  store
-- ARGV  1 id   2 format   3 groups
-- Gives {id, format, groups} as stored.

if redis.call('HSETNX', KEYS[1], 'id', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'format', ARGV[2], 'groups', ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'id', 'format', 'groups')
