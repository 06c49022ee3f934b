#!/usr/bin/env bash
# Installs a packed tarball with each package manager, in an empty folder with an empty cache, and runs the program:
#
#   npm pack && bash test/install/try-package-managers.sh create-kv-scales-0.1.0.tgz [manager ...]
#
# Prints a row per manager: exit code and seconds of the install, what `--version` says, whether the example is
# calibrated, and megabytes on disk. Needs the npm registry alone, for the managers themselves too; takes minutes.
# Exits with 1 when a manager failed. KEEP=1 keeps the folders.
set -uo pipefail

tarball=$(realpath "${1:?the packed tarball}")
shift
all=(npm-10 npm-11 npm-12 npx-10 npx-11 npx-12 global-10 global-12 pnpm-10 pnpm-11 pnpm-12 yarn-1 yarn-4 yarn-4-pnp bun)
managers=("${@:-${all[@]}}")
root=$(mktemp -d)
tools=${TOOLS:-$root/tools}
failed=0
[ "${KEEP:-}" ] || trap 'rm -rf "$root"' EXIT

# Nothing that this machine is configured with may help: no user configuration, no cache, no flag of onnxruntime-node.
run() { # folder, command...
  local folder=$1
  shift
  (cd "$folder" && exec env -i PATH="$PATH" HOME="$root/home-$name" LANG=C.UTF-8 CI=1 \
    ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} \
    npm_config_prefix="$root/global-$name" YARN_ENABLE_IMMUTABLE_INSTALLS=false "$@")
}

# A version of a package manager from the registry; prints its folder.
tool() { # package, version, file to run
  local folder=$tools/$1-$2
  if [ ! -e "$folder/node_modules/$1" ]; then
    mkdir -p "$folder"
    (cd "$folder" && echo '{"private":true}' >package.json && npm install --no-audit --no-fund --silent "$1@$2" >/dev/null 2>&1)
  fi
  echo "$folder/node_modules/$3"
}

printf '%-11s %5s %7s %-9s %-10s %6s\n' manager exit seconds version calibrates MB
for name in "${managers[@]}"; do
  user=$root/$name
  mkdir -p "$user" "$root/home-$name"
  [[ $name == global-* || $name == npx-* ]] || echo '{"name":"user","version":"1.0.0","private":true}' >"$user/package.json"
  program=(node_modules/.bin/create-kv-scales)
  measured=$user
  case $name in
    npm-*) install=("$(tool npm "${name#*-}" .bin/npm)" install "$tarball") ;;
    npx-*)
      npx=$(tool npm "${name#*-}" .bin/npx)
      install=("$npx" --yes --package="file:$tarball" create-kv-scales --version)
      program=("$npx" --yes --package="file:$tarball" create-kv-scales)
      measured=$root/home-$name/.npm/_npx
      ;;
    global-*)
      install=("$(tool npm "${name#*-}" .bin/npm)" install --global "$tarball")
      program=("$root/global-$name/bin/create-kv-scales")
      measured=$root/global-$name
      ;;
    pnpm-*) install=("$(tool pnpm "${name#*-}" .bin/pnpm)" add "$tarball") ;;
    # As docs/install.md says: Yarn 1 takes no carried packages from a file.
    yarn-1) install=(env ONNXRUNTIME_NODE_INSTALL=skip "$(tool yarn 1 .bin/yarn)" add "file:$tarball") ;;
    yarn-4 | yarn-4-pnp)
      yarn=$(tool @yarnpkg/cli-dist 4 @yarnpkg/cli-dist/bin/yarn.js)
      touch "$user/yarn.lock"
      [ "$name" = yarn-4-pnp ] || echo 'nodeLinker: node-modules' >"$user/.yarnrc.yml"
      install=(node "$yarn" add "create-kv-scales@file:$tarball")
      program=(node "$yarn" run create-kv-scales)
      ;;
    bun) install=("$(tool bun latest .bin/bun)" add "$tarball") ;;
  esac

  start=$(date +%s)
  run "$user" "${install[@]}" >"$root/$name.log" 2>&1
  status=$?
  seconds=$(($(date +%s) - start))
  version=$(run "$user" "${program[@]}" --version 2>>"$root/$name.log" | tail -1)
  calibrates=no
  run "$user" "${program[@]}" --samples 4 --provider cpu --quiet -o "$user/result" >>"$root/$name.log" 2>&1 &&
    [ -s "$user/result/kv_scales.json" ] && calibrates=yes
  rm -rf "$user/result"
  printf '%-11s %5s %7s %-9s %-10s %6s\n' "$name" "$status" "$seconds" "${version:0:9}" "$calibrates" \
    "$(du -sm "$measured" | cut -f1)"
  if [ "$status" != 0 ] || [ "$calibrates" != yes ]; then
    failed=1
    tail -15 "$root/$name.log" >&2
  elif grep -iE 'warn|ignored build|blocked|skipped' "$root/$name.log" | grep -vE 'does not support Node' >&2; then :; fi
done
exit $failed
