-- What is known of one run: the opening of every script that reads or replaces it.
--
-- KEYS: 1 the run's record (a hash), 2 to 5 its bitmaps in the order of COUNTS.
--
-- A bitmap has one bit for each ordinal, then a seal: the nonce that stands in the record. So an empty bitmap is a key
-- that exists, and a bitmap that was evicted, cut short or left over from another time does not pass for a whole one.

local RECORD = KEYS[1]
local COUNTS = {'process_accounted', 'process_failed', 'results_accounted', 'results_failed'}
local STAGES = {process = 1, results = 3}

local function bytes(total)
    return math.floor((total + 7) / 8)
end

local function bitmap(position)
    return KEYS[position + 1]
end

local function bits(position, total)
    if total == 0 then
        return ''
    end
    return redis.call('GETRANGE', bitmap(position), 0, bytes(total) - 1)
end

local function bits_set(position, total)
    if total == 0 then
        return 0
    end
    return redis.call('BITCOUNT', bitmap(position), 0, bytes(total) - 1)
end

-- A key of another type is as good as lost, so pcall.
local function is_sealed(position, run)
    return redis.pcall('GETRANGE', bitmap(position), bytes(run.total), -1) == run.nonce
end

local function read_record()
    local fields = redis.pcall('HMGET', RECORD, 'total', 'nonce', 'identity', unpack(COUNTS))
    local run = {total = tonumber(fields[1]), nonce = fields[2], identity = fields[3], counts = {}}
    local is_whole = run.total and run.nonce and run.identity
    for position in ipairs(COUNTS) do
        run.counts[position] = tonumber(fields[position + 3])
        is_whole = is_whole and run.counts[position]
    end
    return is_whole and run or nil
end

local function lost_keys(run)
    local lost = {}
    for position, name in ipairs(COUNTS) do
        if not is_sealed(position, run) then
            lost[#lost + 1] = name
        end
    end
    return lost
end

-- Returns the run where every key of it is whole and its own, else nil and the reason.
local function read_run(identity)
    local run = read_record()
    if not run then
        local is_absent = redis.call('EXISTS', unpack(KEYS)) == 0
        return nil, is_absent and {'absent'} or {'broken', 'record'}
    end
    if run.identity ~= identity then
        return nil, {'foreign'}
    end
    local lost = lost_keys(run)
    if #lost > 0 then
        return nil, {'broken', unpack(lost)}
    end
    return run
end
