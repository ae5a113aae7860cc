#!/bin/bash
# pykmip-up.sh DIR [PORT] [HOST]
#
# Makes (once) a CA, one server certificate and client certificates under
# DIR/pki, writes DIR/server.conf, starts Debian's pykmip-server (PyKMIP 0.10.0,
# python3-pykmip) on HOST:PORT with mutual TLS 1.2, waits until a TLS handshake
# works, and prints "pykmip ready HOST:PORT pid=N ...". Exit 0 = serving.
#
# Environment (all optional):
#   KEYTYPE=ec|rsa     key type of all certificates (default ec: gives
#                      ECDHE-ECDSA-AES256-GCM-SHA384; rsa gives only CBC suites)
#   CLIENTS="a b"      client identities (CN) to issue (default "filterd other")
#   PKI_DIR=DIR/pki    share one CA among several servers: give them the same one
#   DATABASE=FILE      SQLite file (default DIR/pykmip.db); two servers may share
#                      one file, which imitates a replicated KMS cluster
#   LOG_LEVEL=INFO     DEBUG logs every request and response in hex
#   CIPHERS="..."      space-separated TLS suite names out of PyKMIP's own list ("" = all)
#   EKU_CHECK=True     False: accept client certs without extendedKeyUsage
#   P12_PASS=changeit  pass phrase of the PKCS#12 files made for Java
#   WAIT=60            seconds to wait for readiness
set -eu
DIR=${1:?usage: pykmip-up.sh DIR [PORT] [HOST]}
PORT=${2:-5696}
HOST=${3:-127.0.0.1}
KEYTYPE=${KEYTYPE:-ec}
CLIENTS=${CLIENTS:-"filterd other"}
LOG_LEVEL=${LOG_LEVEL:-INFO}
# with an EC certificate leave only the two GCM suites (server preference would choose CBC)
if [ "$KEYTYPE" = ec ]; then CIPHERS=${CIPHERS-"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}; else CIPHERS=${CIPHERS-}; fi
EKU_CHECK=${EKU_CHECK:-True}
P12_PASS=${P12_PASS:-changeit}
WAIT=${WAIT:-60}
PYTHON=/usr/bin/python3          # Debian's, which has the kmip module; not another one on PATH

umask 077
mkdir -p "$DIR/policy"
DIR=$(cd "$DIR" && pwd)
PKI=${PKI_DIR:-$DIR/pki}
mkdir -p "$PKI"
PKI=$(cd "$PKI" && pwd)
DATABASE=${DATABASE:-$DIR/pykmip.db}

[ -x /usr/bin/pykmip-server ] || { echo "pykmip-server missing: apt-get install -y python3-pykmip" >&2; exit 3; }
if [ -f "$DIR/pykmip.pid" ] && kill -0 "$(cat "$DIR/pykmip.pid")" 2>/dev/null; then
  echo "already running: pid $(cat "$DIR/pykmip.pid")" >&2; exit 4
fi
if $PYTHON -c 'import socket,sys; s=socket.socket(); s.settimeout(1); sys.exit(0 if s.connect_ex((sys.argv[1],int(sys.argv[2])))==0 else 1)' "$HOST" "$PORT"; then
  echo "port $HOST:$PORT is in use" >&2; exit 5
fi

genkey() { # FILE ; PKCS#8 PEM, unencrypted
  if [ "$KEYTYPE" = rsa ]; then
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" 2>/dev/null
  else
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
  fi
}

issue() { # NAME SUBJECT EXTENSIONS
  local n=$1 subj=$2 ext=$3
  genkey "$PKI/$n.key"
  openssl req -new -sha256 -key "$PKI/$n.key" -subj "$subj" -out "$PKI/$n.csr"
  printf '%s\n' "$ext" > "$PKI/$n.ext"
  openssl x509 -req -sha256 -in "$PKI/$n.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" \
     -set_serial "0x$(openssl rand -hex 16 | sed 's/^./4/')" -days 825 -extfile "$PKI/$n.ext" -out "$PKI/$n.crt" 2>/dev/null
  rm -f "$PKI/$n.csr" "$PKI/$n.ext"
}

(
  flock 9
  if [ ! -f "$PKI/ca.crt" ]; then
    genkey "$PKI/ca.key"
    openssl req -x509 -new -sha256 -key "$PKI/ca.key" -days 3650 -subj "/O=test/CN=test KMS CA" \
      -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
      -out "$PKI/ca.crt"
  fi
  if [ ! -f "$PKI/server.crt" ]; then
    # SAN is what a Java client verifies; PyKMIP itself asks nothing of the server cert.
    issue server "/O=test/CN=kms.test" \
"basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:kms.test,IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,IP:::1"
  fi
  for c in $CLIENTS; do
    [ -f "$PKI/$c.crt" ] && continue
    # exactly one CN (the identity, owner of the keys), EKU clientAuth demanded
    issue "$c" "/O=test/CN=$c" \
"basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth"
    openssl pkcs12 -export -inkey "$PKI/$c.key" -in "$PKI/$c.crt" -certfile "$PKI/ca.crt" \
      -name "$c" -passout "pass:$P12_PASS" -out "$PKI/$c.p12"
  done
  # a client certificate without extendedKeyUsage, for the negative test
  if [ ! -f "$PKI/noeku.crt" ]; then
    issue noeku "/O=test/CN=noeku" "basicConstraints=critical,CA:FALSE"
  fi
) 9>"$PKI/.lock"

# Operation policies. Default policy = only the creating CN may Get a key. Keys created with
# Operation Policy Name "shared" (KMIP 1.x) may be read by every client certificate of this CA,
# but activated, revoked and destroyed by the creating CN alone.
if [ ! -f "$DIR/policy/policy.json" ]; then
  cat > "$DIR/policy/policy.json" <<'POL'
{ "shared": { "preset": { "SYMMETRIC_KEY": {
  "LOCATE": "ALLOW_ALL", "CHECK": "ALLOW_ALL", "GET": "ALLOW_ALL",
  "GET_ATTRIBUTES": "ALLOW_ALL", "GET_ATTRIBUTE_LIST": "ALLOW_ALL",
  "ENCRYPT": "ALLOW_ALL", "DECRYPT": "ALLOW_ALL",
  "MODIFY_ATTRIBUTE": "ALLOW_OWNER", "DELETE_ATTRIBUTE": "ALLOW_OWNER", "SET_ATTRIBUTE": "ALLOW_OWNER",
  "ACTIVATE": "ALLOW_OWNER", "REVOKE": "ALLOW_OWNER", "DESTROY": "ALLOW_OWNER" } } } }
POL
fi

cat > "$DIR/server.conf" <<CONF
[server]
hostname=$HOST
port=$PORT
certificate_path=$PKI/server.crt
key_path=$PKI/server.key
ca_path=$PKI/ca.crt
auth_suite=TLS1.2
policy_path=$DIR/policy
enable_tls_client_auth=$EKU_CHECK
logging_level=$LOG_LEVEL
database_path=$DATABASE
${CIPHERS:+tls_cipher_suites=$CIPHERS}
CONF

# a client configuration for PyKMIP's own client (python) and for its demos
cat > "$DIR/client.conf" <<CONF
[client]
host=$HOST
port=$PORT
keyfile=$PKI/${CLIENTS%% *}.key
certfile=$PKI/${CLIENTS%% *}.crt
ca_certs=$PKI/ca.crt
cert_reqs=CERT_REQUIRED
ssl_version=PROTOCOL_TLSv1_2
do_handshake_on_connect=True
suppress_ragged_eofs=True
username=
password=
CONF

rm -f "$DIR/server.log"
# own process group (setsid), so that pykmip-down can end the helper processes too;
# -W ignore: ssl.wrap_socket is deprecated in 3.11 (and gone in 3.12)
env -i PATH=/usr/bin:/bin HOME="$DIR" LANG=C.UTF-8 \
  setsid $PYTHON -W ignore /usr/bin/pykmip-server -f "$DIR/server.conf" -l "$DIR/server.log" \
  >"$DIR/stdout.log" 2>&1 </dev/null &
PID=$!
echo "$PID" > "$DIR/pykmip.pid"

T0=$(date +%s%N)
if ! $PYTHON - "$HOST" "$PORT" "$PKI" "${CLIENTS%% *}" "$WAIT" "$PID" <<'PY'
import os, socket, ssl, sys, time
host, port, pki, cn, wait, pid = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5]), int(sys.argv[6])
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ctx.load_verify_locations(pki + "/ca.crt")
ctx.load_cert_chain(pki + "/" + cn + ".crt", pki + "/" + cn + ".key")
end = time.time() + wait
while time.time() < end:
    try:
        os.kill(pid, 0)
    except OSError:
        sys.exit(1)
    try:
        with socket.create_connection((host, port), 2) as s, ctx.wrap_socket(s, server_hostname=host) as t:
            print("tls", t.version(), t.cipher()[0])
            sys.exit(0)
    except (OSError, ssl.SSLError):
        time.sleep(0.1)
sys.exit(2)
PY
then
  echo "pykmip-server did not come up; last lines:" >&2
  tail -n 20 "$DIR/stdout.log" "$DIR/server.log" >&2 || true
  kill -- -"$PID" 2>/dev/null || true
  rm -f "$DIR/pykmip.pid"
  exit 6
fi
# policies are read by a second process, about 1 s after the start
case $LOG_LEVEL in INFO|DEBUG)
  for _ in $(seq 40); do grep -q "Loading policy: " "$DIR/server.log" && break; sleep 0.1; done ;;
esac
echo "pykmip ready $HOST:$PORT pid=$PID start_ms=$(( ($(date +%s%N)-T0)/1000000 )) conf=$DIR/server.conf pki=$PKI"
