-- All hints for a role that was dropped: nobody can take them. $1 owner
DELETE FROM wf_internal.ready r WHERE r.owner = $1
