-- Replaces a run by what the ledger says, and keeps what was marked since the ledger began to be read.
--
-- A mark comes after its ledger row, so one that was there before the ledger was read and that the ledger does not
-- have is wrong and goes; one that came since may be missing from the ledger as it was read, and stays.
--
-- KEYS: 6 and 7 are scratch keys that exist only while this script runs.
-- ARGV: 1 the deployment's identity, 2 the total, 3 a fresh nonce, 4 the nonce before the ledger was read, then for
-- each stage the bits that were accounted before, the bits the ledger has accounted, and those it has failed.
-- Returns what account.lua returns.

local SINCE, SCRATCH = KEYS[6], KEYS[7]
local total, nonce, nonce_before = tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- Another nonce means that another rebuild came between: all it put there came since.
local function marked_before(run, bits_before)
    return run.nonce == nonce_before and bits_before or ''
end

local function keep_what_came_since(position, before, ledger_accounted)
    redis.call('SET', SINCE, before)
    redis.call('SET', SCRATCH, ledger_accounted)
    redis.call('BITOP', 'OR', SINCE, SINCE, SCRATCH)
    redis.call('BITOP', 'NOT', SINCE, SINCE)
    redis.call('BITOP', 'AND', SINCE, SINCE, bitmap(position))
    redis.call('BITOP', 'AND', SCRATCH, SINCE, bitmap(position + 1))
end

-- What is kept brings no seal of its own: it was masked by bits that end before the seal.
local function replace(position, ledger_bits, kept)
    redis.call('SET', bitmap(position), ledger_bits .. nonce)
    redis.call('BITOP', 'OR', bitmap(position), bitmap(position), kept)
end

local run = read_run(ARGV[1])
-- The record goes first and comes last: a script that breaks off leaves a run that cannot testify.
redis.call('DEL', RECORD, SINCE, SCRATCH)
for stage, position in pairs(STAGES) do
    local first = stage == 'process' and 5 or 8
    local bits_before, ledger_accounted, ledger_failed = ARGV[first], ARGV[first + 1], ARGV[first + 2]
    if run and run.total == total then
        keep_what_came_since(position, marked_before(run, bits_before), ledger_accounted)
    end
    replace(position, ledger_accounted, SINCE)
    replace(position + 1, ledger_failed, SCRATCH)
    redis.call('DEL', SINCE, SCRATCH)
end
local counts = {}
for position, name in ipairs(COUNTS) do
    counts[position] = bits_set(position, total)
    redis.call('HSET', RECORD, name, counts[position])
end
redis.call('HSET', RECORD, 'total', total, 'nonce', nonce, 'identity', ARGV[1])
return {'known', total, counts[1], counts[2], counts[3], counts[4], 0}
