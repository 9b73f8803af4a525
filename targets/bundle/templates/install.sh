#!/bin/sh
# Installs the screening program into the folder venv beside this file, without a network, and tests it.
# Usage: sh install.sh
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
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "this Python cannot make environments." \
    "Install the package python3-venv once (sudo apt install python3-venv), then run this again."

echo "Installing into $(pwd)/venv with $("$python" --version) ..."
"$python" -m venv --clear venv || fail "the folder venv could not be made here." \
    "Copy the bundle to the computer's own disk (a USB stick may not do) with 1 GB free, then run this again."
PIP_CONFIG_FILE=/dev/null venv/bin/python -m pip --isolated install --quiet --disable-pip-version-check \
    --no-index --find-links wheels --require-hashes --no-deps -r requirements.txt ||
    fail "a file in the folder wheels is damaged or missing, or the disk is full." \
        "Copy the bundle again, check it with: sha256sum -c SHA256SUMS, then run this again."

venv/bin/python screen.pyz --selftest || fail "the self-test failed." "Do not use it here; see START-HERE.txt."
echo
echo "Installed. To screen radiographs, in this folder:"
echo "    venv/bin/python screen.pyz RADIOGRAPHS --csv results.csv"
