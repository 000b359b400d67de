-- Comes between epoch.lua and append.lua where only users who have been seen, or who have a log already, are kept anything for.
--
-- KEYS[#KEYS] seen  see attend.lua
-- ARGV[#ARGV]       again: an earlier attempt may have come through; or ""
-- Returns A - 0     it was published and is not kept; D and C as in once.lua
--         S - 0     an earlier attempt may have published it, so it is not published again
if redis.call('EXISTS', KEYS[#KEYS], KEYS[2]) == 0 then
  local once = ARGV[12] and KEYS[3]
  local first = once and redis.call('GET', once)
  if first then
    if string.sub(first, 1, #ARGV[10]) ~= ARGV[10] then
      return 'C'
    end
    return 'D' .. string.sub(first, #ARGV[10] + 1)
  end
  if ARGV[#ARGV] == 'again' and not once then
    return 'S - 0'
  end
  if once then
    redis.call('SET', once, ARGV[10] .. ' - 0 ' .. ARGV[11], 'PX', ARGV[12])
  end
  redis.call(ARGV[2], ARGV[1], ARGV[9])
  return 'A - 0'
end

