-- Delete records that no index knows. KEYS 1-3: due, inflight, done; KEYS 4..: records, each the prefix and an id.
-- ARGV: cutoff (ms), now (ms), length of the prefix, '1' for a dry run.
-- An active one is named and left. One that does not say when it was written is dated now and judged by that next time.
-- Answer: deleted, then the ids of active ones. Example: cutoff = now - 1 h, now, 10 for 'sg:prompt:', ''.
local cutoff, now, wet = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[4] ~= '1'
local deleted, stranded = 0, {}

local function written(record, field)
  local at = redis.call('HGET', record, field)
  at = at and string.match(at, '^%d+$') and tonumber(at)
  return at and at <= now and at
end

local function judge(record)
  if redis.call('TYPE', record).ok ~= 'hash' then return end
  local id = string.sub(record, ARGV[3] + 1)
  for index = 1, 3 do
    if redis.call('ZSCORE', KEYS[index], id) then return end
  end
  if redis.call('HGET', record, 'status') == 'active' then
    stranded[#stranded + 1] = id
    return
  end
  local at = written(record, 'updated_at') or written(record, 'orphan_since')
  if not at then
    if wet then redis.call('HSET', record, 'orphan_since', ARGV[2]) end
  elseif at < cutoff then
    deleted = deleted + 1
    if wet then redis.call('UNLINK', record) end
  end
end

for at = 4, #KEYS do judge(KEYS[at]) end
return { deleted, unpack(stranded) }
