-- Writes what is forgotten at once: it shows whether the store takes writes, which it refuses when its memory is full or when it
-- cannot save to its disk.
--
-- KEYS[1] write
return redis.call('SET', KEYS[1], '', 'PX', 1)
