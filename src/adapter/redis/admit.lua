-- Lets users into a bounded set: who is in stays in, a new one comes in while there is room.
--
-- KEYS  set
-- ARGV  1 how long the set is kept, in s   then for each user  how many the set may hold, the user
-- Gives for each user 1 = is in, or 0.

local set, keep_s = KEYS[1], tonumber(ARGV[1])
local count, answers = redis.call('SCARD', set), {}

for i = 2, #ARGV, 2 do
  local limit, user = tonumber(ARGV[i]), ARGV[i + 1]
  local member = redis.call('SISMEMBER', set, user)
  if member == 0 and count < limit then
    redis.call('SADD', set, user)
    member, count = 1, count + 1
  end
  answers[#answers + 1] = member
end

-- Not at every call: it would make a write of what only asks.
if count > 0 and redis.call('TTL', set) < keep_s / 2 then
  redis.call('EXPIRE', set, keep_s)
end
return answers
