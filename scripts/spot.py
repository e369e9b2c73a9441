"""Looks with pgspot at all SQL that is run with a superuser's privileges: scripts/pgspot.sh has it.

Names and operators that are looked up where somebody else can create some are how extensions are attacked. The install
script is read file by file, in its order; the engine's statements run with search_path pinned (src/pg/scope.rs).
"""

import re
import sys
from argparse import Namespace
from pathlib import Path

from pglast import ast
from pglast.parser import ParseError
from pgspot.state import Counter, State
from pgspot.visitors import SQLVisitor, visit_sql

# Findings that are meant to be: code, what pgspot says (a regular expression), and why.
ACCEPTED = [
    ("PS005", r"wf\.(run_sql|cron_job)\(input jsonb\)", "workflows: SQL in their input means what it means to its owner; what is called here is qualified"),
    ("PS009", r"CASE pg_catalog\.jsonb_typeof\(result\)", "in wf.cron_job: text of pg_catalog's against constants is an exact match, and pg_catalog comes first or is named"),
]

PATHS = {
    "functions": "SET LOCAL search_path = @extschema@, pg_temp;",
    "tables": "SET LOCAL search_path = pg_catalog, pg_temp;",
    "updates/*": "SET LOCAL search_path = pg_catalog, pg_temp;",
    "views": "SET LOCAL search_path = pg_catalog, pg_temp;",
}

used = set()
findings = 0
checked = 0


def report(place: str, text: str) -> None:
    global findings
    findings += 1
    print(f"{place}: {text}")


class Spot(Counter):
    """Prints what was not expected, with its file."""

    def __init__(self, place: str, ignored: tuple[str, ...] = ()) -> None:
        super().__init__(Namespace(summary_only=False, ignore=ignored, ignore_lang=[], sql_fn=[], plpgsql=True, proc_without_search_path=[]))
        self.place = place

    def print_issue(self, code, context):
        for entry in ACCEPTED:
            if entry[0] == code and re.match(entry[1], context):
                used.add(entry)
                return
        report(f"{self.place}:{self.line_number()}", f"{code} {context}")

    def unknown(self, message):
        report(self.place, message)


# What pgspot 0.9 does not know: bodies that are parsed when the function is created, with the path of that moment.
visit_function = SQLVisitor.visit_CreateFunctionStmt


def visit_any_function(self, ancestors, node):
    if not any(option.defname == "as" for option in node.options):
        return
    try:
        visit_function(self, ancestors, node)
    except ParseError as error:
        # pglast does not know NEW and OLD. In a body whose path is pinned there is nothing to find.
        paths = [option.arg for option in node.options if option.defname == "set" and option.arg.name == "search_path"]
        if not paths or not self.state.is_secure_searchpath(paths[0]):
            self.state.unknown(str(error))


SQLVisitor.visit_CreateFunctionStmt = visit_any_function

# FOR UPDATE OF r: an alias.
visit_relation = SQLVisitor.visit_RangeVar


def visit_any_relation(self, ancestors, node):
    if ancestors.find_nearest(ast.LockingClause) is None:
        visit_relation(self, ancestors, node)


SQLVisitor.visit_RangeVar = visit_any_relation


def look(state: State, file: Path, place: str) -> None:
    global checked
    checked += 1
    state.counter.place = place
    try:
        visit_sql(state, file.read_text(), toplevel=True)
    except Exception as error:  # what pglast cannot parse
        report(place, f"cannot be read: {error!r}")


def install_script(top: Path) -> None:
    order = re.findall(r'"\.\./(sql/[^"]+)"', (top / "src/lib.rs").read_text())
    files = order + sorted(str(file.relative_to(top)) for file in top.glob("sql/updates/*/*.sql"))
    state = State(Spot(""))
    for name in files:
        look(state, top / name, name)
    for kind, path in PATHS.items():
        for file in sorted(top.glob(f"sql/{kind}/*.sql")):
            name = str(file.relative_to(top))
            if not file.read_text().startswith(path):
                report(name, f"does not begin with {path}")
            if name not in files:
                report(name, "is not in src/lib.rs")


def companion(top: Path) -> None:
    # Its control file has schema = pg_catalog.
    state = State(Spot(""))
    state.searchpath_secure = True
    text = re.sub(r"^\\echo.*$", "", (top / "cron/pg_workflow_cron.sql").read_text(), flags=re.MULTILINE)
    state.counter.place = "cron/pg_workflow_cron.sql"
    visit_sql(state, text, toplevel=True)


def queries(top: Path) -> None:
    # Operators, those of CASE too, and types come from pg_catalog; relations and functions are qualified all the same.
    SQLVisitor.visit_TypeCast = lambda self, ancestors, node: None
    for file in sorted((top / "sql/queries").glob("*.sql")):
        look(State(Spot("", ignored=("PS001", "PS009"))), file, str(file.relative_to(top)))


top = Path(sys.argv[1])
install_script(top)
companion(top)
queries(top)
for entry in ACCEPTED:
    if entry not in used:
        report("scripts/spot.py", f"accepts what is not there any more: {entry[0]} {entry[1]}")
print(f"{checked} files read, {len(used)} findings accepted, {findings} not")
sys.exit(findings > 0)
