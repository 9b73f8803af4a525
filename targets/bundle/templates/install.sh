#!/bin/sh
# Installs what the screening program needs into the folder "installed" beside this file, without a network,
# and tests it. It needs a Python and nothing else. Usage: sh install.sh
set -eu
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
export PATH
{% if facts.rehearsal %}
echo "{{ rehearsal }}"
{% endif %}
cd -- "$(dirname -- "$0")"

fail() {
    echo "NOT INSTALLED: $1" >&2
    echo "$2" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "this bundle is for Linux." "Ask for the bundle that suits this computer."
[ "$(uname -m)" = {{ profile.architecture }} ] || fail \
    "this computer is $(uname -m), the bundle is for {{ profile.architecture }}." \
    {{ ("Ask for the bundle that suits this computer; this one is for: " ~ profile.title) | quote }}

python=
for candidate in python3{% for version in runner.python %} python{{ version }}{% endfor %}; do
    if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "{{ runner.python | join(" ") }}".split())' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "it needs Python {{ runner.python | join(" or ") }}, which is not here." \
    {{ ("It comes with: " ~ profile.minimum ~ ".") | quote }}

"$python" screen.pyz --install || fail "see the line above." "Nothing was changed outside this folder."
"$python" screen.pyz --about || fail "a file of this bundle is missing or was changed." "Copy the whole bundle again."
"$python" screen.pyz --selftest ||
    fail "the self-test failed (code $?; 132 means that the processor is too old)." "Do not use it here; see START-HERE.txt."
echo
echo "Installed. To screen radiographs, in this folder:"
echo "    $python screen.pyz RADIOGRAPHS --csv results.csv"
