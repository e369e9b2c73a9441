-- Exactly once: money goes from one account to another in two steps, and however the server is killed, none is lost and none
-- is made.
--
-- Each step and its checkpoint commit in one transaction. A transfer that stands between its steps goes on behind the first
-- one after the restart. If the receiver's account is closed, the money goes back.
--
-- Temporal: two activities, which may run more than once: each needs an idempotency key and a table of those it has seen.
-- DBOS: two @DBOS.transaction functions, whose checkpoints commit with them if the data is in the same database.
-- Prefect: two tasks; a crash between a task's effect and its stored result runs it again.
--
-- To be run as superuser in a fresh database that has the extension. The tests run it while they kill the server.

\set ON_ERROR_STOP on

CREATE TABLE accounts (
    name    text    PRIMARY KEY,
    balance numeric NOT NULL CHECK (balance >= 0),
    closed  boolean NOT NULL DEFAULT false
);
-- No key, on purpose: a step that ran twice would leave two rows.
CREATE TABLE entries (transfer text NOT NULL, account text NOT NULL, amount numeric NOT NULL);

INSERT INTO accounts SELECT 'account ' || n, 1000, n = 10 FROM generate_series(1, 10) n; -- the last one is closed

CREATE FUNCTION post(transfer text, account text, amount numeric) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET balance = balance + amount WHERE name = account AND (NOT closed OR amount < 0);
    IF NOT FOUND THEN
        RAISE 'account "%" takes no money', account USING ERRCODE = 'P0404';
    END IF;
    INSERT INTO entries VALUES (transfer, account, amount);
END $$;

CREATE FUNCTION transfer(transfer text, sender text, receiver text, amount numeric) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('debit', 'post', jsonb_build_object('transfer', transfer, 'account', sender, 'amount', -amount));
    BEGIN
        PERFORM wf_step('credit', 'post', jsonb_build_object('transfer', transfer, 'account', receiver, 'amount', amount));
    EXCEPTION WHEN SQLSTATE 'P0404' THEN
        PERFORM wf_step('give back', 'post', jsonb_build_object('transfer', transfer, 'account', sender, 'amount', amount));
        RETURN 'returned';
    END;
    RETURN 'done';
END $$;

-- Starts transfers number first to last: each account in turn pays to another.
CREATE FUNCTION start_transfers(first integer, last integer) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(wf_start('transfer', jsonb_build_object(
        'transfer', 'transfer-' || n,
        'sender', 'account ' || 1 + n % 9,
        'receiver', 'account ' || 1 + (n % 9 + 1 + n / 9 % 9) % 10,
        'amount', 1 + n % 5), id => 'transfer-' || n))
    FROM generate_series(first, last) n
$$;

-- To be called when all transfers have ended.
CREATE PROCEDURE check_books() LANGUAGE plpgsql AS $$
BEGIN
    ASSERT (SELECT sum(balance) FROM accounts) = 10000, 'the sum of all accounts is what it was';
    ASSERT NOT EXISTS (
        SELECT FROM accounts a
        WHERE balance <> 1000 + (SELECT coalesce(sum(amount), 0) FROM entries e WHERE e.account = a.name)
    ), 'each account is what its entries say';
    ASSERT NOT EXISTS (
        SELECT FROM wf.workflows w FULL JOIN entries e ON e.transfer = w.id
        GROUP BY w.id, w.status, w.result
        HAVING w.id IS NULL OR w.status <> 'completed' OR count(e) <> 2 OR sum(e.amount) <> 0
            OR (w.result = '"returned"') <> (count(DISTINCT e.account) = 1)
    ), 'each transfer has happened once: one entry on each side, or two on the sender''s if it was returned';
END $$;

SELECT start_transfers(1, 100);

-- Waits for each.
SELECT wf_result('transfer-' || n, wait => '30 s') AS result, count(*) FROM generate_series(1, 100) n GROUP BY 1 ORDER BY 1;
CALL check_books();
