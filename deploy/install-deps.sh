#!/usr/bin/env bash
# Installs what building and running FedGraft needs (Debian 12, Debian 13,
# Ubuntu 24.04). Idempotent; asks for root only if a package is missing.
#   --tests   also what only the tests need
set -euo pipefail

packages=(
  build-essential cmake ninja-build ccache pkg-config git ca-certificates
  libabsl-dev libprotobuf-dev protobuf-compiler
  libgrpc++-dev protobuf-compiler-grpc
  libssl-dev libyaml-cpp-dev nlohmann-json3-dev libspdlog-dev libcli11-dev libeigen3-dev
  libcpp-httplib-dev
  libopencv-dev libdcmtk-dev libzip-dev
  # LibTorch on reference BLAS is 20 times slower than on OpenBLAS.
  libtorch-dev libopenblas0-pthread
)
tests=(libgtest-dev libgmock-dev libbenchmark-dev openssl)
# Only the parity test and the pages' screenshots need these; they skip where
# they do not exist.
tests_optional=(python3-torch python3-torchvision chromium chromium-driver)

with_tests=0
for argument in "$@"; do
  case "$argument" in
    --tests) with_tests=1 ;;
    -h | --help) awk 'NR > 1 { if (!/^#/) exit; print substr($0, 3) }' "$0"; exit 0 ;;
    *) echo "install-deps.sh: unknown option $argument (known: --tests)" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "install-deps.sh: this is not Debian or Ubuntu; install by other means: ${packages[*]}" >&2
  exit 1
fi

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}
missing=()
wanted=("${packages[@]}")
[ "$with_tests" = 1 ] && wanted+=("${tests[@]}")
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done
optional=()
if [ "$with_tests" = 1 ]; then
  for package in "${tests_optional[@]}"; do
    installed "$package" || optional+=("$package")
  done
fi
if [ ${#missing[@]} = 0 ] && [ ${#optional[@]} = 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps.sh: as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o Dpkg::Use-Pty=0 "$@" >/dev/null
}
echo "Installing: ${missing[*]} ${optional[*]}"
apt update
if [ ${#missing[@]} != 0 ]; then
  apt install -y --no-install-recommends "${missing[@]}"
fi
for package in "${optional[@]}"; do
  apt install -y --no-install-recommends "$package" ||
    echo "install-deps.sh: $package is not to be had here; its test will skip"
done
