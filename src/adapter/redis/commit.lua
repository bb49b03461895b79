-- One commit of one session in one group: all of it, or nothing at all.
--
-- KEYS  ledger, sequence, wake, the records' keys, the keys of the profiles that change
-- ARGV  1 incarnation   2 operation           3 the last operation acknowledged (0 = none)   4 the highest sequence seen
--       5 own token     6 where in a record's key the letter of its kind stands
--       7 records       8 profiles that change 9 wakes that change
--       then for each record   its expected token ('' = none) and its value ('' = delete)
--       then for each profile  the record it belongs to (negative = remove) and its value
--       then for each wake     the record it belongs to, its time in ms ('' = remove) and the user
-- Gives {1, operation in the ledger, sequence, time in ms, conflicts}; a conflict is three entries: the record's position
-- from 1, what is stored of record and profile. {0, ...} without conflicts: the ledger is not where it was; nothing is done.

-- What `unpack` is asked for at once: Lua's stack holds 8,000. Even, since MSET and ZADD take pairs.
local SLICE = 4000
-- A ledger is pruned of sessions silent for a week, once it holds this many, when a new session joins it.
local LEDGER_FULL, SILENT_S = 1000, 7 * 24 * 3600

local ledger, sequence_key, wake = KEYS[1], KEYS[2], KEYS[3]
local incarnation, operation, acknowledged, seen = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local own, kind_at = ARGV[5], tonumber(ARGV[6])
local records, profiles, wakes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local record_args = 9
local profile_args = record_args + 2 * records
local wake_args = profile_args + 2 * profiles
local sub = string.sub

local function in_slices(command, list, key)
  for from = 1, #list, SLICE do
    local to = math.min(from + SLICE - 1, #list)
    if key then
      redis.call(command, key, unpack(list, from, to))
    else
      redis.call(command, unpack(list, from, to))
    end
  end
end

local function prune(now_s)
  if redis.call('HLEN', ledger) < LEDGER_FULL then
    return
  end
  local entries, silent = redis.call('HGETALL', ledger), {}
  for i = 1, #entries, 2 do
    local last_s = tonumber(string.match(entries[i + 1], '%d+$'))
    if not last_s or last_s < now_s - SILENT_S then
      silent[#silent + 1] = entries[i]
    end
  end
  in_slices('HDEL', silent, ledger)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local sequence = tonumber(redis.call('GET', sequence_key) or 0)
local entry = redis.call('HGET', ledger, incarnation)
local stored = entry and tonumber(string.match(entry, '^%d+')) or 0

if stored < acknowledged or stored > operation or sequence < seen then
  return {0, stored, sequence, now_ms, {}}
end
-- The reply to this very operation was lost: nothing is written twice, own tokens tell what was written.
local repeated = stored == operation

local conflicts, lost, unreadable = {}, {}, nil
local function conflict(i)
  local key = KEYS[3 + i]
  -- Not among the keys, so in a slot that is on its way to another node it may be there already while the record is still here.
  local profile = redis.pcall('GET', sub(key, 1, kind_at - 1) .. 'p' .. sub(key, kind_at + 1))
  if type(profile) == 'table' and profile.err then
    unreadable = unreadable or profile
  end
  conflicts[#conflicts + 1] = i
  conflicts[#conflicts + 1] = redis.call('GET', key)
  conflicts[#conflicts + 1] = profile
  lost[i] = true
end

for i = 1, records do
  local token = redis.call('GETRANGE', KEYS[3 + i], 1, 16)
  local at = record_args + 2 * i
  if repeated then
    local deleted = token == '' and ARGV[at] == ''
    if token ~= own and not deleted then
      conflict(i)
    end
  elseif token ~= ARGV[at - 1] then
    conflict(i)
  end
end

if unreadable then
  if string.match(unreadable.err, '^WRONGTYPE') then
    return unreadable
  end
  return redis.error_reply('TRYAGAIN the profile of a user is on its way to another node')
end

-- Also a repeat writes the ledger: WAIT waits for what its own connection wrote.
redis.call('HSET', ledger, incarnation, ARGV[2] .. ' ' .. time[1])
if repeated then
  return {1, stored, sequence, now_ms, conflicts}
end
if not entry then
  prune(tonumber(time[1]))
end

local set, gone = {}, {}
local function put(key, value, delete)
  if delete then
    gone[#gone + 1] = key
  else
    local n = #set
    set[n + 1] = key
    set[n + 2] = value
  end
end
for i = 1, records do
  if not lost[i] then
    local value = ARGV[record_args + 2 * i]
    put(KEYS[3 + i], value, value == '')
  end
end
for i = 1, profiles do
  local at = profile_args + 2 * i
  local record = tonumber(ARGV[at - 1])
  if not lost[math.abs(record)] then
    put(KEYS[3 + records + i], ARGV[at], record < 0)
  end
end
in_slices('MSET', set)
in_slices('DEL', gone)

local scores, unscored = {}, {}
for i = 1, wakes do
  local at = wake_args + 3 * i
  if not lost[tonumber(ARGV[at - 2])] then
    if ARGV[at - 1] == '' then
      unscored[#unscored + 1] = ARGV[at]
    else
      local n = #scores
      scores[n + 1] = ARGV[at - 1]
      scores[n + 2] = ARGV[at]
    end
  end
end
in_slices('ZADD', scores, wake)
in_slices('ZREM', unscored, wake)

return {1, operation, redis.call('INCR', sequence_key), now_ms, conflicts}
