#!/bin/sh
# Make .venv for this system: pick the stack (DECISIONS.md, "Two stacks"), then install it from the hashed lock.
set -eu
cd "$(dirname "$0")/.."

glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [ "$(printf '%s\n2.39\n' "$glibc" | sort -V | head -n1)" = 2.39 ]; then
  stack="current: TFX 1.21, TensorFlow 2.21" versions="3.13 3.12 3.11"
else
  stack="glibc 2.36: TFX 1.16, TensorFlow 2.16" versions="3.10"
fi

if [ "$(uname -m)" != x86_64 ]; then
  echo "setup: this machine is $(uname -m), and TFX comes for x86_64 alone." >&2
  exit 1
fi

# Of the system, of pyenv or of uv; one that was built without its libraries would fail later.
find_python() {
  for version in $versions; do
    for python in "python$version" python3 "$HOME/.pyenv/versions/$version".*/bin/python \
      "$HOME/.local/share/uv/python/cpython-$version".*/bin/python3; do
      if "$python" -c "
import ctypes, ensurepip, sqlite3, ssl, sys
sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        command -v "$python"
        return
      fi
    done
  done
  echo "setup: glibc $glibc needs Python $versions (the first that is there), whole with venv, ssl and sqlite3; none was found." >&2
  echo "setup: install one (uv python install ${versions%% *}; pyenv install ${versions%% *}; Debian: python3-dev python3-venv), and run make again." >&2
  return 1
}

python=$(find_python)
echo "setup: glibc $glibc -> stack $stack, on $("$python" --version)"
if [ ! -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
  echo "setup: $python comes without its headers (Python.h); install them (python3-dev on Debian) and run make again." >&2
  exit 1
fi
rm -rf .venv
"$python" -m venv .venv
# uv installs in half a minute what takes pip five; its own hash is in the lock, too.
awk '/^[^ #]/ { ours = /^uv==/ } ours' requirements.lock > .venv/uv.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
if ! command -v c++ >/dev/null; then
  echo "setup: no C++ compiler; taking the one of the package ziglang for the one package that must be built"
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r scripts/compiler.lock
  zig="$PWD/.venv/bin/python -m ziglang"
  export CC="$zig cc" CXX="$zig c++" LDSHARED="$zig cc -shared" LDCXXSHARED="$zig c++ -shared"
fi
.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r scripts/postgresql.lock # a tracking_uri may name it
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
touch .venv/ready
echo "setup: done; .venv/bin/fovea is the command"
