#!/usr/bin/env bash
# A whole federation on this machine: one aggregator and several sites, each a
# process with its own certificate, fine-tune a backbone together.
# Sets up and builds what is missing. Results lie in demo-out/.
#
#   deploy/demo.sh                              4 phantom sites
#   deploy/demo.sh --data FILE.npz --backbone mobilenet_v2=FILE --sites 3
#   deploy/demo.sh --data FOLDER --backbone …   a folder with labels.csv that has
#                                               a column "site": one site each
# Options:
#   --data PATH          phantom (default), an NPZ file (MedMNIST layout), or a
#                        folder with labels.csv and images
#   --backbone ARCH=FILE pretrained safetensors; default: made here from a
#                        source phantom (only with phantom data)
#   --image-size N       side of the network input in pixels
#   --sites N            how many sites (phantom, NPZ)
#   --strategy S         linear_probe (default), partial (last block) or full
#   --solver S           none (default), newton or ridge: the exact head, before
#                        the rounds of training (linear_probe: instead of them)
#   --lambdas L          of the solver, such as "[100, 10, 1]"
#   --site-intercept     each site fits its own intercept to the solved head
#   --rounds N  --epochs N  --seed N  --learning-rate X
#   --unfreeze L         of partial: globs, such as '["features.1[78].*"]'
#   --batch-norm B       of unfrozen layers: frozen (default), local or pooled
#   --optimizer O        sgd (default) or adamw
#   --augmentation M     such as "{horizontal_flip: true, rotate_degrees: 10}"
#   --layer-rates M      such as "{kind: backbone, factor: 0.1}"
#   --noise Z            differential privacy for each training image: Gaussian noise
#                        of Z times --record-clip (default 1) in every step
#   --batch-size N --momentum X
#   --shift-every N      look at shift between the sites every N rounds (default:
#                        5 with 4 sites or more; 0: never)
#   --patience N         stop after N evaluations that are no better, and publish
#                        the best model (default: 0, never)
#   --stop-metric M      what "better" means: loss (default), auc or
#                        balanced_accuracy
#   --classes L          names, label 0 first, such as "[normal, pneumonia]"
#   --word-bits N        bits of a value in an update: 8, 12, 16, 20, 24, 32 or 64
#   --range X            largest weighted value of an update (default 4)
#   --rounding R         of updates: nearest (default) or stochastic
#   --masks M            on: the aggregator sees sums alone (secure aggregation; of 3
#                        sites or more), off, or auto (default): with 3 sites or
#                        more, whose rosters are pinned then
#   --label-column C     for folders (default: projection)
#   --final-split S      split of the last evaluation: test (default) or val
#   --no-compare         do not train each site alone beside it
#   --keep-features      the sites keep the activations of frozen layers that they
#                        cached in the last call with this --out
#   --out DIR            default: demo-out
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
data=phantom backbone='' size='' sites='' strategy=linear_probe rounds='' epochs=''
word_bits=32 range=4 rounding=nearest
patience=0 stop_metric=loss classes='' solver=none lambdas='[1]' site_intercept=false
batch_norm=frozen optimizer_kind=sgd unfreeze='' augmentation='{}' layer_rates='{}' compare=true keep_features=false
seed=1 noise='' shift_every='' record_clip=1 batch_size=32 momentum='' masks=auto learning_rate='' label_column=projection final_split=test out=$root/demo-out
while [ $# -gt 0 ]; do
  case "$1" in
    --site-intercept) site_intercept=true; shift; continue ;;
    --no-compare) compare=false; shift; continue ;;
    --keep-features) keep_features=true; shift; continue ;;
    -h | --help) awk 'NR > 1 { if (!/^#/) exit; print substr($0, 3) }' "$0"; exit 0 ;;
    --data | --backbone | --image-size | --sites | --strategy | --solver | --lambdas | --patience | --stop-metric | --classes | --rounds | --epochs | --seed | --learning-rate | --word-bits | --range | --rounding | --masks | --label-column | --final-split | --unfreeze | --batch-norm | --optimizer | --augmentation | --layer-rates | --noise | --record-clip | --batch-size | --momentum | --shift-every | --out)
      [ $# -ge 2 ] || { echo "demo.sh: $1 needs a value" >&2; exit 2; } ;;&
    --data) data=$2 ;; --backbone) backbone=$2 ;; --image-size) size=$2 ;;
    --sites) sites=$2 ;; --strategy) strategy=$2 ;; --rounds) rounds=$2 ;;
    --epochs) epochs=$2 ;; --seed) seed=$2 ;; --learning-rate) learning_rate=$2 ;;
    --word-bits) word_bits=$2 ;; --range) range=$2 ;; --rounding) rounding=$2 ;;
    --masks) masks=$2 ;;
    --label-column) label_column=$2 ;; --final-split) final_split=$2 ;;
    --out) out=$2 ;;
    --batch-norm) batch_norm=$2 ;; --optimizer) optimizer_kind=$2 ;;
    --unfreeze) unfreeze=$2 ;; --augmentation) augmentation=$2 ;; --layer-rates) layer_rates=$2 ;;
    --noise) noise=$2 ;; --record-clip) record_clip=$2 ;;
    --batch-size) batch_size=$2 ;; --momentum) momentum=$2 ;;
    --shift-every) shift_every=$2 ;;
    --patience) patience=$2 ;; --stop-metric) stop_metric=$2 ;;
    --classes) classes=$2 ;;
    --solver) solver=$2 ;; --lambdas) lambdas=$2 ;;
    *) echo "demo.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift 2
done

case "$data" in
  phantom) kind=phantom ;;
  *.npz) kind=npz ;;
  *) kind=folder ;;
esac
if [ $kind != phantom ]; then
  [ -e "$data" ] || { echo "demo.sh: --data $data does not exist" >&2; exit 2; }
  data=$(realpath "$data")
  [ -n "$backbone" ] || { echo "demo.sh: real data need --backbone ARCH=FILE" >&2; exit 2; }
fi
if [ $kind = folder ] && [ ! -f "$data/labels.csv" ]; then
  echo "demo.sh: $data/labels.csv does not exist" >&2; exit 2
fi
if [ -n "$backbone" ]; then
  architecture=${backbone%%=*} backbone_file=${backbone#*=}
  [ -f "$backbone_file" ] || { echo "demo.sh: backbone $backbone_file does not exist" >&2; exit 2; }
  backbone_file=$(realpath "$backbone_file")
fi

# --- set-up and build -------------------------------------------------------
"$root/deploy/install-deps.sh"
FEDGRAFT_TARGETS=${FEDGRAFT_TARGETS:-"fedgraft-aggregator fedgraft-client fedgraft-trainer"} \
  "$root/deploy/build.sh" -DFEDGRAFT_TESTS="${FEDGRAFT_TESTS:-OFF}"
bin=${FEDGRAFT_BUILD_DIR:-$root/build/release}/bin
aggregator=$bin/fedgraft-aggregator client=$bin/fedgraft-client
started=$SECONDS

mkdir -p "$out"
out=$(realpath "$out")
for given in "${backbone_file:-}" "${data:-}"; do
  case "$given/" in "$out"/*)
    echo "demo.sh: $given lies in $out, which the demo makes anew; move it or choose another --out" >&2
    exit 2 ;;
  esac
done
rm -rf "${out:?}/kept"
[ $keep_features = false ] || [ ! -d "$out/sites" ] || mv "$out/sites" "$out/kept"
rm -rf "${out:?}"/{pki,aggregator,sites,logs,model,result.json,report.html,plan.yaml,key}
mkdir -p "$out"/{sites,logs,model}
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap cleanup EXIT
fail() {
  echo "demo.sh: $1. Last lines of the logs in $out/logs:" >&2
  tail -n 5 "$out"/logs/*.log >&2
  exit 1
}

# --- who takes part ---------------------------------------------------------
names=()
if [ $kind = folder ]; then
  # The column "site" of the manifest names them.
  column=$(head -n 1 "$data/labels.csv" | tr -d '\r' | tr ',' '\n' | { grep -nx site || true; } | cut -d: -f1)
  [ -n "$column" ] || { echo "demo.sh: $data/labels.csv has no column site; expected one that names each image's hospital" >&2; exit 2; }
  mapfile -t names < <(tail -n +2 "$data/labels.csv" | tr -d '\r' | cut -d, -f"$column" | sort -u)
elif [ $kind = phantom ]; then
  all=(north-hospital east-clinic south-hospital west-clinic)
  for i in $(seq 0 $((${sites:-4} - 1))); do names+=("${all[$i]:-site-$i}"); done
else
  for i in $(seq 1 "${sites:-3}"); do names+=("hospital-$i"); done
fi
count=${#names[@]}

echo "== Certificates: a CA at the centre, a key made at each of $count sites"
"$aggregator" pki init --dir "$out/pki" --federation demo --name localhost >"$out/logs/pki.log"
for name in "${names[@]}"; do
  identity=$out/sites/$name/identity
  "$client" enroll --identity "$identity" --federation demo --site "$name" >>"$out/logs/pki.log"
  "$aggregator" pki approve --dir "$out/pki" --site "$name" \
    --csr "$identity/site.csr" --out "$out/sites/$name/site.crt" >>"$out/logs/pki.log"
  "$client" enroll --identity "$identity" --certificate "$out/sites/$name/site.crt" \
    --ca "$out/pki/ca.pem" >>"$out/logs/pki.log"
  if [ -d "$out/kept/$name/state/features" ]; then
    mkdir -m 700 "$out/sites/$name/state"
    mv "$out/kept/$name/state"/features{,.key} "$out/sites/$name/state/"
  fi
done
rm -rf "${out:?}/kept"
if [ "$masks" != off ] && [ "$count" -ge 3 ]; then
  # Each site pins the keys of all. Here the hash is taken as it is shown; real
  # sites compare fingerprints by telephone first.
  roster=$out/pki/roster.json
  hash=$("$client" enroll --identity "$out/sites/${names[0]}/identity" --roster "$roster" | grep -oE -m 1 '[0-9a-f]{64}')
  for name in "${names[@]}"; do
    "$client" enroll --identity "$out/sites/$name/identity" --roster "$roster" --confirm "$hash" >>"$out/logs/pki.log"
  done
fi

# --- the backbone -----------------------------------------------------------
threads=$(nproc)
if [ -z "$backbone" ]; then
  architecture=resnet18 backbone_file=$out/model/backbone.safetensors
  size=${size:-64}
  echo "== Pretraining a $architecture on a source phantom (no outside data needed)"
  cat >"$out/model/source.yaml" <<YAML
kind: phantom
phantom: {seed: 1000, train: 2000, val: 400, test: 0, size: 64, lesion_contrast: 0.5}
YAML
  "$client" pretrain --architecture $architecture --data "$out/model/source.yaml" \
    --image-size "$size" --epochs 3 --optimizer adamw --learning-rate 0.001 --batch-size 16 --scanner-jitter 0.3 --threads "$threads" --out "$backbone_file" ||
    fail "pretraining failed"
fi

# --- the plan ---------------------------------------------------------------
if [ -z "$classes" ]; then
  case $kind in
    phantom) classes='[no_lesion, lesion]' ;;
    npz) classes='[malignant, benign]' ;;
    folder) classes='[AP, PA]' ;;
  esac
fi
if [ "$strategy" = partial ]; then
  case $architecture in
    resnet*) unfreeze=${unfreeze:-'["layer4.*"]'} ;;
    mobilenet_v2) unfreeze=${unfreeze:-'["features.17.*", "features.18.*"]'} ;;
    squeezenet1_1) unfreeze=${unfreeze:-'["features.12.*"]'} ;;
  esac
fi
if [ "$strategy" = linear_probe ]; then
  learning_rate=${learning_rate:-0.01}
  rounds=${rounds:-20} epochs=${epochs:-5}
else
  learning_rate=${learning_rate:-0.003}
  rounds=${rounds:-20} epochs=${epochs:-2}
fi
if [ "$solver" != none ] && [ "$strategy" = linear_probe ]; then rounds=0; fi
if [ -z "$shift_every" ]; then
  # Each site is compared with three others or more, and without noise.
  shift_every=$([ "$count" -ge 4 ] && [ -z "$noise" ] && echo 5 || echo 0)
fi
digest=$(sha256sum "$backbone_file" | cut -d' ' -f1)
cat >"$out/plan.yaml" <<YAML
version: 1
name: demo-$kind
seed: $seed
rounds: $rounds
sites: {quorum: $count, expected: $count}
deadlines: {round: 30m, progress: 5m, enrol: 5m}
task: {kind: classification, classes: $classes}
backbone: {architecture: $architecture, sha256: $digest}
preprocessing: {size: ${size:-$([ $kind = phantom ] && echo 64 || echo 128)}, interpolation: bilinear}
strategy:
  kind: $strategy
  batch_norm: $batch_norm
  ${unfreeze:+unfreeze: $unfreeze}
local:
  epochs: $epochs
  batch_size: $batch_size
  optimizer: {kind: $optimizer_kind, learning_rate: $learning_rate${momentum:+, momentum: $momentum}}
  schedule: {kind: cosine}
  augmentation: $augmentation
  layer_rates: $layer_rates
update: {word_bits: $word_bits, range: $range, rounding: $rounding}
solver: {kind: $solver, lambdas: $lambdas, site_intercept: $site_intercept}
stopping: {patience: $patience, metric: $stop_metric}
shift: {every: $shift_every}
evaluation: {every: $([ "$patience" = 0 ] && echo 5 || echo 1), split: val, final_split: $final_split, compare_local: $([ -z "$noise" ] && echo $compare || echo false)}
YAML
cat >>"$out/plan.yaml" <<YAML
privacy:
  secure_aggregation: {mode: "$masks"}
  ${noise:+differential_privacy: {kind: record, noise_multiplier: $noise, record_clip_norm: $record_clip, delta: 1e-3\}}
YAML
# ImageNet backbones expect ImageNet statistics.
if [ $kind != phantom ]; then
  sed -i 's/interpolation: bilinear}/interpolation: bilinear, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}/' "$out/plan.yaml"
fi

# --- daemons ----------------------------------------------------------------
head -c 32 /dev/urandom >"$out/key" && chmod 600 "$out/key"
cat >"$out/aggregator.yaml" <<YAML
federation: demo
listen: 127.0.0.1:0
admin_listen: 127.0.0.1:0
state_dir: aggregator
pki_dir: pki
wrapping_key_file: key
YAML
"$aggregator" serve --config "$out/aggregator.yaml" 2>"$out/logs/aggregator.log" &
pids+=($!)
for _ in $(seq 100); do
  [ -s "$out/aggregator/listening" ] && break
  kill -0 "${pids[0]}" 2>/dev/null || fail "the aggregator did not start"
  sleep 0.05
done
address=$(sed -n 's/^sites //p' "$out/aggregator/listening")

index=0
for name in "${names[@]}"; do
  {
    cat <<YAML
aggregator: $address
identity_dir: sites/$name/identity
state_dir: sites/$name/state
compute: {threads: 1}
# Each site decides for itself what may leave; here: its own n, AUC and CI.
policy: {share_site_scalars: true, cohort_min: 2}
data:
  kind: $kind
YAML
    case $kind in
      phantom)
        # Four hospitals that differ: scanner, prevalence, reading habits.
        blur=(0.7 1.0 0.8 0.9) gamma=(1 1.08 0.95 1) prevalence=(0.5 0.35 0.65 0.5)
        photons=(2500 1500 2000 1800) n=(120 80 60 40)
        d=$((index % 4))
        echo "  phantom: {seed: $((100 * seed + index)), train: ${n[$d]}, val: 60, test: 200, size: 64, prevalence: ${prevalence[$d]}, blur_sigma: ${blur[$d]}, photons: ${photons[$d]}, gamma: ${gamma[$d]}}" ;;
      npz) echo "  path: $data
  shard_index: $index
  shard_count: $count
  shard_test: true" ;;
      folder) echo "  path: $data/labels.csv
  root: $data
  label_column: $label_column
  patient_column: patient_id
  filter_column: site
  filter_value: $name" ;;
    esac
  } >"$out/site-$name.yaml"
  "$client" run --config "$out/site-$name.yaml" --exit-when-finished 2>"$out/logs/$name.log" &
  pids+=($!)
  index=$((index + 1))
done

# --- the run ----------------------------------------------------------------
echo "== Run: $strategy on $architecture, solver $solver, $rounds rounds of training, $count sites, mutual TLS 1.3, masks $masks"
"$aggregator" run start --config "$out/aggregator.yaml" --backbone "$backbone_file" "$out/plan.yaml" ||
  fail "the run did not start"
"$aggregator" watch --config "$out/aggregator.yaml" --until-finished || fail "the run did not finish"
for pid in "${pids[@]:1}"; do wait "$pid" || fail "a site ended with an error"; done

echo
"$aggregator" report --config "$out/aggregator.yaml"
attach=()
for name in "${names[@]}"; do attach+=(--attach "$name=$out/sites/$name/state/summary.json"); done
"$aggregator" report --config "$out/aggregator.yaml" --json "${attach[@]}" >"$out/result.json"
"$aggregator" report --config "$out/aggregator.yaml" --html "$out/report.html" >>"$out/logs/pki.log"
"$aggregator" export --config "$out/aggregator.yaml" --backbone "$backbone_file" --out "$out/model/final.safetensors" >>"$out/logs/pki.log"
kill "${pids[0]}" && wait "${pids[0]}" || fail "the aggregator did not stop cleanly"
pids=()
echo "Done in $((SECONDS - started)) s after the build: $out/report.html, $out/result.json, $out/model/final.safetensors"
