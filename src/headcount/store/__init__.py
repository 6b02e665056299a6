"""The database: reads, the ledger, and the only writer of status. Every change is one conditional statement."""
