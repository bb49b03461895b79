-- Replaces the documents if nobody else has since they were read.
--
-- KEYS  documents
-- ARGV  1 the revision that they replace   2 the documents
-- Gives {1 = stored or 0 = somebody was faster, the revision now stored}.

local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
if revision ~= tonumber(ARGV[1]) then
  return {0, revision}
end
redis.call('HSET', KEYS[1], 'revision', revision + 1, 'body', ARGV[2])
return {1, revision + 1}
