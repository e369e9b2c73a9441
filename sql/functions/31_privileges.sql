SET LOCAL search_path = @extschema@, pg_temp;
-- Privileges of this database beyond those of an owner. Each is EXECUTE on a function that does nothing: so Postgres itself keeps
-- who has it, membership and PUBLIC included, holds it against DROP ROLE, and puts it into dumps.

-- To everybody: code runs with its owner's privileges, in a few processes. wf_revoke('public') takes it away.
CREATE FUNCTION wf_internal.may_use() RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true;
COMMENT ON FUNCTION wf_internal.may_use() IS 'EXECUTE on it is the privilege to start workflows';

CREATE FUNCTION wf_internal.may_view() RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true;
COMMENT ON FUNCTION wf_internal.may_view() IS 'EXECUTE on it is the privilege to see the instances of all roles';
REVOKE ALL ON FUNCTION wf_internal.may_view() FROM PUBLIC;

CREATE FUNCTION wf_internal.may_operate() RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true;
COMMENT ON FUNCTION wf_internal.may_operate() IS 'EXECUTE on it is the privilege to control the instances of all roles';
REVOKE ALL ON FUNCTION wf_internal.may_operate() FROM PUBLIC;

CREATE FUNCTION wf_internal.sees_all() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'wf_sees_all';
COMMENT ON FUNCTION wf_internal.sees_all() IS 'may the current user see the instances of all roles? What the views ask';

-- Whether a privilege is granted or revoked, by whom of the two functions below. As their owner.
CREATE FUNCTION wf_internal.change_privilege(verb text, role text, privilege text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        caller CONSTANT oid := (SELECT a.oid FROM pg_authid a WHERE a.rolname = session_user);
    BEGIN
        IF role IS NULL OR privilege IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22004',
                MESSAGE = format('%s must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'privilege' END);
        ELSIF privilege NOT IN ('use', 'view', 'operate') THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('privilege "%s" does not exist', privilege),
                HINT = 'Privileges are use, view and operate.';
        END IF;
        EXECUTE format('%s EXECUTE ON FUNCTION wf_internal.%I() %s %s', verb, 'may_' || privilege,
                       CASE verb WHEN 'GRANT' THEN 'TO' ELSE 'FROM' END,
                       CASE role WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(role) END);
        INSERT INTO wf_internal.actions (at, by, owner, action, detail)
        VALUES (clock_timestamp(), caller, caller, lower(verb), jsonb_build_object('role', role, 'privilege', privilege));
    END $$;
COMMENT ON FUNCTION wf_internal.change_privilege(text, text, text) IS 'behind wf_grant and wf_revoke';
REVOKE ALL ON FUNCTION wf_internal.change_privilege(text, text, text) FROM PUBLIC;

CREATE FUNCTION wf_grant(role text, privilege text DEFAULT 'use') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM wf_internal.change_privilege('GRANT', role, privilege);
    END $$;
COMMENT ON FUNCTION wf_grant(text, text) IS
'Gives a role, or public, a privilege in this database. use: to start workflows, and to make names, schedules, triggers and queues (public has it from the beginning). view: to see the instances of all roles, with inputs, results and signals. operate: to see them, and to pause, resume, cancel, retry and purge them; nothing that puts data into them. Members of the role have it, too. Recorded in wf.actions; wf.grants lists who has what. Needs: superuser, or EXECUTE on this function. Errors: 42501 neither, 42704 unknown role, 22023 unknown privilege, 22004 NULL.';
REVOKE ALL ON FUNCTION wf_grant(text, text) FROM PUBLIC;

CREATE FUNCTION wf_revoke(role text, privilege text DEFAULT 'use') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM wf_internal.change_privilege('REVOKE', role, privilege);
        IF role <> 'public' AND has_function_privilege(role, format('wf_internal.may_%s()', privilege), 'EXECUTE') THEN
            RAISE NOTICE USING MESSAGE = format('role "%s" still has privilege "%s"', role, privilege),
                DETAIL = 'It is a superuser, or has it as a member of another role or of public.';
        END IF;
    END $$;
COMMENT ON FUNCTION wf_revoke(text, text) IS
'Takes a privilege away that wf_grant has given. use: instances in flight go to their end, with their children; schedules and triggers of the role start no more. Says so where the role still has it, as a member of another role or of public. Recorded in wf.actions. Needs: superuser, or EXECUTE on this function. Errors: as wf_grant.';
REVOKE ALL ON FUNCTION wf_revoke(text, text) FROM PUBLIC;
