-- Acknowledge, fail or fire one claim, with everything that belongs to it.
-- KEYS 7: flag of the occurrence or ''. KEYS 8: stream or ''.
-- ARGV: id, token, next (ms or ''), finished ('1' or ''), now (ms or ''), life of the flag (ms), n, then n values of the
-- stream's entry, then the record's field, value, ...
-- Answer: 0 the token is not current, nothing changed; 1 applied; 2 applied, but the occurrence was fired before.
local id, next_at, entry = ARGV[1], ARGV[3], tonumber(ARGV[7])
local token, _, again = claim_of(id)
if token ~= ARGV[2] then return 0 end

local answer = 1
if KEYS[7] ~= '' then
  if redis.call('EXISTS', KEYS[7]) == 1 then
    answer = 2
  else
    if KEYS[8] ~= '' then redis.call('XADD', KEYS[8], '*', unpack(ARGV, 8, 7 + entry)) end
    redis.call('SET', KEYS[7], id, 'PX', ARGV[6])
  end
end

write_record(8 + entry)
if again ~= '' and (next_at == '' or tonumber(again) < tonumber(next_at)) then next_at = again end
if next_at ~= '' then
  redis.call('ZADD', due, next_at, id)
elseif ARGV[4] == '1' then
  redis.call('ZADD', done, int(now_ms(ARGV[5])), id)
end
drop_claim(id)
return answer
