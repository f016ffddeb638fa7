# shellcheck shell=bash
# Sourced by samples/run, test/run and .ci/run: packages, configuring, headings.

# The packages with which samples and tests are built; one build directory serves both.
# shellcheck disable=SC2034
build_packages=(g++ meson ninja-build pkg-config libboost-context-dev doctest-dev
  libcurl4-openssl-dev zlib1g-dev libbrotli-dev libzstd-dev libidn2-dev libpsl-dev libssl-dev
  liburing-dev libcereal-dev nlohmann-json3-dev ca-certificates openssl)
# Further packages, for samples/legacy and its tests.
# shellcheck disable=SC2034
sample_packages=(libexpat1-dev libsqlite3-dev libglib2.0-dev libuv1-dev libpq-dev postgresql)
# Further packages, for the suites `unmodified_libraries`, `unmodified_programs`, `environments` and
# `conformance`.
# shellcheck disable=SC2034
legacy_packages=(mariadb-server libmariadb-dev redis-server libhiredis-dev nginx-light
  libboost-dev liblmdb-dev libjemalloc2 libmimalloc2.0 curl wget git perl sqlite3 python3-requests
  python3-aiohttp python3-aiosmtpd dnsmasq-base openssh-server openssh-client libssh2-1-dev
  mosquitto libmosquitto-dev slapd ldap-utils libldap-dev memcached libmemcached-dev
  libneon27-gnutls-dev libmbedtls-dev libmodbus-dev libgit2-dev snmpd libsnmp-dev libzmq3-dev libssh-dev
  libcpp-httplib-dev libpoco-dev libev-dev)

# The C compiler that belongs to the C++ one: sanitizers of two compilers do not mix.
if [ -n "${CXX:-}" ] && [ -z "${CC:-}" ]; then
  CC=${CXX/clang++/clang}
  export CC=${CC/g++/gcc}
fi

# need PACKAGE...: installs those whose content is missing; names are Debian's.
need() {
  local package missing=()
  for package in "$@"; do
    present "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
      as_root=(false)
    fi
  fi
  if ! command -v apt-get >/dev/null || [ "${as_root[0]:-}" = false ]; then
    echo "These packages are missing (Debian's names): ${missing[*]}" >&2
    echo "Install them, or what your system calls them, and start this again." >&2
    return 1
  fi

  echo "Installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update || echo "apt-get update failed; trying with the lists that are there" >&2
  # Servers are for the tests to start: Debian asks this file whether it may.
  local policy=/usr/sbin/policy-rc.d
  if [ -e $policy ]; then
    policy=
  else
    "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy"
  fi
  local log installed=yes
  log=$(mktemp)
  if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    echo "Could not install: ${missing[*]}" >&2
    installed=no
  fi
  rm -f "$log"
  if [ -n "$policy" ]; then "${as_root[@]}" rm -f "$policy"; fi
  [ $installed = yes ]
}

# present PACKAGE: whether the part of it that we use is there, wherever that comes from.
present() {
  case $1 in
    g++) command -v g++ >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    libboost-context-dev) has_header boost/context/detail/fcontext.hpp ;;
    libboost-fiber-dev) has_header boost/fiber/all.hpp ;;
    libboost-dev) has_header boost/coroutine2/coroutine.hpp ;;
    doctest-dev) has_header doctest/doctest.h ;;
    nlohmann-json3-dev) has_header nlohmann/json.hpp ;;
    libcurl4-openssl-dev) has_header curl/curl.h ;;
    zlib1g-dev) has_header zlib.h ;;
    libbrotli-dev) has_header brotli/decode.h ;;
    libzstd-dev) has_header zstd.h ;;
    libidn2-dev) has_header idn2.h ;;
    libpsl-dev) has_header libpsl.h ;;
    python3-requests) /usr/bin/python3 -c 'import requests' 2>/dev/null ;;
    python3-aiohttp) /usr/bin/python3 -c 'import aiohttp' 2>/dev/null ;;
    python3-aiosmtpd) /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null ;;
    dnsmasq-base) PATH=$PATH:/usr/sbin command -v dnsmasq >/dev/null ;;
    libexpat1-dev) has_header expat.h ;;
    libsqlite3-dev) has_header sqlite3.h ;;
    libglib2.0-dev) pkg-config --exists glib-2.0 ;;
    libuv1-dev) has_header uv.h ;;
    libjemalloc2) compgen -G '/usr/lib/*/libjemalloc.so.2' >/dev/null ;;
    libmimalloc2.0) compgen -G '/usr/lib/*/libmimalloc.so.2.0' >/dev/null ;;
    liblmdb-dev) pkg-config --exists lmdb ;;
    libpq-dev) pkg-config --exists libpq ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
    libmariadb-dev) pkg-config --exists libmariadb ;;
    libssh2-1-dev) pkg-config --exists libssh2 ;;
    libssh-dev) pkg-config --exists libssh ;;
    libcpp-httplib-dev) has_header httplib.h ;;
    libpoco-dev) has_header Poco/Version.h ;;
    libev-dev) has_header ev.h ;;
    libmosquitto-dev) pkg-config --exists libmosquitto ;;
    libldap-dev) pkg-config --exists ldap ;;
    libmemcached-dev) pkg-config --exists libmemcached ;;
    libneon27-gnutls-dev) pkg-config --exists neon ;;
    libmbedtls-dev) has_header mbedtls/ssl.h ;;
    libmodbus-dev) pkg-config --exists libmodbus ;;
    libgit2-dev) pkg-config --exists libgit2 ;;
    libsnmp-dev) has_header net-snmp/net-snmp-config.h ;;
    libzmq3-dev) pkg-config --exists libzmq ;;
    libhiredis-dev) pkg-config --exists hiredis ;;
    libssl-dev) pkg-config --exists openssl ;;
    liburing-dev) pkg-config --exists liburing ;;
    mariadb-server) PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null ;;
    nginx-light) PATH=$PATH:/usr/sbin command -v nginx >/dev/null ;;
    openssh-server) PATH=$PATH:/usr/sbin command -v sshd >/dev/null ;;
    openssh-client) command -v ssh >/dev/null ;;
    ldap-utils) command -v ldapsearch >/dev/null ;;
    mosquitto | slapd | snmpd) PATH=$PATH:/usr/sbin command -v "$1" >/dev/null ;;
    g++-*-linux-gnu*) command -v "${1#g++-}-g++" >/dev/null ;;
    musl-dev) [ -e "/usr/include/$(uname -m)-linux-musl/features.h" ] ;;
    debhelper) command -v dh >/dev/null ;;
    dpkg-dev) command -v dpkg-buildpackage >/dev/null ;;
    abigail-tools) command -v abidw >/dev/null ;;
    xz-utils) command -v xz >/dev/null ;;
    binutils) command -v readelf >/dev/null ;;
    qemu-user) command -v qemu-aarch64 >/dev/null ;;
    libc++-16-dev | libc++abi-16-dev)
      echo '#include <version>' | clang++-16 -stdlib=libc++ -E -x c++ - >/dev/null 2>&1
      ;;
    libcereal-dev) has_header cereal/cereal.hpp ;;
    ca-certificates) ! command -v apt-get >/dev/null || [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    clang-16) [ -n "$(clang)" ] ;;
    llvm-16) command -v llvm-symbolizer-16 llvm-symbolizer >/dev/null ;;
    lld-16) echo 'int main() {}' | "$(clang)" -fuse-ld=lld -x c++ - -o /dev/null 2>/dev/null ;;
    libclang-rt-16-dev)
      echo 'int main() {}' | "$(clang)" -fsanitize=address -x c++ - -o /dev/null 2>/dev/null
      ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Asks the preprocessor alone, which does not need what the header includes.
has_header() {
  local answer
  answer=$(printf '#if __has_include(<%s>)\nfound\n#endif\n' "$1" |
    ${CXX:-g++} -E -P -x c++ - 2>/dev/null) && [ "${answer##*$'\n'}" = found ]
}

# The Clang to use: 16 or later.
clang() {
  local name version
  for name in clang++-16 clang++ clang++-{17..30}; do
    version=$("$name" -dumpversion 2>/dev/null) || continue
    if [ "${version%%.*}" -ge 16 ]; then
      echo "$name"
      return
    fi
  done
}

# configure DIRECTORY MESON-OPTION...: sets it up, or changes the options of one that exists.
configure() {
  local directory=$1
  shift
  if [ -e "$directory/build.ninja" ]; then
    if meson setup --reconfigure "$directory" "$@" </dev/null >/dev/null 2>&1; then return; fi
    # Made elsewhere, or by another Meson, or without a header that has been installed since.
    echo "Setting up $directory afresh"
    rm -rf "$directory"
  fi
  quietly meson setup "$directory" "$@"
}

# build DIRECTORY [TARGET...]: with Ninja's progress line on a terminal, without a word elsewhere.
build() {
  local directory=$1 quiet=()
  shift
  [ -t 1 ] || quiet=(--quiet)
  ninja -C "$directory" -j "$(nproc)" "${quiet[@]}" "$@"
}

# quietly COMMAND...: shows its output only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" </dev/null >"$log" 2>&1 || status=$?
  [ $status -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return $status
}

# heading TEXT
heading() {
  if [ -t 1 ]; then
    printf '\n\033[1m== %s\033[0m\n' "$*"
  else
    printf '\n== %s\n' "$*"
  fi
}

now() { echo "${EPOCHREALTIME/[.,]/}"; }

# since START: the seconds from START, a value of now, such as 2.004.
since() {
  local us=$(($(now) - $1))
  printf '%d.%03d' $((us / 1000000)) $((us / 1000 % 1000))
}
