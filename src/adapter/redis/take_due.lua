-- Takes users whose wake has passed and hides them, earliest first.
--
-- KEYS  wake
-- ARGV  1 now in ms   2 at most so many   3 the time in ms until which they are hidden
-- Gives the users.

local SLICE = 4000

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local hidden = {}
for i = 1, #due do
  hidden[2 * i - 1] = ARGV[3]
  hidden[2 * i] = due[i]
end
for from = 1, #hidden, SLICE do
  redis.call('ZADD', KEYS[1], 'XX', unpack(hidden, from, math.min(from + SLICE - 1, #hidden)))
end
return due
