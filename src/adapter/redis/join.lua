-- Gives a new session its incarnation: the store's time in us, or one more than the last one given if the clock has not moved.
-- A mere counter would give a number again after the store lost writes, and two sessions would take each other's tokens for
-- their own.
--
-- KEYS  store
-- ARGV  1 the id that the store had when it was opened
-- Gives the incarnation in decimal digits, or nil when the store is another one.

if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return false
end
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[1], 'incarnation') or 0)
local incarnation = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'incarnation', incarnation)
return incarnation
