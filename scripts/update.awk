# Writes the statements that make a schema of the present version out of that of a release.
#
#   awk -f update.awk role=release RELEASED.sql role=update UPDATES.sql... role=source SOURCES.sql...
#
# RELEASED is the install script of the release. UPDATES are run first, as they are: what becomes of tables. SOURCES are the
# files of the install script that can be run again, in order: functions, views, comments, grants. What stands in them word
# for word as it was released is left alone, so that an update locks no more than it must, and does not undo what an
# operator has granted or revoked. Otherwise:
#
#   functions, views     replaced; a function whose parameters or result differ is dropped first, which CREATE OR REPLACE asks for
#   comments, grants     run; those of a function that was dropped, too
#   what is gone         dropped, last, unless UPDATES does so
#   SET                  run, if anything behind it is
#   anything else        must stand in UPDATES word for word
#
# Statements are compared without comments, and white space counts as one space, or as none inside of parentheses.

function fail(text) {
    print FILENAME ":" FNR ": " text >"/dev/stderr"
    failed = 1
    exit 1
}

function trimmed(text) {
    sub(/^[ \t\n]+/, "", text)
    sub(/[ \t\n]+$/, "", text)
    return text
}

# Of "CREATE [OR REPLACE] FUNCTION name(..." and the like: sets kind and name; false for other statements.
function creates(text) {
    if (!match(text, /^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|VIEW|TRIGGER) /)) return 0
    name = substr(text, RLENGTH + 1)
    sub(/^CREATE (OR REPLACE )?/, "", text)
    kind = text
    sub(/ .*/, "", kind)
    sub(/[ (].*/, "", name)
    return 1
}

# Outside of quotes.
function plain(text) {
    raw = raw text
    gsub(/[ \t\n]+/, " ", text)
    gsub(/\( /, "(", text)
    gsub(/ \)/, ")", text)
    if (norm ~ /[ (]$/) sub(/^ /, "", text)
    if (text ~ /^\)/) sub(/ $/, "", norm)
    norm = norm text
}

function quoted(text) {
    raw = raw text
    norm = norm text
}

# In the body of a BEGIN ATOMIC function, which has statements of its own.
function inside_body(    words, n, i, open) {
    if (norm !~ / BEGIN ATOMIC /) return 0
    n = split(norm, words, /[^A-Za-z_]+/)
    for (i = 1; i <= n; i++) {
        if (words[i] == "ATOMIC" || words[i] == "CASE") open++
        else if (words[i] == "END") open--
    }
    return open > 0
}

# Of a function's declaration: what CREATE OR REPLACE cannot change.
function shape(text) {
    sub(/ LANGUAGE .*/, "", text)
    gsub(/ +/, " ", text)
    return text
}

function statement(    text, signature, what) {
    text = trimmed(norm)
    what = trimmed(raw)
    raw = norm = ""
    if (text == "") return
    if (role == "update") {
        updated[text] = 1
        return
    }
    if (role == "release") released[text] = 1
    else {
        n++
        source[n] = what
        compared[n] = text
        last[n] = FILENAME ~ /_announce\.sql$/
    }
    if (creates(text)) {
        if (kind == "VIEW") {
            if (role == "release") views[++nviews] = name
            else present["VIEW " name] = 1
        } else if (kind != "TRIGGER") {
            # Known by the types of its parameters once its comment comes.
            open_shape[kind " " name] = shape(text)
            open_number[kind " " name] = n
        }
    } else if (match(text, /^COMMENT ON (FUNCTION|PROCEDURE) /)) {
        signature = substr(text, 12)
        kind = signature
        sub(/ .*/, "", kind)
        sub(/\) IS .*/, ")", signature)
        name = substr(signature, length(kind) + 2)
        sub(/\(.*/, "", name)
        if (!((kind " " name) in open_shape)) fail("the comment does not stand behind its function: " signature)
        if (role == "release") {
            functions[++nfunctions] = signature
            old_shape[signature] = open_shape[kind " " name]
        } else {
            present[signature] = 1
            if (signature in old_shape && old_shape[signature] != open_shape[kind " " name])
                dropped[open_number[kind " " name]] = signature
            known[open_number[kind " " name]] = signature
        }
        delete open_shape[kind " " name]
    }
}

{
    line = $0 "\n"
    if (role == "update") printf "%s", line
    while (line != "") {
        if (quote == "") {
            if (!match(line, /'|"|\$[A-Za-z_0-9]*\$|--|\/\*|;/)) {
                plain(line)
                break
            }
            token = substr(line, RSTART, RLENGTH)
            rest = substr(line, RSTART + RLENGTH)
            plain(substr(line, 1, RSTART - 1))
            line = rest
            if (token == "--") {
                plain("\n")
                break
            } else if (token == ";" && inside_body()) plain(token)
            else if (token == ";") statement()
            else {
                quote = token == "/*" ? "*/" : token
                if (token != "/*") quoted(token)
            }
        } else {
            at = index(line, quote)
            if (!at) {
                if (quote != "*/") quoted(line)
                break
            }
            if (quote != "*/") quoted(substr(line, 1, at + length(quote) - 1))
            line = substr(line, at + length(quote))
            quote = ""
        }
    }
}

# A statement on something that was dropped and made again.
function concerns_dropped(text,    i, signature) {
    for (i in dropped) {
        signature = dropped[i]
        sub(/^[A-Z]+ /, "", signature)
        if (index(text, signature)) return 1
    }
    return 0
}

function run(text) {
    # What SET says is for the statements behind it.
    if (setting != said) printf "%s;\n\n", said = setting
    printf "%s;\n\n", text
}

END {
    if (failed) exit 1
    if (quote != "" || trimmed(norm) != "") fail("a statement does not end")
    for (i in known)
        if (("DROP " known[i]) in updated) dropped[i] = known[i]
    for (i = 1; i <= n; i++) {
        text = compared[i]
        if (text ~ /^SET /) setting = source[i]
        else if (last[i]) run(source[i])
        else if (creates(text)) {
            if (kind == "FUNCTION" || kind == "PROCEDURE") {
                if (!(i in known)) fail(kind " " name " has no comment")
            }
            if (i in dropped) {
                if (!(("DROP " dropped[i]) in updated)) run("DROP " dropped[i])
                run(source[i])
            } else if (!(text in released)) {
                replaces = kind == "TRIGGER" || (i in known && known[i] in old_shape)
                for (j = 1; j <= nviews && !replaces; j++) replaces = kind == "VIEW" && views[j] == name
                if (replaces) sub(/^CREATE /, "CREATE OR REPLACE ", source[i])
                run(source[i])
            }
        } else if (text ~ /^(COMMENT|GRANT|REVOKE|ALTER) /) {
            if (!(text in released) || concerns_dropped(text)) run(source[i])
        } else if (!(text in released || text in updated))
            fail("this can be run once only, and stands in no update: " text)
    }
    for (i = nviews; i > 0; i--)
        if (!(("VIEW " views[i]) in present) && !(("DROP VIEW " views[i]) in updated)) run("DROP VIEW " views[i])
    for (i = 1; i <= nfunctions; i++)
        if (!(functions[i] in present) && !(("DROP " functions[i]) in updated)) run("DROP " functions[i])
}
