#!/usr/bin/env bash
# Checks deploy/k8s in three tiers, each with those before it:
#   tools/k8s/check.sh fast    schemas, on this machine alone
#   tools/k8s/check.sh gate    a real API server takes every overlay, sees no drift, refuses what is broken (default)
#   tools/k8s/check.sh deep    roll out, undo, drain against the budget, fire the CronJob, on nodes that only seem to run
# NEARFEED_KUBE names the folder with bin/kubeall.gz and bin/kwok.gz; without them only the first tier
# runs, unless REQUIRE_KUBE=1, which makes that an error.
set -euo pipefail
cd "$(dirname "$0")/../.."
tier=${1:-gate}
if [ -z "${NEARFEED_KUBE:-}" ] && [ -d ../shared/servers/kube ]; then NEARFEED_KUBE=../shared/servers/kube; fi
overlays=(deploy/k8s/overlays/dev deploy/k8s/overlays/prod tools/k8s/keda)
uv=uv; uv --version >/dev/null 2>&1 || uv=.uv/bin/uv

fail() { echo "k8s: $*" >&2; exit 1; }
say() { echo "  $*"; }

# shellcheck source=tools/k8s/cluster.sh
source tools/k8s/cluster.sh
trap cluster_down EXIT

fast() {
    local overlay file
    file=$(mktemp)
    for overlay in "${overlays[@]}"; do
        kubectl kustomize "$overlay" >"$file"
        # Only built-in kinds have a schema there.
        python3 - "$file" <<'PY'
import sys
path = sys.argv[1]
parts = open(path).read().split("\n---\n")
open(path, "w").write("\n---\n".join(part for part in parts if "keda.sh/" not in part))
PY
        "$uv" tool run --quiet --from kubernetes-validate==1.37.0 kubernetes-validate -k 1.33.0 --strict "$file" >"$file.log" 2>&1 \
            || { cat "$file.log" >&2; fail "$overlay does not fit the schemas"; }
        say "$overlay fits the schemas of Kubernetes 1.33"
    done
    rm -f "$file" "$file.log"
}

apply() { # OVERLAY: the namespace and foreign kinds first, for a dry run makes nothing
    kubectl apply --filename tools/k8s/keda/crd.yaml >/dev/null
    kubectl wait --for=condition=Established --timeout=30s crd/scaledobjects.keda.sh >/dev/null
    kubectl apply --filename deploy/k8s/base/namespace.yaml >/dev/null 2>&1
    kubectl create serviceaccount default --namespace nearfeed >/dev/null 2>&1 || true
    kubectl apply --kustomize "$1" --dry-run=server --validate=strict >/dev/null
    say "$1 passes strict validation by the server"
    kubectl apply --kustomize "$1" --validate=strict 2>"$state/warnings" >/dev/null || { cat "$state/warnings" >&2; fail "$1 cannot be applied"; }
    ! grep -i "would violate podsecurity" "$state/warnings" >&2 || fail "$1 breaks restricted pod security"
    kubectl diff --kustomize "$1" || fail "$1 differs from what was applied"
    say "$1 is applied, and shows no drift"
}

refuse_broken() {
    local file expected told
    for file in tools/k8s/broken/*.yaml; do
        expected=$(sed -n '1s/^# refused: //p' "$file")
        if told=$(kubectl apply --filename "$file" --dry-run=server --validate=strict 2>&1); then fail "$file was taken"; fi
        grep --quiet --fixed-strings -- "$expected" <<<"$told" || fail "$file was refused, but not for '$expected': $told"
        say "$file is refused: $expected"
    done
}

gate() {
    local overlay
    for overlay in "${overlays[@]}"; do
        cluster_up
        apply "$overlay"
        [ "$overlay" != tools/k8s/keda ] || refuse_broken
        cluster_down
    done
}

rolled_out() { kubectl --namespace nearfeed rollout status "deployment/nearfeed-$1" --timeout=120s >/dev/null; }
image_of() { kubectl --namespace nearfeed get "deployment/nearfeed-$1" --output 'jsonpath={.spec.template.spec.containers[0].image}'; }

roll_and_undo() {
    local name before
    for name in api consumer indexer embedder; do rolled_out "$name"; done
    say "api, consumer, indexer and embedder are rolled out"
    before=$(image_of api)
    kubectl --namespace nearfeed set image deployment/nearfeed-api api=nearfeed-recommender:next >/dev/null
    rolled_out api
    kubectl --namespace nearfeed rollout undo deployment/nearfeed-api >/dev/null 2>&1
    rolled_out api
    [ "$(image_of api)" = "$before" ] || fail "the undone rollout has not brought back $before"
    say "a rollout of the api is undone"
}

drain_nodes() {
    kubectl drain fake-0 --delete-emptydir-data --ignore-daemonsets --force --timeout=90s >/dev/null 2>&1 || fail "fake-0 cannot be drained"
    say "one of two nodes is drained"
    for name in api consumer indexer; do rolled_out "$name"; done
    # The last node has nowhere to move its pods to: the budget lets one go, and holds the others.
    if kubectl drain fake-1 --delete-emptydir-data --ignore-daemonsets --force --timeout=15s >"$state/drain" 2>&1; then
        fail "the last node was drained against the budget"
    fi
    grep --quiet "violate the pod's disruption budget" "$state/drain" || { cat "$state/drain" >&2; fail "the drain was stopped by something else"; }
    say "the disruption budget holds the last pods"
    kubectl uncordon fake-0 fake-1 >/dev/null
}

fire_training() {
    kubectl --namespace nearfeed patch cronjob nearfeed-train --patch '{"spec": {"schedule": "* * * * *"}}' >/dev/null
    for _ in $(seq 1 90); do
        [ -z "$(kubectl --namespace nearfeed get pods --selector app.kubernetes.io/name=nearfeed-train --output name)" ] || { say "the CronJob fires"; return; }
        sleep 1
    done
    fail "the CronJob did not fire within 90 s"
}

deep() {
    cluster_up
    controllers_up
    kubectl apply --filename tools/k8s/kwok/volume.yaml >/dev/null
    apply deploy/k8s/overlays/prod
    kubectl --namespace nearfeed create secret generic nearfeed-back-ends --from-literal=NEARFEED_SECRET=x >/dev/null
    roll_and_undo
    kubectl --namespace nearfeed wait --for=condition=complete --timeout=60s job/nearfeed-migrate >/dev/null
    say "the migration job is complete"
    drain_nodes
    fire_training
    cluster_down
}

command -v kubectl >/dev/null || fail "kubectl is missing; install the package kubernetes-client or kubectl"
fast
[ "$tier" != fast ] || exit 0
if [ ! -e "${NEARFEED_KUBE:-}/bin/kubeall.gz" ]; then
    told="there is no API server to ask: NEARFEED_KUBE must name a folder with bin/kubeall.gz"
    [ "${REQUIRE_KUBE:-}" != 1 ] || fail "$told"
    say "skipped: $told"
    exit 0
fi
gate
[ "$tier" != deep ] || deep
