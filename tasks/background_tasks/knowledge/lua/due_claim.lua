-- ARGV: limit, lease (ms), now (ms or ''). Answer: now, then id, due (ms), token for each claimed id, oldest due first.
-- Expired leases go back to due first. What is added comes before what is taken away: a script that fails half-way
-- (a key of another type) may leave an id twice, never nowhere.
local limit, lease, now = tonumber(ARGV[1]), tonumber(ARGV[2]), now_ms(ARGV[3])

for _, id in ipairs(redis.call('ZRANGE', inflight, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, limit)) do
  local token, due_at, again = claim_of(id)
  local back = token and tonumber(due_at) or now
  if token and again ~= '' and tonumber(again) < back then back = tonumber(again) end
  redis.call('ZADD', due, 'LT', int(back), id)
  drop_claim(id)
end

local answer = { int(now) }
local taken = redis.call('ZRANGE', due, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
local last = #taken > 0 and redis.call('INCRBY', seq, #taken / 2) or 0
for at = 1, #taken, 2 do
  local id, due_at = taken[at], int(tonumber(taken[at + 1]))
  local token = int(last - (#taken - at - 1) / 2)
  redis.call('HSET', claims, id, token .. ':' .. due_at .. ':')
  redis.call('ZADD', inflight, int(now + lease), id)
  redis.call('ZREM', due, id)
  answer[#answer + 1] = id
  answer[#answer + 1] = due_at
  answer[#answer + 1] = token
end
return answer
