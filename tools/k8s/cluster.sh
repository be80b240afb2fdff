# A Kubernetes API on loopback without containers; sourced by check.sh. Needs kubeall (etcd, API server,
# controller manager and scheduler in one) and, for pods that seem to run, kwok: as bin/*.gz in $NEARFEED_KUBE.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nearfeed/kube
state=

free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

unpack() { # NAME
    local packed=$NEARFEED_KUBE/bin/$1.gz
    mkdir -p "$cache"
    [ "$cache/$1" -nt "$packed" ] && return
    gunzip --stdout "$packed" >"$cache/$1.part" && chmod +x "$cache/$1.part" && mv "$cache/$1.part" "$cache/$1"
}

start() { # NAME COMMAND...
    local name=$1; shift
    "$@" >"$state/$name.log" 2>&1 </dev/null &
    echo $! >>"$state/pids"
}

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

certificate() { # NAME SUBJECT EXTENSIONS
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" \
        | openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile <(printf '%s' "$3") -out "$1.crt" 2>/dev/null
}

make_certificates() (
    cd "$state"
    key ca
    openssl req -x509 -new -key ca.key -subj /CN=nearfeed-check -days 2 -out ca.crt
    certificate server /CN=kube-apiserver $'subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc\nextendedKeyUsage=serverAuth'
    certificate admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    openssl genrsa -out accounts.key 2048 2>/dev/null
    openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
)

write_kubeconfig() { # PORT
    cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
current-context: check
clusters: [{name: check, cluster: {server: "https://127.0.0.1:$1", certificate-authority: $state/ca.crt}}]
users: [{name: admin, user: {client-certificate: $state/admin.crt, client-key: $state/admin.key}}]
contexts: [{name: check, context: {cluster: check, user: admin}}]
YAML
}

cluster_up() {
    local clients peers api
    unpack kubeall
    state=$(mktemp -d "${TMPDIR:-/tmp}/nearfeed-kube.XXXXXX")
    export KUBECONFIG=$state/kubeconfig
    clients=$(free_port) peers=$(free_port) api=$(free_port)
    make_certificates
    write_kubeconfig "$api"
    start etcd "$cache/kubeall" etcd --unsafe-no-fsync --name=check --data-dir="$state/etcd" \
        --listen-client-urls="http://127.0.0.1:$clients" --advertise-client-urls="http://127.0.0.1:$clients" \
        --listen-peer-urls="http://127.0.0.1:$peers" --initial-advertise-peer-urls="http://127.0.0.1:$peers" \
        --initial-cluster="check=http://127.0.0.1:$peers"
    start kube-apiserver "$cache/kubeall" kube-apiserver --etcd-servers="http://127.0.0.1:$clients" \
        --bind-address=127.0.0.1 --secure-port="$api" --endpoint-reconciler-type=none \
        --client-ca-file="$state/ca.crt" --tls-cert-file="$state/server.crt" --tls-private-key-file="$state/server.key" \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$state/accounts.pub" \
        --service-account-signing-key-file="$state/accounts.key" --authorization-mode=Node,RBAC \
        --service-cluster-ip-range=10.0.0.0/24 --profiling=false
    for _ in $(seq 1 240); do
        kubectl get --raw /readyz >/dev/null 2>&1 && return
        sleep 0.5
    done
    tail -5 "$state"/*.log >&2
    fail "the API server was not ready within 120 s"
}

controllers_up() { # the rest of a control plane, and two nodes whose pods only seem to run
    unpack kwok
    start kube-controller-manager "$cache/kubeall" kube-controller-manager --kubeconfig="$KUBECONFIG" \
        --leader-elect=false --bind-address=127.0.0.1 --secure-port="$(free_port)" --use-service-account-credentials=true \
        --service-account-private-key-file="$state/accounts.key" --root-ca-file="$state/ca.crt"
    start kube-scheduler "$cache/kubeall" kube-scheduler --kubeconfig="$KUBECONFIG" \
        --leader-elect=false --bind-address=127.0.0.1 --secure-port="$(free_port)"
    cp tools/k8s/kwok/stages.yaml "$state/kwok.yaml"
    start kwok "$cache/kwok" --kubeconfig="$KUBECONFIG" --manage-all-nodes=false \
        --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-ip=127.0.0.1 --cidr=10.1.0.0/16 \
        --server-address="127.0.0.1:$(free_port)" --config="$state/kwok.yaml"
    kubectl apply --filename tools/k8s/kwok/nodes.yaml >/dev/null
}

cluster_down() {
    [ -n "$state" ] || return 0
    local pid
    for pid in $(tac "$state/pids" 2>/dev/null); do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$state"
    state=
}
