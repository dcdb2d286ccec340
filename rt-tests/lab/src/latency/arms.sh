# In the guest: the loop and cyclictest on one CPU, at the same priority and period, each where the other rests, while
# clients come, stay and are killed on that CPU as well. Read by rt-tests/lab/src/latency.
#   SHIFT_S  how long everything waits before it begins   CYCLES  of each part
#   APART_US  how long after the loop cyclictest wakes, of a period
set -eu
K=/host/bin
export KADENZ_RUNTIME_DIR=/run/kadenz
mkdir -p /run/kadenz /run/arms
cd /run/arms
sleep "$SHIFT_S"

$K/kadenzd --config /host/machine.toml --record flight.kdzrec >kadenzd.log 2>&1 &
daemon=$!
for role in view plan operate; do
  $K/kadenz-gateway --role $role >gateway-$role.log 2>&1 &
done
$K/kadenz-planner >planner.log 2>&1 &
planner=$!
until $K/kadenz enable >enable.log 2>&1; do
  [ $((tries = ${tries-0} + 1)) -lt 50 ] || { cat ./*.log; exit 1; }
  sleep 0.2
done
$K/kadenz run --speed 0.4 --detach /host/path.csv >run.log 2>&1 || { cat ./*.log; exit 1; }
sleep 1

# Where the loop's grid lies within a millisecond, from its own record.
$K/kadenz recorder dump --csv begin.csv >begin.log
phase_us=$(awk -F, -v apart="$APART_US" 'END { printf "%d", (($3 - $4) % 1e6 / 1e3 + apart) % 1000 }' begin.csv)
now() { cut -d' ' -f1 /proc/uptime; }
monitor() { $K/kadenz-monitor --json >/dev/null 2>&1 & }
# One part: cyclictest for CYCLES periods, beside whatever runs.
part() {
  echo "part $1 $(now)" >>parts
  cyclictest -q -m -t1 -p80 -i1000 -a0 --mainaffinity=0 --secaligned="$phase_us" -N -h60000 -l"$CYCLES" \
    --histfile="$1.hist" >"$1.out"
  echo "end $1 $(now)" >>parts
}

part idle

clients=
for _ in 1 2 3 4 5 6 7; do monitor; clients="$clients $!"; done
sleep 3
part clients
kill -9 $clients
wait $clients 2>/dev/null || true

( trap 'kill -9 $(jobs -p) 2>/dev/null; exit 0' TERM
  while :; do monitor; one=$!; sleep 0.3; kill -9 $one; wait $one 2>/dev/null || true; done ) &
churn=$!
sleep 1
part churn
kill $churn
wait $churn || true

kill -INT $daemon
wait $daemon || true
kill $planner 2>/dev/null || true
$K/kadenz recorder dump flight.kdzrec --csv flight.csv >dump.log
while read -r _ name from && read -r _ _ to; do
  # Motion is part of what a pass does: a path that has ended, or a planner that has, would flatter it.
  awk -F, -v from="$from" -v to="$to" \
    '$3 > from * 1e9 && $3 < to * 1e9 && $9 != "moving" { exit 1 }' flight.csv || { echo "$name: the axes rest"; exit 1; }
  echo "cyclictest $name"
  grep -v -e ' 000000$' -e '^#' "$name.hist" | tr -d '\r'
  for column in 4 5 6; do
    echo "kadenzd $name $column"
    awk -F, -v from="$from" -v to="$to" -v column=$column \
      'NR > 1 && $3 > from * 1e9 && $3 < to * 1e9 { n[$column]++ } END { for (ns in n) print ns, n[ns] }' flight.csv | sort -n
  done
done <parts
echo done
