-- Delete prompts that ended long ago. KEYS 1-3: due, inflight, done.
-- ARGV: cutoff (ms), offset, limit, prefix of the records, '1' for a dry run.
-- Each id is looked at again here: one that was revived meanwhile, is active, due or in flight is left alone.
-- An entry without a record is left to sweep_index. Answer: looked at, deleted, kept. Example: cutoff = now - 7 days, 0, 500, 'sg:prompt:', ''.
local due, inflight, done = KEYS[1], KEYS[2], KEYS[3]
local wet, deleted, kept = ARGV[5] ~= '1', 0, 0
local ids = redis.call('ZRANGE', done, '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3])

for _, id in ipairs(ids) do
  local record = ARGV[4] .. id
  local type = redis.call('TYPE', record).ok
  local active = type == 'hash' and redis.call('HGET', record, 'status') == 'active'
  if type == 'none' or active or redis.call('ZSCORE', due, id) or redis.call('ZSCORE', inflight, id) then
    kept = kept + 1
  else
    deleted = deleted + 1
    if wet then
      redis.call('UNLINK', record)
      redis.call('ZREM', done, id)
    end
  end
end
return { #ids, deleted, kept }
