"""The Lua of `leases/redis.py`: each script reads, checks and writes in one step. Keys and their forms: see there."""

from background_tasks.services.redis import LUA_DEMAND, Script

_SERVER = """
local function server_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and info:match('run_id:(%x+)') or ''
end
"""

# Example: EVALSHA ... bgt:p:members bgt:p:member:w1 bgt:p:slots  w1 {"version":"ab",...} 120000 bgt:p:changed
RENEW = Script(
    LUA_DEMAND
    + """
local wrong = demand(KEYS[1], 'set', 'members'); if wrong then return wrong end
local before = redis.pcall('GET', KEYS[2])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
local function leaving(record) return type(record) == 'string' and record:find('"leaving":true', 1, true) ~= nil end
if redis.call('SADD', KEYS[1], ARGV[1]) == 1 or leaving(before) ~= leaving(ARGV[2]) then
  redis.call('PUBLISH', ARGV[4], '')
end
if KEYS[4] then
  local row = redis.pcall('HGET', KEYS[3], '0')
  if type(row) == 'string' and row:match(':(.*)$') == ARGV[1] then
    redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[6])
  end
end
return 1
""",
    "renew lease",
)

# Example: EVALSHA ... bgt:p:members bgt:p:member:w1  w1 bgt:p:changed
RELEASE = Script(
    """
redis.call('DEL', KEYS[2])
redis.pcall('SREM', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], '')
return 1
""",
    "release lease",
)

# Example: EVALSHA ... bgt:p:members  bgt:p:member:   answers {id, record, id, record ...}, '' for a wrong type
MEMBERS = Script(
    LUA_DEMAND
    + """
local wrong = demand(KEYS[1], 'set', 'members'); if wrong then return wrong end
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local record = redis.pcall('GET', ARGV[1] .. id)
  if record == false then
    redis.call('SREM', KEYS[1], id)
  else
    found[#found + 1] = id
    found[#found + 1] = type(record) == 'string' and record or ''
  end
end
return found
""",
    "read leases",
)

# Example: EVALSHA ... bgt:p:slots  16 <a new realm> bgt:p:changed ?unreadable   answers {realm, why anew, rows}
READ = Script(
    LUA_DEMAND
    + _SERVER
    + """
local wrong = demand(KEYS[1], 'hash', 'slots'); if wrong then return wrong end
local stored, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do stored[all[i]] = all[i + 1] end
if stored.count and stored.count:match('^%d+$') and stored.count ~= ARGV[1] then
  return redis.error_reply('slot table ' .. KEYS[1] .. ' has ' .. stored.count .. ' slots, this worker was told ' ..
    ARGV[1] .. ': the number never changes; give ' .. stored.count .. ', or another pool')
end
local why, rows, server = '', {}, server_id()
if #all > 0 then
  if not stored.realm or stored.realm == '' then why = 'field realm is missing' end
  if not stored.count or not stored.count:match('^%d+$') then why = 'field count is not a number' end
  if server ~= '' and stored.server ~= server then why = 'another server process wrote it' end
end
for slot = 0, ARGV[1] - 1 do
  local row = stored[tostring(slot)]
  local epoch = row and row:match('^(%d+):')
  if #all > 0 and (not epoch or #epoch > 15) then
    why = 'field ' .. slot .. ' is not <epoch>:<holder> but ' .. (row or 'missing')
    row = '0:' .. ARGV[4]
  end
  rows[#rows + 1] = row or '0:'
end
if #all == 0 or why ~= '' then
  stored.realm = ARGV[2]
  redis.call('HSET', KEYS[1], 'realm', ARGV[2], 'count', ARGV[1], 'server', server)
  for slot = 0, ARGV[1] - 1 do redis.call('HSET', KEYS[1], slot, rows[slot + 1]) end
  redis.call('PUBLISH', ARGV[3], '')
end
return {stored.realm, why, rows}
""",
    "read slot table",
)

# Example: EVALSHA ... bgt:p:slots  <realm> 3 7:w1 8:w2 bgt:p:changed   answers 1, or 0 when somebody was first
SWAP = Script(
    LUA_DEMAND
    + _SERVER
    + """
local wrong = demand(KEYS[1], 'hash', 'slots'); if wrong then return wrong end
local now = redis.call('HMGET', KEYS[1], 'realm', 'server', ARGV[2])
if now[1] ~= ARGV[1] or now[2] ~= server_id() or now[3] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
redis.call('PUBLISH', ARGV[5], '')
if KEYS[2] then
  if ARGV[4]:match(':(.+)$') then
    redis.call('SET', KEYS[2], ARGV[6], 'PX', ARGV[7])
  elseif redis.pcall('GET', KEYS[2]) == ARGV[6] then
    redis.call('DEL', KEYS[2])
  end
end
return 1
""",
    "write slot table",
)
