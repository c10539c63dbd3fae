"""The Lua of `sinks/redis.py`: the fence is checked and the effect written in one step. Keys and forms: see there."""

from background_tasks.services.redis import LUA_DEMAND, Script

_FENCE = """
local function number(text)
  return text and #text < 15 and text:match('^%d+$') and tonumber(text) or nil
end

-- A realm's number is above all that were given before. Each entry has its say, not the counter alone: a counter that
-- began anew would give a new realm the number of an old one, whose higher epochs would then shut its holders out.
local function enter(key, realm)
  local newest = 0
  for _, text in ipairs(redis.call('HVALS', key)) do
    newest = math.max(newest, number(text:match('^%d+$') or text:match('^(%d+):%d+$')) or 0)
  end
  redis.call('HSET', key, 'realms', newest + 1, 'realm:' .. realm, newest + 1)
  return newest + 1
end

-- The newest (realm, epoch) of a slot wins for ever. Realms are numbered as they first come, and one that never came
-- before the slot table was made anew comes too late: numbered now, it would be newer than the table's own.
local function superseded(key, slots, realm, slot, epoch)
  if realm == '' then return nil end
  local order = number(redis.call('HGET', key, 'realm:' .. realm))
  if not order then
    local current = redis.pcall('HGET', slots, 'realm')
    if type(current) == 'string' and current ~= realm then return 'a newer slot table has been made' end
    order = enter(key, realm)
  end
  local newest = redis.call('HGET', key, 'slot:' .. slot) or ''
  local known_order, known_epoch = newest:match('^(%d+):(%d+)$')
  local ours = order .. ':' .. epoch
  if known_order then
    known_order, known_epoch = tonumber(known_order), tonumber(known_epoch)
    if order < known_order then return 'a newer slot table has been made' end
    if order == known_order and tonumber(epoch) < known_epoch then
      return 'its epoch is ' .. known_epoch .. ' by now'
    end
  end
  if newest ~= ours then redis.call('HSET', key, 'slot:' .. slot, ours) end
end
"""

# Example: EVALSHA ... bgt:p:past bgt:p:marks bgt:p:fences bgt:p:runs bgt:p:slots
#   <realm> 3 8 <uid> {"fired_at":...} end {"run_id":...} "end w1-7" 200000   answers '' or why it is superseded
# An empty past is left alone.
# The mark keeps a write that is sent again, because its answer was lost, from being told twice.
RECORD = Script(
    LUA_DEMAND
    + _FENCE
    + """
local wrong = demand(KEYS[1], 'hash', 'pasts') or demand(KEYS[2], 'hash', 'marks') or
  demand(KEYS[3], 'hash', 'fences') or demand(KEYS[4], 'stream', 'runs')
if wrong then return wrong end
local late = superseded(KEYS[3], KEYS[5], ARGV[1], ARGV[2], ARGV[3])
if late then return late end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
if ARGV[6] == '' or redis.call('HGET', KEYS[2], ARGV[4]) == ARGV[8] then return '' end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[8])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[9], '*', 'kind', ARGV[6], 'uid', ARGV[4], 'data', ARGV[7])
return ''
""",
    "write ledger",
)

# Example: EVALSHA ... bgt:p:claims bgt:p:fences bgt:p:runs bgt:p:slots
#   <realm> 3 8 <uid> 1764022000.0 32 {"task":...} 200000
#   answers 1, 0 when it was claimed before, or why it is superseded
CLAIM = Script(
    LUA_DEMAND
    + _FENCE
    + """
local wrong = demand(KEYS[1], 'hash', 'claims') or demand(KEYS[2], 'hash', 'fences') or
  demand(KEYS[3], 'stream', 'runs')
if wrong then return wrong end
local late = superseded(KEYS[2], KEYS[4], ARGV[1], ARGV[2], ARGV[3])
if late then return late end
local kept = {}
for fire in (redis.call('HGET', KEYS[1], ARGV[4]) or ''):gmatch('%S+') do
  if fire == ARGV[5] then return 0 end
  kept[#kept + 1] = fire
end
kept[#kept + 1] = ARGV[5]
while #kept > tonumber(ARGV[6]) do table.remove(kept, 1) end
redis.call('HSET', KEYS[1], ARGV[4], table.concat(kept, ' '))
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[8], '*', 'kind', 'claim', 'uid', ARGV[4], 'data', ARGV[7])
return 1
""",
    "claim a fire time",
)

# Example: EVALSHA ... bgt:p:past bgt:p:marks bgt:p:claims  <uid>
FORGET = Script(
    """
for _, key in ipairs(KEYS) do redis.pcall('HDEL', key, ARGV[1]) end
return 1
""",
    "forget a task",
)
