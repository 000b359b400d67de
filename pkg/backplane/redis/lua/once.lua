-- Publishes an envelope to a target without a log, unless its idempotency key is known already.
--
-- KEYS[1] once  as in append.lua, with the epoch - and the offset 0
-- ARGV    1 channel  2 PUBLISH or SPUBLISH  3 envelope  4 fingerprint  5 message id  6 window, ms
-- Returns A, D or C as append.lua does, with the epoch - and the offset 0 unless the first publication was kept
local first = redis.call('GET', KEYS[1])
if first then
  if string.sub(first, 1, #ARGV[4]) ~= ARGV[4] then
    return 'C'
  end
  return 'D' .. string.sub(first, #ARGV[4] + 1)
end
redis.call('SET', KEYS[1], ARGV[4] .. ' - 0 ' .. ARGV[5], 'PX', ARGV[6])
redis.call(ARGV[2], ARGV[1], ARGV[3])
return 'A - 0'
