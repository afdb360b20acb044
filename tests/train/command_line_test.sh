#!/usr/bin/env bash
# What a person sees of fedgraft-trainer: pretrain, predict, rank, exit codes.
# usage: command_line_test.sh FEDGRAFT_TRAINER
set -euo pipefail
trainer=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
data=${FEDGRAFT_DATA:-$FEDGRAFT_SOURCE_DIR/../shared/data}

fail() { echo "FAILED: $*" >&2; cat "$folder/out" >&2; exit 1; }
# expect CODE TEXT ARGUMENTS…: exit code, and a text in the output.
expect() {
  local code=0
  "$trainer" "${@:3}" >"$folder/out" 2>&1 || code=$?
  [ $code = "$1" ] || fail "exit code $code instead of $1: ${*:3}"
  grep -qF -- "$2" "$folder/out" || fail "no \"$2\": ${*:3}"
}

cat >"$folder/data.yaml" <<YAML
kind: phantom
phantom: {train: 40, val: 20, test: 0, size: 32}
YAML
sed 's/kind: phantom/kind: phantum/' "$folder/data.yaml" >"$folder/typo.yaml"
model=$folder/model.safetensors
pretrain=(pretrain --image-size 32 --epochs 1 --threads 1 --out "$model")
squeezenet=(--architecture squeezenet1_1)

expect 0 "fedgraft-client pretrain" pretrain --help
expect 0 "fedgraft-client predict" predict --help
expect 0 "fedgraft-client watch-data" watch-data --help
expect 0 "fedgraft-client rank" rank --help
expect 0 "fedgraft-client import" import --help
expect 0 "sha256" "${pretrain[@]}" "${squeezenet[@]}" --data "$folder/data.yaml"
grep -q '"architecture": "squeezenet1_1"' "$model.json" || fail "no card"
expect 1 "typo.yaml:1" "${pretrain[@]}" "${squeezenet[@]}" --data "$folder/typo.yaml"
expect 1 "nowhere.yaml" "${pretrain[@]}" "${squeezenet[@]}" --data "$folder/nowhere.yaml"
expect 1 "unknown architecture" "${pretrain[@]}" --architecture vgg --data "$folder/data.yaml"
expect 1 "none.json" predict --model "$folder/none" --data "$folder" --out "$folder/p.csv"
expect 1 "" predict --model "$model" --data "$folder/nothing" --out "$folder/p.csv"
expect 1 "took part" predict --run "$folder/none" --data "$folder" --out "$folder/p.csv"
"$trainer" predict --run "$folder" --model "$model" --data "$folder" --out "$folder/p.csv" >"$folder/out" 2>&1 &&
  fail "predicts with two models"
[ ! -e "$folder/p.csv" ] || fail "a failed prediction left a file"
"$trainer" pretrain >"$folder/out" 2>&1 && fail "no option is needed"
# Started by hand there is no daemon on descriptor 3.
"$trainer" 3<&- >"$folder/out" 2>&1 && fail "serves without a daemon"

# Corrected to other shares; wrong words are refused before anything is opened.
predict=(predict --model "$model" --data "$folder/new.yaml" --out "$folder/p.csv" --threads 1)
sed 's/test: 0/test: 60, seed: 5/' "$folder/data.yaml" >"$folder/new.yaml"
expect 0 "prior lesion: source 0.3000, these images 0.2000 (given)" "${predict[@]}" --prior-correction given --priors 0.8,0.2 --training-priors 0.7,0.3
grep -q "^corrected_loss" "$folder/out" || fail "no corrected metrics"
grep -q "^image,label,predicted,p_no_lesion,p_lesion,corrected,corrected_p_no_lesion,corrected_p_lesion$" "$folder/p.csv" || fail "no corrected columns"
expect 0 "calibrated on 20 labelled images" "${predict[@]}" --prior-correction given --priors 0.8,0.2
expect 1 "expected --priors" "${predict[@]}" --prior-correction given
expect 1 "--prior-correction given" "${predict[@]}" --prior-correction em --priors 0.8,0.2
expect 1 "expected em or given" "${predict[@]}" --training-priors 0.7,0.3
rm "$folder/p.csv"

# Watched: quiet on more of the same, 10 on another scanner; no part of the site's
# state changes but its charts, and the program could not send anything.
mkdir -p "$folder/state"
echo '{"a line": "of the audit log"}' >"$folder/state/audit.log"
cat >"$folder/client.yaml" <<YAML
aggregator: aggregator.invalid:8443
identity_dir: identity
state_dir: state
data:
  kind: phantom
  phantom: {train: 60, val: 60, test: 0, size: 32}
YAML
sed 's/size: 32/size: 32, photons: 200/' "$folder/new.yaml" >"$folder/scanner.yaml"
watch=(watch-data --config "$folder/client.yaml" --model "$model" --threads 1)
expect 0 "Quiet" "${watch[@]}" --data "$folder/new.yaml"
expect 10 "ALARM" "${watch[@]}" --data "$folder/scanner.yaml"
grep -q "^- noise: Check dose" "$folder/out" || fail "no advice"
expect 10 '"alarm": true' "${watch[@]}" --data "$folder/scanner.yaml" --json
grep -q '"batches": 2' "$folder/out" || fail "a batch counted twice"
[ "$(ls "$folder/state")" = "audit.log
watch" ] || fail "wrote more: $(ls "$folder/state")"
[ "$(cat "$folder/state/audit.log")" = '{"a line": "of the audit log"}' ] || fail "another audit log"
nm -D --undefined-only "$trainer" >"$folder/out"
grep -E " (socket|connect|sendto|getaddrinfo)(@|$)" "$folder/out" && fail "it can connect"
if unshare -rn true 2>/dev/null; then  # a place without any network
  unshare -rn "$trainer" "${watch[@]}" --data "$folder/new.yaml" >"$folder/out" || fail "needs a network"
fi
expect 1 "nowhere.yaml" "${watch[@]}" --data "$folder/nowhere.yaml"
expect 1 "none.yaml" watch-data --config "$folder/none.yaml" --model "$model" --data "$folder/new.yaml"

# Without labels; ended by kill -9 at some step, it goes on with the same bytes.
ssl=(pretrain --method simclr --image-size 32 --epochs 30 --batch-size 10
     --threads 1 "${squeezenet[@]}" --checkpoint-every 2 --data "$folder/data.yaml")
expect 0 "squeezenet1_1 on 40 images without labels" "${ssl[@]}" --out "$folder/whole"
grep -q "^epoch 30/30  loss .* images/s  took" "$folder/out" || fail "no progress"
grep -q "$(sha256sum "$folder/whole" | cut -d" " -f1)" "$folder/out" || fail "another digest"
"$trainer" "${ssl[@]}" --out "$folder/killed" >"$folder/out" 2>&1 &
for _ in $(seq 3000); do
  [ -e "$folder/killed.checkpoint" ] && break
  sleep 0.02
done
kill -9 $! && wait $! 2>"$folder/err" || true
[ ! -e "$folder/killed" ] || fail "it was done before it could be killed"
expect 1 "other options or images" "${ssl[@]}" --out "$folder/killed" --seed 5
expect 0 "resuming after step" "${ssl[@]}" --out "$folder/killed"
cmp "$folder/whole" "$folder/killed" || fail "other weights after a kill"
cmp "$folder/whole.json" "$folder/killed.json" || fail "another card after a kill"
[ ! -e "$folder/killed.checkpoint" ] || fail "the checkpoint was left"
expect 1 "--classes is of --method supervised" "${ssl[@]}" --out "$folder/x" --classes a,b
expect 1 "--temperature is of --method simclr" "${ssl[@]/simclr/vicreg}" --out "$folder/x" --temperature 1
expect 1 "without a head" predict --model "$folder/whole" --data "$folder/data.yaml" --out "$folder/p.csv"
expect 0 "40 training images" rank --data "$folder/data.yaml" --image-size 32 --threads 1 --backbone "squeezenet1_1=$folder/whole"

rank=(rank --data "$folder/data.yaml" --image-size 32 --threads 1)
expect 0 "40 training images, 2 classes" "${rank[@]}" --backbone "squeezenet1_1=$model"
grep -q '^squeezenet1_1 .* 512 ' "$folder/out" || fail "no row of the backbone"
expect 0 '"log_me":' "${rank[@]}" --backbone "squeezenet1_1=$model" --json
expect 1 "expected ARCHITECTURE=FILE" "${rank[@]}" --backbone "$model="
expect 1 "as resnet18" "${rank[@]}" --backbone "resnet18=$model"
expect 1 "a number from 2" "${rank[@]}" --backbone "squeezenet1_1=$model" --classes 1

# A safetensors file is a checkpoint too: here our own.
expect 0 "squeezenet1_1, 52 tensors" import --architecture squeezenet1_1 --in "$model" --out "$folder/b.safetensors"
grep -q "$(sha256sum "$folder/b.safetensors" | cut -d" " -f1)" "$folder/out" || fail "another digest"
expect 1 "$model: the checkpoint is not a resnet18: missing" import --architecture resnet18 --in "$model" --out "$folder/c.safetensors"
expect 1 "--rename: expected OLD=NEW" import --architecture resnet18 --in "$model" --out "$folder/c.safetensors" --rename x
expect 1 "$folder/none: no such file" import --architecture resnet18 --in "$folder/none" --out "$folder/c.safetensors"
[ ! -e "$folder/c.safetensors" ] || fail "a failed import left a file"

# A head of feature vectors, as exported: predicts from a table.
printf 'age,sex\n1,F\n,M\n' >"$folder/table.csv"
cat >"$folder/table.yaml" <<YAML
kind: table
path: table.csv
table: {numeric: [age], categories: [{column: sex, values: [F, M]}], missing: zero}
YAML
/usr/bin/env python3 - "$folder/head.safetensors" <<'PYTHON'
import hashlib, json, struct, sys
header = json.dumps({
    "head.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "head.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}})
content = struct.pack("<Q", len(header)) + header.encode() + struct.pack(
    "<8f", 0, 1, 1, 0, 0, 0, 0, 0)
open(sys.argv[1], "wb").write(content)
card = {"architecture": "identity", "feature_dim": 3, "classes": ["no", "yes"],
        "sha256": hashlib.sha256(content).hexdigest()}
open(sys.argv[1] + ".json", "w").write(json.dumps(card))
PYTHON
expect 0 "2 images" predict --model "$folder/head.safetensors" --data "$folder/table.yaml" --out "$folder/t.csv"
grep -q '^line 2,,no,0.5,0.5$' "$folder/t.csv" || fail "wrong: $(cat "$folder/t.csv")"
grep -q '^line 3,,yes,0.2689' "$folder/t.csv" || fail "wrong: $(cat "$folder/t.csv")"
expect 1 "YAML file that says what its columns are" predict --model "$folder/head.safetensors" --data "$folder/table.csv" --out "$folder/u.csv"

npz=$data/medmnist/breastmnist.npz
if [ -f "$npz" ]; then
  expect 0 "156 images" predict --model "$model" --data "$npz" --out "$folder/p.csv"
  grep -q '^auc ' "$folder/out" || fail "no metrics"
  [ "$(wc -l <"$folder/p.csv")" = 157 ] || fail "wrong number of lines"
fi
echo passed
