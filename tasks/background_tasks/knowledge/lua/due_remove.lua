-- ARGV: id, now (ms or ''), field, value, then the record's field, value, ...
-- Take an id out, wherever it is, and file it under done. With a record: only while its `field` is `value`, else 0.
-- Example: cancel "tea" while status = active, writing status = cancelled.
local id = ARGV[1]
if record ~= '' then
  if redis.call('TYPE', record).ok ~= 'hash' or redis.call('HGET', record, ARGV[3]) ~= ARGV[4] then return 0 end
  write_record(5)
  redis.call('ZADD', done, int(now_ms(ARGV[2])), id)
elseif not (redis.call('ZSCORE', due, id) or redis.call('ZSCORE', inflight, id)) then
  return 0
end
redis.call('ZREM', due, id)
drop_claim(id)
return 1
