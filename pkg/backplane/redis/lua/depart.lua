-- Takes some of the users of a node out of the room whose lease has ended, or that goes by another name now, and tells of those
-- who have left. A node may have 100,000 users, so this is done in steps.
--
-- ARGV  1 channel  2 PUBLISH or SPUBLISH  3 node  4 users in a step  5 force, or ""  6 life of what is left for the next step, ms
--       7 head of an envelope
-- Returns D  nothing of the node is left, or it is alive
--         M  there is more
local node = ARGV[3]
local ends = redis.call('ZSCORE', KEYS[3], node)
if not ends then
  redis.call('UNLINK', KEYS[5])
  return 'D'
end
if ARGV[5] == '' and tonumber(ends) > now then
  return 'D'
end
-- From here on a node that is alive after all finds out that it has to say everything again.
redis.call('HDEL', KEYS[4], node)
redis.call('PEXPIRE', KEYS[5], ARGV[6])
local gone = redis.call('ZPOPMIN', KEYS[5], ARGV[4])
for i = 1, #gone, 2 do
  local user = gone[i]
  local before = connections(user)
  local after = math.max(0, before - tonumber(gone[i + 1]))
  if before ~= after then
    count(user, before, after)
    if after == 0 then
      changed(user, 0)
    end
  end
end
publish(ARGV[2], ARGV[1], ARGV[7])
if redis.call('ZCARD', KEYS[5]) > 0 then
  return 'M'
end
leave(node)
return 'D'
