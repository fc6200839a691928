#!/bin/sh
# Installs, upgrades or removes sriovdp from this bundle. Takes nothing from any network. "install.sh --help" says how.
set -eu

usage() {
  cat <<'TEXT'
Usage: ./install.sh [OPTION]... install|upgrade|uninstall

  install     put the executable, systemd's unit, a sample config, man page, completions and documents in place
  upgrade     the same over an older (or newer) version; a running service is restarted
  uninstall   stop the service and remove what install has put there

  --dry-run       say what would be done, and do nothing
  --prefix DIR    where the executable and its documents go (default: /usr/local)
  --root DIR      install into the system below DIR instead of this one; no service is touched
  --start         install: also enable and start the service
  --purge         uninstall: also remove /etc/pcidp/config.json
  --force         upgrade although the new version rejects the config file

A config file that is there is never changed. A unit file that was edited is kept, and the new one is put beside it as
sriovdp.service.new. Every file of the bundle is checked against SHA256SUMS first.
TEXT
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

command= dry= prefix=/usr/local root= start= purge= force=
while [ $# -gt 0 ]; do
  case $1 in
    install | upgrade | uninstall) [ -z "$command" ] || fail "one command at a time: $command or $1" && command=$1 ;;
    --dry-run) dry=yes ;;
    --start) start=yes ;;
    --purge) purge=yes ;;
    --force) force=yes ;;
    --prefix | --root)
      [ $# -gt 1 ] || fail "$1 needs a folder"
      case $1 in --prefix) prefix=$2 ;; *) root=$2 ;; esac
      shift
      ;;
    --prefix=*) prefix=${1#*=} ;;
    --root=*) root=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown argument $1; --help lists what there is" ;;
  esac
  shift
done
[ -n "$command" ] || { usage >&2; exit 1; }
case $prefix in /*) ;; *) fail "--prefix is an absolute path, not \"$prefix\"" ;; esac
prefix=${prefix%/}
root=${root%/}
case $root in "" | /*) ;; *) root=$PWD/$root ;; esac

cd "$(dirname "$0")"
read -r version architecture <VERSION
# The executable aborts there without a word; another system's kernel (--root) is not this one.
if [ -z "$root" ] && [ "$command" != uninstall ] && pages=$(getconf PAGESIZE 2>/dev/null) && [ "$pages" -gt 16384 ]; then
  fail "this kernel has pages of $pages bytes; sriovdp runs on kernels with 4 or 16 KiB pages"
fi
record=$prefix/share/sriovdp/installed
config=/etc/pcidp/config.json
unit=/etc/systemd/system/sriovdp.service

# run DESCRIPTION COMMAND...: says what is done, or would be, and does it
run() {
  description=$1
  shift
  if [ -n "$dry" ]; then say "would $description"; else
    say "$description"
    "$@"
  fi
}

hash_of() { sha256sum "$1" | cut -d' ' -f1; }
recorded() { [ ! -f "$root$record" ] || awk -v path="$1" '$2 == path {print $1}' "$root$record"; }
installed_version() { [ ! -f "$root$record" ] || sed -n 's/^# sriovdp //p' "$root$record"; }
with_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

check_machine() {
  [ -n "$root" ] || [ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "root is needed to write below $prefix and /etc"
  case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
  [ "$machine" = "$architecture" ] || [ -n "$root" ] || fail "this bundle is for $architecture, this machine is $machine"
}

check_bundle() {
  sha256sum -c SHA256SUMS >/dev/null 2>&1 || {
    sha256sum -c SHA256SUMS 2>&1 | grep -v ': OK$' >&2 || true
    fail "the bundle is damaged or incomplete: get it again"
  }
  say "the bundle is complete: sriovdp $version for $architecture"
}

# Replacing the executable must not leave a node without a plugin that takes its config.
check_config() {
  [ -f "$root$config" ] || return 0
  status=0
  ./bin/sriovdp validate --config-file "$root$config" >/dev/null 2>&1 || status=$?
  case $status in
    0) say "sriovdp $version accepts the config file $root$config" ;;
    2)
      ./bin/sriovdp validate --config-file "$root$config" >&2 || true
      [ -n "$force" ] || fail "sriovdp $version rejects the config file; nothing was changed. Correct it, or use --force"
      ;;
    *) say "the config file could not be checked: the executable does not run here (status $status)" ;;
  esac
}

# What goes where: file in the bundle, mode, path on the system
files() {
  say "bin/sriovdp 755 $prefix/bin/sriovdp"
  say "systemd/sriovdp.service 644 $unit"
  say "config/config.json 644 $prefix/share/sriovdp/config.sample.json"
  find share -type f | LC_ALL=C sort | while read -r file; do say "$file 644 $prefix/$file"; done
}

# The unit names the executable's path.
content_of() { case $1 in systemd/*) sed "s|/usr/local/bin/|$prefix/bin/|g" "$1" ;; *) cat "$1" ;; esac; }

write() { # write FILE MODE PATH: by rename, since the executable may be running
  mkdir -p "$root$(dirname "$3")"
  content_of "$1" >"$root$3.installing"
  chmod "$2" "$root$3.installing"
  mv -f "$root$3.installing" "$root$3"
}

put() { # put FILE MODE PATH: unless it is there, or somebody has edited it
  new=$(content_of "$1" | sha256sum | cut -d' ' -f1)
  target=$3
  if [ -e "$root$3" ]; then
    now=$(hash_of "$root$3")
    if [ "$now" = "$new" ]; then
      kept="$kept$new  $3
"
      return 0
    fi
    before=$(recorded "$3")
    if [ "$3" = "$unit" ] && [ "$now" != "$before" ]; then
      say "keeping $root$3, which was edited; the new one is $3.new"
      target=$3.new
    fi
  fi
  run "write $root$target" write "$1" "$2" "$target"
  kept="$kept$new  $target
"
}

write_record() {
  mkdir -p "$root$(dirname "$record")"
  printf '# sriovdp %s\n%s' "$version" "$kept" >"$root$record.installing"
  mv -f "$root$record.installing" "$root$record"
}

remove_stale() { # what an older version has installed and this one does not have
  [ -f "$root$record" ] || return 0
  grep -v '^#' "$root$record" | while read -r hash path; do
    case $kept in *"  $path
"*) ;; *) remove "$hash" "$path" ;; esac
  done
}

remove() { # remove HASH PATH: unless it was edited
  [ -e "$root$2" ] || return 0
  if [ "$(hash_of "$root$2")" = "$1" ]; then run "remove $root$2" rm -f "$root$2"; else say "keeping $root$2, which was edited"; fi
}

put_all() {
  kept=
  # Not by a pipe: what is kept has to be known afterwards.
  list=$(files)
  while read -r file mode path; do put "$file" "$mode" "$path"; done <<LIST
$list
LIST
  if [ -e "$root$config" ]; then say "keeping the config file $root$config"; else
    run "write $root$config, a sample: edit it" write config/config.json 644 "$config"
  fi
  remove_stale
  if [ -z "$dry" ]; then write_record; fi
  if with_systemd; then run "reload systemd's units" systemctl daemon-reload; fi
}

do_install() {
  check_machine
  check_bundle
  found=$(installed_version)
  [ -z "$found" ] || [ "$found" = "$version" ] || fail "sriovdp $found is installed: use upgrade"
  put_all
  if [ -n "$start" ]; then
    with_systemd || fail "there is no running systemd to start the service with"
    run "enable and start the service" systemctl enable --now sriovdp
  else
    say "next: edit $config, then: systemctl enable --now sriovdp"
  fi
  say "for a cluster: ctr -n k8s.io images import $(echo image/*.tar), then the manifests in manifests/"
}

do_upgrade() {
  check_machine
  check_bundle
  found=$(installed_version)
  [ -n "$found" ] || fail "nothing is installed below $root$prefix: use install"
  say "upgrading from $found to $version"
  check_config
  put_all
  if with_systemd; then run "restart the service if it runs" systemctl try-restart sriovdp; fi
}

do_uninstall() {
  check_machine
  [ -f "$root$record" ] || fail "nothing is installed below $root$prefix"
  if with_systemd; then run "stop and disable the service" systemctl disable --now sriovdp; fi
  grep -v '^#' "$root$record" | while read -r hash path; do remove "$hash" "$path"; done
  run "remove $root$record" rm -f "$root$record"
  if [ -n "$purge" ]; then run "remove $root$config" rm -f "$root$config"; else say "keeping the config file $root$config"; fi
  if [ -z "$dry" ]; then
    for folder in share/doc/sriovdp share/sriovdp; do
      [ ! -d "$root$prefix/$folder" ] || find "$root$prefix/$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    rmdir "$root/etc/pcidp" 2>/dev/null || true
  fi
  if with_systemd; then run "reload systemd's units" systemctl daemon-reload; fi
}

do_"$command"
[ -z "$dry" ] || say "nothing was done: --dry-run"
