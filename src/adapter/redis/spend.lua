-- Gives tokens of a budget: a token bucket that fills by this server's time. An absent one is full.
--
-- KEYS  budget
-- ARGV  1 how many are wanted   2 how many come in a second   3 how many it holds at most
-- Gives how many were taken, whole ones.

-- Ten years: a server refuses what it cannot count in milliseconds.
local LONGEST_S = 315360000

local budget = KEYS[1]
local want, per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

local stored = redis.call('HMGET', budget, 'tokens', 'at')
local tokens = burst
if stored[1] then
  -- A clock that was set back fills nothing, and is followed.
  local passed_us = math.max(0, now_us - tonumber(stored[2]))
  tokens = math.min(burst, tonumber(stored[1]) + passed_us / 1000000 * per_second)
end

local given = math.min(want, math.floor(tokens))
-- Seventeen digits carry a double exactly; sixteen hold the microseconds.
redis.call('HSET', budget, 'tokens', string.format('%.17g', tokens - given), 'at', string.format('%.0f', now_us))
-- Once it would be full again, forgetting it changes nothing. A day is the most for one that hardly fills.
local full_s = per_second > 0 and math.ceil((burst - tokens + given) / per_second) + 1 or 86400
redis.call('EXPIRE', budget, string.format('%.0f', math.min(full_s, LONGEST_S)))
return given
