-- Records marks and answers with what is known after them; without marks it only reads.
--
-- ARGV: 1 the deployment's identity, then ordinals as text with commas between: 2 done and 3 failed in process, 4 done
-- and 5 failed in results. They stay text: to turn each into a number and back takes longer than to set its bit.
-- Returns {'known', total, the four counts, how many marks were new}, or the reason why nothing is known.

local function is_new(run, position, ordinal)
    return tonumber(ordinal) < run.total and redis.call('SETBIT', bitmap(position), ordinal, '1') == 0
end

local function record_done(run, position, ordinals)
    local newly = 0
    for ordinal in string.gmatch(ordinals, '%d+') do
        if is_new(run, position, ordinal) then
            newly = newly + 1
        end
    end
    run.counts[position] = run.counts[position] + newly
    return newly
end

local function record_failed(run, position, ordinals)
    local newly = 0
    for ordinal in string.gmatch(ordinals, '%d+') do
        if is_new(run, position, ordinal) then
            redis.call('SETBIT', bitmap(position + 1), ordinal, '1')
            newly = newly + 1
        end
    end
    run.counts[position] = run.counts[position] + newly
    run.counts[position + 1] = run.counts[position + 1] + newly
    return newly
end

local function record_all(run)
    return record_done(run, STAGES.process, ARGV[2])
        + record_failed(run, STAGES.process, ARGV[3])
        + record_done(run, STAGES.results, ARGV[4])
        + record_failed(run, STAGES.results, ARGV[5])
end

local function write_counts(run)
    local fields = {}
    for position, name in ipairs(COUNTS) do
        fields[#fields + 1] = name
        fields[#fields + 1] = run.counts[position]
    end
    redis.call('HSET', RECORD, unpack(fields))
end

local function claims_completion(run)
    return run.counts[STAGES.process] >= run.total and run.counts[STAGES.results] >= run.total
end

local function counts_agree_with_bits(run)
    for position in ipairs(COUNTS) do
        if bits_set(position, run.total) ~= run.counts[position] then
            return false
        end
    end
    return true
end

local run, why_unknown = read_run(ARGV[1])
if not run then
    return why_unknown
end
local newly = record_all(run)
if newly > 0 then
    write_counts(run)
end
-- Completion ends a job, so it is worth counting the bits of a run for it; anything less is not.
if claims_completion(run) and not counts_agree_with_bits(run) then
    return {'miscounted'}
end
return {'known', run.total, run.counts[1], run.counts[2], run.counts[3], run.counts[4], newly}
