-- Leave to write an entry until the transaction ends: the owner's entries shared with others who write theirs, against
-- whoever forgets them; the entry alone. $1 owner, $2 key
SELECT pg_catalog.pg_try_advisory_xact_lock_shared(pg_catalog.hashtextextended('pg_workflow cache ' || $1::text, 0))
   AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('pg_workflow cache ' || $1::text || ' ' || $2, 0))
