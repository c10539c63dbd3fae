-- Take entries without a record out of one index. KEYS 1: the zset, 2: claims.
-- ARGV: cutoff (ms), offset, limit, prefix of the records, '1' for a dry run.
-- Answer: looked at, taken out. Example: inflight, cutoff = now - 1 h, 0, 500, 'sg:prompt:', ''.
local wet, gone = ARGV[5] ~= '1', 0
local ids = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3])

for _, id in ipairs(ids) do
  if redis.call('EXISTS', ARGV[4] .. id) == 0 then
    gone = gone + 1
    if wet then
      redis.call('ZREM', KEYS[1], id)
      redis.call('HDEL', KEYS[2], id)
    end
  end
end
return { #ids, gone }
