-- Begins a run with nothing accounted; does nothing where any key of it exists. What is left of a run that lost a key
-- stays as it is: it cannot testify, and that brings the rebuild.
--
-- ARGV: 1 the deployment's identity, 2 the total, 3 a fresh nonce.

if redis.call('EXISTS', unpack(KEYS)) == 0 then
    local total = tonumber(ARGV[2])
    for position in ipairs(COUNTS) do
        redis.call('SETRANGE', bitmap(position), bytes(total), ARGV[3])
        redis.call('HSET', RECORD, COUNTS[position], 0)
    end
    redis.call('HSET', RECORD, 'total', total, 'nonce', ARGV[3], 'identity', ARGV[1])
end
