# What the lab's scripts share: the cache folder, steps that are skipped when their result is there, and Debian packages
# unpacked into that folder. Nothing is installed on the host. To be sourced by bash.
set -eu -o pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=${SRIOVDP_LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sriovdp-lab}
suite=trixie # the kernel, QEMU and the guest's tools all come from this Debian release

say() { printf 'lab: %s\n' "$*" >&2; }

# Exit status 77 (as in automake) says: this machine can't have the lab; the guest tests are skipped, not failed.
skipped() {
  say "the lab can't be made here: $*"
  exit 77
}

# key TEXT-OR-FILE...: one hash over all of them. A step's result is kept as long as the key of its inputs is the same.
key() {
  local input
  for input in "$@"; do
    if [ -f "$input" ]; then cat "$input"; else printf '%s\n' "$input"; fi
  done | sha256sum | cut -c1-16
}

key_of() { cat "$lab/$1/.key"; }

# progress NAME LOG: on a terminal, how long a step has taken and the last line of its log, in one line that is written over every second; its
# process is in $ticking, empty where there is no terminal.
progress() {
  ticking=
  [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] || return 0
  local name=$1 log=$2 started=$SECONDS
  while sleep 1; do
    printf '\r\033[Klab: %s: %s s  %.60s' "$name" $((SECONDS - started)) "$(tail -1 "$log" 2>/dev/null | tr -d '\r\033')" >&2
  done &
  ticking=$!
}

# progress_done: ends that line.
progress_done() {
  [ -n "$ticking" ] || return 0
  kill "$ticking" 2>/dev/null || true
  wait "$ticking" 2>/dev/null || true
  printf '\r\033[K' >&2
}

# step NAME WHAT KEY FUNCTION: FUNCTION fills the empty folder $out, which then becomes $lab/NAME as a whole,
# so that an interrupted step leaves nothing that seems complete.
step() {
  local name=$1 what=$2 key=$3 make=$4 started=$SECONDS log="$lab/$1.log"
  if [ "$(cat "$lab/$name/.key" 2>/dev/null)" = "$key" ]; then
    say "$name: there ($what)"
    return 0
  fi
  say "$name: making $what ..."
  out="$lab/$name.new"
  rm -rf "$out" && mkdir -p "$out"
  # In a process of its own, since bash ignores set -e below a condition.
  local status=0
  progress "$name" "$log"
  set +e
  (set -e; "$make") >"$log" 2>&1
  status=$?
  set -e
  progress_done
  if [ $status -ne 0 ]; then
    tail -20 "$log" >&2
    [ $status -ne 77 ] || exit 77
    say "$name: failed after $((SECONDS - started)) s, all of its output is in $log"
    exit 1
  fi
  printf '%s\n' "$key" >"$out/.key"
  rm -rf "${lab:?}/$name"
  mv "$out" "$lab/$name"
  say "$name: made in $((SECONDS - started)) s"
}

# apt_private COMMAND...: apt with lists, cache and status of its own. The status is empty, so that the whole closure of a
# package is resolved whatever the host has installed. The mirror is the one that the host's own apt uses.
apt_private() {
  local state="$lab/apt" tool=apt-get
  case $1 in show | policy) tool=apt-cache ;; esac
  "$tool" -q -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
    -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Install-Recommends=0 -o Debug::NoLocking=1 \
    -o Acquire::Retries=3 "$@"
}

# apt_ready: package lists of the suite, once a run of the script and only when something has to be fetched.
apt_ready() {
  local state="$lab/apt" mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ ! -e "$state/.ready" ] || [ -n "$(find "$state/.ready" -mmin +60)" ] || return 0
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skipped "it takes its parts from Debian packages, and there is no apt-get or dpkg-deb"
  [ -e "$keyring" ] || skipped "no $keyring to check Debian packages with"
  mirror=${SRIOVDP_LAB_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -1)}
  [ -n "$mirror" ] || skipped "apt has no package mirror"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  : >"$state/status"
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
  apt_private update -o APT::Update::Error-Mode=any || skipped "no package lists of Debian $suite from $mirror"
  : >"$state/.ready"
}

unpack() { # unpack DEB... into $out
  local deb
  # Merged /usr first, so that packages which still ship /lib unpack through the links.
  merged_usr "$out"
  for deb in "$@"; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$out" -f -
  done
}

merged_usr() {
  local dir
  for dir in bin sbin lib lib64; do
    mkdir -p "$1/usr/$dir"
    [ -e "$1/$dir" ] || ln -s "usr/$dir" "$1/$dir"
  done
}

# closure PACKAGE...: the packages with all that they depend on, unpacked in $out
closure() {
  local debs="$lab/debs"
  apt_ready
  rm -rf "$debs" && mkdir -p "$debs/partial"
  apt_private install -s "$@" >/dev/null || skipped "Debian $suite's packages are not all available: $*"
  apt_private install -y --download-only -o Dir::Cache::archives="$debs" "$@"
  du -sh "$debs"
  unpack "$debs"/*.deb
  rm -rf "$debs"
}

# tool NAME ARGUMENT...: a program of the unpacked guest tools, run on the host through its own loader and libraries
tool() {
  local root="$lab/tools" name=$1 file
  shift
  file=$(readlink -f "$root/usr/sbin/$name" || true)
  [ -f "$file" ] || file=$(readlink -f "$root/usr/bin/$name")
  "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" --argv0 "$name" "$file" "$@"
}

# libraries FILE...: the shared libraries that these programs of the guest tools need
libraries() {
  local root="$lab/tools" file
  local folders="$root/usr/lib/x86_64-linux-gnu"
  for file in "$@"; do
    "$root/lib64/ld-linux-x86-64.so.2" --library-path "$folders:$folders/systemd" --list "$file" 2>/dev/null |
      awk '/=> \//{print $3}' || true # a static program has none
  done | sort -u
}
