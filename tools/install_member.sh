#!/bin/sh
# In the images' builder: make /opt/warren with one member and what it needs. The wheels in /wheels say which packages,
# the lock says which version and hash of each; a package that the lock does not pin is refused.
set -eu
member=$1
wheels=/wheels
python=/opt/warren/bin/python

# A wheel just built is pinned by its hash like all else, so that no index can put a package of its name in its place.
for wheel in "$wheels"/*.whl; do
  name=${wheel##*/}
  rest=${name#*-}
  digest=$(sha256sum "$wheel")
  echo "${name%%-*}==${rest%%-*} --hash=sha256:${digest%% *}"
done > /tmp/members.txt
grep "^$member==" /tmp/members.txt > /tmp/member.txt

uv venv --quiet --python "$(command -v python)" /opt/warren
uv pip install --quiet --python "$python" --require-hashes --no-build --find-links "$wheels" \
  --constraint requirements.lock --constraint /tmp/members.txt --requirement /tmp/member.txt

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp tools/process_one.py "$site/"
"$python" -m compileall -q "$site/process_one.py"
echo 'import process_one' > "$site/process_one.pth"
