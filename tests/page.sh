#!/usr/bin/env bash
# Looks at the page with a real browser, in each of its states: tests/page.sh [FOLDER for the pictures]
#
# A debug build of the daemon works between a fake Kore and an S3 server (the example `world`); what it has to tell is
# brought about, once the queue's rows by another program's hand. Fails if anything sticks out of the window or a word is
# said on the console; whether it reads well, a person sees in the pictures. Takes about two minutes.
# Needs root (strace stops the loop's thread), chromium, nodejs, npm (for playwright-core), sqlite3, strace, curl.
# shellcheck disable=SC2317 # finish is called by the trap
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=$(realpath -m "${1:-target/page}")
address=127.0.0.1:${PAGE_PORT:-19465}
scene=$(mktemp -d)
started=()
tracer=
faults=0
finish() {
	for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$scene"
}
trap finish EXIT
mkdir -p "$pictures"

cargo build --quiet --locked --bin kore-archiver --example world
npm install --silent --no-audit --no-fund --prefix "$scene/node" playwright-core >/dev/null

mkdir "$scene/world"
target/debug/examples/world "$scene/world" &
started+=($!)
until [ -f "$scene/world/seen" ]; do sleep 0.1; done
set -a
# shellcheck source=/dev/null
. <(sed "s/=\(\[.*\]\)$/='\1'/" "$scene/world/environment")
set +a
cat >"$scene/config.toml" <<TOML
[queue]
path = "$scene/queue.db"
[bots.default]
bot_id = "$(cat "$scene/world/bot_id")"
client_id = "$(cat "$scene/world/client_id")"
client_secret_file = "$scene/world/secret"
[bots.support-hotline]
host = "$KORE_ARCHIVER__BOTS__DEFAULT__HOST"
bot_id = "$(cat "$scene/world/bot_id")"
client_id = "$(cat "$scene/world/client_id")"
client_secret_file = "$scene/wrong-secret"
account = "support-hotline"
allow_insecure_http = true
[bucket]
region = "eu-central-1"
[http]
listen = "$address"
TOML
echo wrong >"$scene/wrong-secret"

daemon() { # variables may stand before it
	"$@" target/debug/kore-archiver run --config "$scene/config.toml" 2>>"$scene/log" &
	daemon=$!
	started+=("$daemon")
	until curl --silent --fail --noproxy '*' -o /dev/null "http://$address/readyz"; do
		kill -0 "$daemon" || {
			cat "$scene/log"
			exit 1
		}
		sleep 0.1
	done
}
stop_daemon() {
	# A process that is traced does not end before its tracer has looked, and this one stands still.
	[ -z "$tracer" ] || kill -KILL "$tracer"
	tracer=
	kill -KILL "$daemon"
	wait "$daemon" 2>/dev/null || true
}
sql() { sqlite3 -cmd '.timeout 10000' "$scene/queue.db" "$1"; }
says() { # waits until the page has this text
	for _ in $(seq 600); do
		# Read whole: a reader that leaves early would break the pipe.
		page=$(curl --silent --noproxy '*' "http://$address/") || true
		[[ $page != *"$1"* ]] || return 0
		sleep 0.1
	done
	echo "FAULT: the page never said $1"
	faults=$((faults + 1))
}
shots() {
	(cd "$scene/node" && node "$OLDPWD/tests/page/shots.mjs" "http://$address/" "$pictures" "$1") || faults=$((faults + 1))
}
# The loop's own thread stands still, all others go on.
hold_the_loop() {
	strace -o /dev/null -p "$daemon" 2>/dev/null &
	tracer=$!
	started+=("$tracer")
	sleep 1
	kill -STOP "$tracer"
}

daemon env
shots empty
for n in 0 1 2 3 4 5 6 7; do sql "INSERT INTO sessions (session_id, priority) VALUES ('65e7133a3242653c0000${n}b16', 1)"; done
sql "INSERT INTO sessions (session_id, state, reason, finished_at)
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12345)
	SELECT printf('%024x', i), iif(i % 50, 'done', 'unavailable'), iif(i % 50, 'archived', 'too_short'), '2026-11-23T08:15:00.000Z' FROM n"
says '65e7133a3242653c00007b16'
sleep 2
shots working
stop_daemon

# What strangers may say, and more of it than there is room for.
sql "INSERT INTO sessions (session_id, state, reason, last_error, finished_at) VALUES
	('<b>hostile</b>', 'failed', 'invalid_row', NULL, '2026-11-23T08:15:00.000Z')" 2>/dev/null || true
sql "INSERT INTO sessions (session_id, bot, state, reason, last_error, finished_at) VALUES
	('65e7133a3242653c58d7f001', 'default', 'failed', 'not_found', 'Kore answered 404: <script>alert(1)</script><img src=x onerror=alert(2)>', '2026-11-23T08:15:00.000Z'),
	('65e7133a3242653c58d7f002', 'default', 'failed', 'too_many_failures', '$(printf 'x%.0s' $(seq 1000))', '2026-11-23T08:16:00.000Z'),
	('$(printf 'i%.0s' $(seq 128))', '$(printf 'b%.0s' $(seq 128))', 'failed', 'unknown_bot', NULL, '2026-11-23T08:17:00.000Z'),
	('65e7133a3242653c58d7f003', 'default', 'suspect', 'suspect_content', char(0x202e) || 'right to left' || char(10) || char(27) || '[31m &amp; \"quotes\" '' {{banner}}', '2026-11-23T08:18:00.000Z'),
	('65e7133a3242653c58d7f004', 'default', 'failed', 'host_refused', 'a file is at media.elsewhere.example, which bots.default.media_hosts does not list; add it there if it is right', '2026-11-23T08:19:00.000Z')"
daemon env
says host_refused
shots failures
stop_daemon

sql "INSERT INTO sessions (session_id, bot) VALUES ('65e7133a3242653c58d70001', 'default'), ('65e7133a3242653c58d70002', 'support-hotline')"
daemon env KORE_ARCHIVER__BUCKET__NAME=no-such-bucket
says 'things are paused'
shots paused
stop_daemon

daemon env
hold_the_loop
says 'not come round'
shots stuck
stop_daemon

daemon env
hold_the_loop
# What a failing disk may do: all but the first page is gone, once another program's commit made what is cached stale.
sql "DELETE FROM sessions WHERE session_id = '65e7133a3242653c58d70001'"
dd if=/dev/zero of="$scene/queue.db" bs=4096 seek=1 count=2000 conv=notrunc status=none
says 'cannot be read'
shots no-queue
stop_daemon

echo "$faults faults; the pictures are in $pictures"
exit $((faults > 0))
