-- Shared by the due-queue's scripts: put in front of each of them.
-- KEYS 1-5: due (zset id -> ms), inflight (zset id -> end of lease, ms), claims (hash), seq (int), done (zset id -> ms).
-- KEYS 6: the id's own record, a hash that changes together with the queue, or ''.
local due, inflight, claims, seq, done, record = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- '' asks for the server's clock: replicas then agree on what is due.
local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function int(number) return string.format('%.0f', number) end

-- A claim is "token:due:again", e.g. "17:1700000000000:" - `again` is a wish that came while it was in flight.
local function claim_of(id)
  local found = redis.call('HGET', claims, id)
  if not found then return nil end
  return string.match(found, '^(%d+):(-?%d+):(-?%d*)$')
end

local function drop_claim(id)
  redis.call('ZREM', inflight, id)
  redis.call('HDEL', claims, id)
end

-- Write ARGV[from..] as field, value, ... unless there is no record: a deleted record is not made anew.
local function write_record(from)
  if record == '' or not ARGV[from] then return end
  if redis.call('TYPE', record).ok == 'hash' then redis.call('HSET', record, unpack(ARGV, from)) end
end
