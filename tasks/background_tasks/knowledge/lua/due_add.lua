-- ARGV: id, at (ms), mode (if_absent | earliest | set), field, value, then the new record's field, value, ...
-- With a record: answer 0 and change nothing while its `field` is `value`, else put the new one in its place.
-- Example: add "tea" at 1700000000000, "set", refused while status = active.
local id, at, mode = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local waiting = redis.call('ZSCORE', due, id)
local flying = redis.call('ZSCORE', inflight, id)

if mode == 'if_absent' and (waiting or flying) then return 0 end
if record ~= '' then
  if redis.call('TYPE', record).ok == 'hash' and redis.call('HGET', record, ARGV[4]) == ARGV[5] then return 0 end
  redis.call('UNLINK', record)
  redis.call('HSET', record, unpack(ARGV, 6))
end
redis.call('ZREM', done, id)

if mode == 'set' then
  redis.call('ZADD', due, int(at), id)
  drop_claim(id)
elseif flying then
  local token, due_at, again = claim_of(id)
  if token and (again == '' or at < tonumber(again)) then
    redis.call('HSET', claims, id, token .. ':' .. due_at .. ':' .. int(at))
  end
else
  redis.call('ZADD', due, 'LT', int(at), id)
end
return 1
