-- The shared beginning of append.lua and read.lua.
--
-- KEYS[1] log   list of envelopes, the newest last; its offset is meta's o, that of the entry before is o - 1, and so on
-- KEYS[2] meta  hash: e epoch, r replication id of the primary, o newest offset, b bytes in the log where they are bounded,
--               pe and po epoch and newest offset of the life before, w:<writer> the writer's newest sequence
--
-- The epoch is one unbroken life of the log. It is new where there is no meta, and where the primary is another than the one that
-- wrote last: a promoted replica may lack the newest entries, and would give their offsets to others. What survived keeps its
-- offsets, so it stays readable in the new epoch.
--
-- The primary's replication id comes as an argument: asking INFO from within a script makes it dearer by a third.
local function life(replid, fresh, ...)
  local meta = redis.call('HMGET', KEYS[2], 'e', 'r', 'o', ...)
  if meta[2] ~= replid then
    -- The first write must be one that a full Redis refuses: after any other it would let the whole script pass.
    redis.call('HSET', KEYS[2], 'e', fresh, 'r', replid)
    if meta[1] then
      redis.call('HSET', KEYS[2], 'pe', meta[1], 'po', meta[3] or 0)
    else
      -- Without meta nobody knows the offsets of what may be left of an older log.
      redis.call('DEL', KEYS[1])
    end
    meta[1] = fresh
  end
  return meta, tonumber(meta[3] or 0)
end
