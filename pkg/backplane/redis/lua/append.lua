-- Appends an envelope to a target's log and publishes it with its position, in one atomic step, unless it is known already.
--
-- KEYS[3] once  only with an idempotency key: fingerprint, epoch, offset and message id of the first publication
-- ARGV    1 channel  2 PUBLISH or SPUBLISH  3 writer  4 sequence  5 replication id  6 size  7 bytes (0: no bound)  8 TTL, ms
--         9 envelope;  with once: 10 fingerprint  11 message id  12 window, ms
-- Returns A epoch offset             it was appended
--         S epoch offset             the writer's sequence is not newer than its newest; offset is where the envelope is, or 0
--         D epoch offset message_id  the idempotency key was seen with the same data
--         C                          the idempotency key was seen with other data
--
-- A writer sends its sequences in ascending order, a second attempt with the sequence of the first. So what is not newer than the
-- newest seen is either in the log, or was given up by the writer and must not come after what followed it.

-- How many bytes of an envelope are its body: see envelope.go.
local function body_length(entry)
  if string.byte(entry, 2) == 0 then
    return #entry - 2
  end
  local n = string.byte(entry, 3)
  if n < 128 then
    return #entry - 3 - n
  end
  return #entry - 4 - (n - 128) - 128 * string.byte(entry, 4)
end

local once = ARGV[12] and KEYS[3]
local writer, sequence, envelope = 'w:' .. ARGV[3], tonumber(ARGV[4]), ARGV[9]
local meta, offset = life(ARGV[5], ARGV[3] .. '-' .. ARGV[4], 'b', writer)
local epoch = meta[1]
if meta[5] and sequence <= tonumber(meta[5]) then
  local entries = redis.call('LRANGE', KEYS[1], 0, -1)
  for i = #entries, 1, -1 do
    if entries[i] == envelope then
      return 'S ' .. epoch .. ' ' .. string.format('%.0f', offset - #entries + i)
    end
  end
  return 'S ' .. epoch .. ' 0'
end
if once then
  local first = redis.call('GET', once)
  if first then
    if string.sub(first, 1, #ARGV[10]) ~= ARGV[10] then
      return 'C'
    end
    return 'D' .. string.sub(first, #ARGV[10] + 1)
  end
end

offset = offset + 1
local position = string.format('%.0f', offset)
local size, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local length = redis.call('RPUSH', KEYS[1], envelope)
local added
if most == 0 then
  -- Trimming an eighth at a time is cheaper than trimming one each time.
  if length > size + math.floor(size / 8) then
    redis.call('LTRIM', KEYS[1], -size, -1)
  end
  if meta[4] then
    redis.call('HDEL', KEYS[2], 'b') -- the bound was lifted
  end
  added = redis.call('HSET', KEYS[2], 'o', position, writer, ARGV[4])
else
  local bytes = 0
  if length == 1 or meta[4] then
    bytes = body_length(envelope) + tonumber(length > 1 and meta[4] or 0)
  else
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do -- the bound is new: count once
      bytes = bytes + body_length(entry)
    end
  end
  while length > 1 and (length > size or bytes > most) do
    bytes = bytes - body_length(redis.call('LPOP', KEYS[1]))
    length = length - 1
  end
  added = redis.call('HSET', KEYS[2], 'o', position, writer, ARGV[4], 'b', bytes)
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
if added > 0 and redis.call('HLEN', KEYS[2]) % 64 == 0 then
  -- Many writers have come: forget those that wrote nothing for ten minutes. Sequences are milliseconds × 1024 of the writers' clocks,
  -- so one that is ahead must not decide alone.
  local oldest = math.min(sequence, tonumber(redis.call('TIME')[1]) * 1024000) - 614400000
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'w:' and tonumber(all[i + 1]) < oldest then
      redis.call('HDEL', KEYS[2], all[i])
    end
  end
end
if once then
  redis.call('SET', once, ARGV[10] .. ' ' .. epoch .. ' ' .. position .. ' ' .. ARGV[11], 'PX', ARGV[12])
end
redis.call(ARGV[2], ARGV[1], '\2' .. epoch .. ':' .. position .. ':' .. envelope)
return 'A ' .. epoch .. ' ' .. position
