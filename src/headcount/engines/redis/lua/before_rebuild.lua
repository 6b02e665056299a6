-- Answers with what is marked before the ledger is read: {nonce, bits of process, bits of results}, or {} where
-- nothing is known.
--
-- ARGV: 1 the deployment's identity.

local run = read_run(ARGV[1])
if not run then
    return {}
end
return {run.nonce, bits(STAGES.process, run.total), bits(STAGES.results, run.total)}
