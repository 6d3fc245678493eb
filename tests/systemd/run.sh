#!/usr/bin/env bash
# Acceptance of the package on a booted Debian 12 with systemd: run.sh [FOLDER], as root, on a machine to throw away.
#
# FOLDER (where this script is, if not given) holds kore-archiver.deb, kore-archiver-next.deb (a higher version), the same
# as .rpm, if rpm is there to try them, and world (the example of that name). Needs sqlite3, and strace for the loop that is
# stuck. Prints what it saw, each finding with the time it took, and ends with 1 if one was not as it must be.
# shellcheck disable=SC2317 # functions are called by name, through until_ and holds
set -u
here=$(realpath "${1:-$(dirname "$0")}")
queue=/var/lib/kore-archiver/queue.db
unit=kore-archiver.service
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PAGER=cat SYSTEMD_COLORS=0
faults=0
began=0
healed=0

title() { printf '\n== %s\n' "$*"; }
now() { date +%s%3N; }
start_clock() { began=$(now); }
took() { printf '%d ms' "$(($(now) - began))"; }
fault() {
	faults=$((faults + 1))
	printf 'FAULT: %s\n' "$*"
}
# is WHAT EXPECTED FOUND
is() {
	if [ "$2" = "$3" ]; then printf '  ok: %s: %s\n' "$1" "$3"; else fault "$1: $3, expected $2"; fi
}
# holds WHAT COMMAND...
holds() {
	local what=$1
	shift
	if "$@" >/dev/null; then printf '  ok: %s\n' "$what"; else fault "$what"; fi
}
# until SECONDS COMMAND...
until_() {
	local end=$(($(now) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now)" -lt "$end" ] || return 1
		sleep 0.05
	done
}
property() { systemctl show -p "$1" --value $unit; }
active() { systemctl is-active --quiet kore-archiver.service; }
main_pid_is_not() { [ "$(property MainPID)" != "$1" ] && [ "$(property MainPID)" != 0 ] && active; }
as() { runuser -u "$1" -- "${@:2}"; }
sql() { as alice sqlite3 -cmd '.timeout 10000' $queue "$1"; }
insert() { sql "INSERT INTO sessions (session_id) VALUES ('$1')"; }
state() { sql "SELECT state FROM sessions WHERE session_id = '$1'"; }
is_done() { [ "$(state "$1")" = "done" ]; }
pending() { sql "SELECT count(*) FROM sessions WHERE state = 'pending'"; }
none_pending() { [ "$(pending)" = 0 ]; }
mode() { stat -c '%a %U:%G' "$1"; }
seen() {
	# shellcheck source=/dev/null
	. "$here/world.d/seen"
	# shellcheck disable=SC2154
	case $1 in
	sidecars) echo "$sidecars" ;;
	open_uploads) echo "$open_uploads" ;;
	overwrites) echo "$overwrites" ;;
	deletes) echo "$deletes" ;;
	esac
}
uploads_are_open() { [ "$(seen open_uploads)" -gt 0 ]; }
no_upload_is_open() { [ "$(seen open_uploads)" = 0 ]; }
has_left_running() { [ "$(property SubState)" != running ]; }
is_idle() { [ "$(property StatusText)" = "nothing is pending" ]; }
says_what_is_copied() { [[ $(property StatusText) == *" pending, "*" being copied" ]]; }
is_restarting() { [ "$(property SubState)" = auto-restart ]; }
drop_in() { # NAME, text on stdin
	mkdir -p /etc/systemd/system/$unit.d
	cat >"/etc/systemd/system/$unit.d/$1.conf"
	systemctl daemon-reload
}
no_drop_in() {
	rm -f "/etc/systemd/system/$unit.d/$1.conf"
	systemctl daemon-reload
}
log_since() { journalctl -u $unit --no-pager -o short-precise --since "@$(($1 / 1000))" "${@:2}"; }

check() {
	systemd-run --pipe --wait --quiet --uid=kore-archiver -p EnvironmentFile=-/etc/kore-archiver/environment \
		kore-archiver check "$@" </dev/null
}
# told WORDS: check has these words in a fault, whose advice is typed as it stands; then check is clean, and alice inserts
told() {
	local advice found
	found=$(check --offline)
	is "check, $1" 3 $?
	advice=$(grep -m 1 "^FAULT.*$1" <<<"$found" | sed 's/.* -> //')
	printf '  -> %s\n' "${advice:-no advice in: $found}"
	bash -c "${advice:-false}"
	check --offline >/tmp/check
	is "check after it" 0 $?
	holds "alice inserts" insert "healed-$((healed += 1))"
}

# Images of containers bring one that keeps packages from starting and stopping services.
rm -f /usr/sbin/policy-rc.d

title "Install"
start_clock
apt-get install -y "$here/kore-archiver.deb" >/tmp/install.log 2>&1 || {
	cat /tmp/install.log
	exit 1
}
printf '  installed in %s\n' "$(took)"
sed -n '/is installed and not yet/,$p' /tmp/install.log
is "settings" "640 root:kore-archiver" "$(mode /etc/kore-archiver/config.toml)"
is "enabled" enabled "$(systemctl is-enabled $unit)"
is "not started" inactive "$(systemctl is-active $unit)"
is "account" "kore-archiver:/:/usr/sbin/nologin" "$(getent passwd kore-archiver | cut -d: -f1,6,7)"
is "systemd-analyze verify says" "" "$(systemd-analyze verify /usr/lib/systemd/system/$unit 2>&1)"
systemd-analyze security --offline=true $unit | tail -n 1 | sed 's/^/  /'
holds "exposure is 1.1 or less" systemd-analyze security --offline=true --threshold=11 $unit
for page in "1 kore-archiver" "1 kore-archiver-run" "5 kore-archiver.toml"; do
	# shellcheck disable=SC2086
	holds "man $page" man -w $page
done

title "Started before the settings are filled in"
mark=$(now)
systemctl start $unit 2>&1 | sed 's/^/  /'
sleep 4
is "exit status" 78 "$(property ExecMainStatus)"
is "restarts" 0 "$(property NRestarts)"
log_since "$mark" -o cat | sed 's/^/  | /'

title "Fill in two values, start"
mkdir -p "$here/world.d"
systemd-run --quiet --unit=world "$here/world" "$here/world.d"
until_ 10 test -f "$here/world.d/seen" || fault "the world did not start"
sed -i "s/^bot_id = .*/bot_id = \"$(cat "$here/world.d/bot_id")\"/; s/^client_id = .*/client_id = \"$(cat "$here/world.d/client_id")\"/" /etc/kore-archiver/config.toml
install -m 0600 "$here/world.d/environment" /etc/kore-archiver/environment
install -o kore-archiver -g kore-archiver -m 0400 "$here/world.d/secret" /etc/kore-archiver/client-secret
start_clock
systemctl start $unit || {
	log_since "$began"
	exit 1
}
printf '  started in %s\n' "$(took)"
is "state" active "$(systemctl is-active $unit)"
until_ 10 is_idle || fault "status: $(property StatusText)"
printf '  status: %s\n' "$(property StatusText)"
is "watchdog, and stop time beyond the drain" "1min 1min 40s" "$(property WatchdogUSec) $(property TimeoutStopUSec)"
is "folder" "2770 kore-archiver:kore-archiver" "$(mode /var/lib/kore-archiver)"
is "queue" "660 kore-archiver:kore-archiver" "$(mode $queue)"
holds "it started itself anew with one heap" grep -qz '^MALLOC_ARENA_MAX=1$' "/proc/$(property MainPID)/environ"
holds "/readyz" curl --fail --silent --show-error --noproxy '*' -o /dev/null http://127.0.0.1:9464/readyz

title "check, as the service's account and with its credentials"
check --write >/tmp/check 2>&1
is "check --write beside the daemon ends with" 0 $?
sed 's/^/  | /' /tmp/check
systemctl stop $unit
check >/tmp/check 2>&1
is "check when it is stopped ends with" 0 $?
grep '^ok *kore' /tmp/check | sed 's/^/  | /' || fault "Kore was not asked"
systemctl start $unit

title "Insert as another user, with the sqlite3 CLI"
useradd --create-home --groups kore-archiver alice
useradd --create-home bob
start_clock
insert 65e7133a3242653c58d70001
until_ 20 is_done 65e7133a3242653c58d70001 || fault "not done"
printf '  inserted by alice, done after %s\n' "$(took)"
as alice kore-archiver status | sed 's/^/  | /'
for file in $queue $queue-wal $queue-shm; do is "$file" 660 "$(mode "$file" | cut -d' ' -f1)"; done
holds "bob, who is not in the group, cannot read it" test "$(as bob sqlite3 $queue 'SELECT 1 FROM sessions' 2>&1 | grep -c 'unable to open')" = 1
holds "alice cannot read the secret" test "$(as alice cat /etc/kore-archiver/client-secret 2>/dev/null)" = ""

title "A queue that its group cannot use: check, and its advice"
chgrp root $queue
holds "alice cannot insert" test "$(insert no 2>&1 | grep -c 'unable to open')" = 1
told "another group than its folder"
chmod 0640 $queue
told "its group cannot insert"
chgrp -R root /var/lib/kore-archiver
told "members of kore-archiver cannot insert"
chmod 2750 /var/lib/kore-archiver
told "its group cannot work in it"
until_ 20 none_pending || fault "still pending: $(pending)"
is "folder" "2770 kore-archiver:kore-archiver" "$(mode /var/lib/kore-archiver)"
is "queue" "660 kore-archiver:kore-archiver" "$(mode $queue)"

title "Whoever opens the queue first"
systemctl stop $unit
is "nothing beside the queue when all are gone" "" "$(ls $queue-wal $queue-shm 2>/dev/null)"
mkfifo /tmp/alice
as alice sqlite3 $queue </tmp/alice >/dev/null &
exec 9>/tmp/alice
echo "INSERT INTO sessions (session_id) VALUES ('65e7133a3242653c58d70002');" >&9
until_ 5 test -f $queue-wal
for file in $queue-wal $queue-shm; do is "$file, made by alice's CLI" "660 alice:kore-archiver" "$(mode "$file")"; done
systemctl start $unit || fault "it does not start over alice's files"
until_ 20 is_done 65e7133a3242653c58d70002 || fault "not done"
pkill -9 -u alice sqlite3
exec 9>&-
insert 65e7133a3242653c58d70003
until_ 20 is_done 65e7133a3242653c58d70003 || fault "not done after alice's CLI was killed"
printf '  done while alice held it open, and after her CLI was killed\n'

title "kill -9 in the middle of work"
for n in $(seq 100 139); do echo "INSERT INTO sessions (session_id, priority) VALUES ('65e7133a3242653c58d70$n', 0);"; done | as alice sqlite3 $queue
for n in 0 1 2 3; do echo "INSERT INTO sessions (session_id, priority) VALUES ('65e7133a3242653c0000${n}b16', 1);"; done | as alice sqlite3 $queue
until_ 20 uploads_are_open || fault "no upload in parts has begun"
printf '  pending: %s, open uploads: %s\n' "$(pending)" "$(seen open_uploads)"
until_ 10 says_what_is_copied || fault "the status does not say what is copied"
printf '  status: %s\n' "$(property StatusText)"
pid=$(property MainPID)
start_clock
kill -9 "$pid"
until_ 30 main_pid_is_not "$pid" || fault "it did not come back"
printf '  back after %s\n' "$(took)"
until_ 120 none_pending || fault "still pending: $(pending)"
printf '  all done after %s\n' "$(took)"
until_ 60 no_upload_is_open || fault "uploads are left behind"
sessions=$(sql "SELECT count(*) FROM sessions WHERE state = 'done'")
# What is seen of the bucket is some moments old.
sidecars_are() { [ "$(seen sidecars)" = "$1" ]; }
until_ 10 sidecars_are "$sessions" || true
is "sessions done, and sidecars in the bucket" "$sessions" "$(seen sidecars)"
is "objects overwritten, deleted" "0 0" "$(seen overwrites) $(seen deletes)"

title "A stray kill, and its end in order"
pid=$(property MainPID)
kill "$pid"
until_ 30 main_pid_is_not "$pid" || fault "it did not come back after SIGTERM"
is "sub-state" running "$(property SubState)"

title "Stop while work is under way"
for n in $(seq 200 239); do echo "INSERT INTO sessions (session_id) VALUES ('65e7133a3242653c58d70$n');"; done | as alice sqlite3 $queue
sleep 1.5
start_clock
systemctl stop $unit
printf '  stopped in %s, pending: %s\n' "$(took)" "$(pending)"
is "result" success "$(property Result)"
is "exit status" 0 "$(property ExecMainStatus)"
systemctl start $unit
until_ 60 none_pending || fault "still pending: $(pending)"

title "A wrong setting"
drop_in wrong <<<$'[Service]\nEnvironment=KORE_ARCHIVER__POLL__CONCURRENCY=many'
mark=$(now)
systemctl restart $unit 2>/dev/null
sleep 5
is "exit status" 78 "$(property ExecMainStatus)"
is "restarts" 0 "$(property NRestarts)"
is "state" failed "$(systemctl is-active $unit)"
log_since "$mark" -o cat -t kore-archiver | sed 's/^/  | /'
no_drop_in wrong

title "No client secret"
put_by=$(mktemp -d)
mv /etc/kore-archiver/client-secret "$put_by/client-secret"
mark=$(now)
systemctl restart $unit 2>/dev/null
sleep 1
is "exit status" 78 "$(property ExecMainStatus)"
log_since "$mark" -o cat -t kore-archiver | sed 's/^/  | /'

title "The secret as a credential of systemd"
sed -i 's/^client_secret_file/#client_secret_file/' /etc/kore-archiver/config.toml
install -D -m 0600 "$put_by/client-secret" /etc/credstore/kore-archiver.client-secret
systemctl restart $unit || fault "not with /etc/credstore"
insert 65e7133a3242653c58d70004
until_ 20 is_done 65e7133a3242653c58d70004 || fault "not done with a credential"
printf '  done with /etc/credstore/kore-archiver.client-secret\n'
rm /etc/credstore/kore-archiver.client-secret
if systemd-creds encrypt --with-key=host --name=client-secret.default "$put_by/client-secret" /etc/kore-archiver/client-secret.cred 2>/tmp/creds; then
	drop_in encrypted </usr/share/doc/kore-archiver/examples/systemd/encrypted-secret.conf
	systemctl restart $unit || fault "not with the encrypted credential"
	insert 65e7133a3242653c58d70005
	until_ 20 is_done 65e7133a3242653c58d70005 || fault "not done with an encrypted credential"
	printf '  done with an encrypted one\n'
	no_drop_in encrypted
else
	fault "systemd-creds: $(cat /tmp/creds)"
fi
sed -i 's/^#client_secret_file/client_secret_file/' /etc/kore-archiver/config.toml
install -o kore-archiver -g kore-archiver -m 0400 "$put_by/client-secret" /etc/kore-archiver/client-secret

title "The drop-ins"
for example in /usr/share/doc/kore-archiver/examples/systemd/*.conf; do
	[ "$(basename "$example")" != restart-backoff.conf ] || continue
	drop_in example <"$example"
	is "$(basename "$example")" "" "$(systemd-analyze verify $unit 2>&1)"
	[ "$(basename "$example")" != allowed-networks.conf ] || systemd-analyze security $unit 2>&1 | tail -n 1 | sed 's/^/  /'
done
no_drop_in example

title "A loop that is stuck"
drop_in watchdog <<<$'[Service]\nWatchdogSec=4s'
systemctl restart $unit
for way in thread process; do
	insert "65e7133a3242653c58d7${way}1"
	until_ 20 is_done "65e7133a3242653c58d7${way}1" || fault "not done before"
	pid=$(property MainPID)
	if [ $way = thread ]; then
		# The loop's thread alone: it is stopped by a tracer that is stopped itself. All others go on.
		strace -o /dev/null -p "$pid" 2>/dev/null &
		tracer=$!
		sleep 1
		kill -STOP "$tracer"
	else
		kill -STOP "$pid"
	fi
	start_clock
	until_ 40 has_left_running || fault "the watchdog did not catch a stuck $way"
	# A process that is traced stays until its tracer has looked.
	[ $way = process ] || kill -9 "$tracer"
	until_ 40 is_restarting || fault "it is not restarted"
	is "a stopped $way: result" watchdog "$(property Result)"
	until_ 40 main_pid_is_not "$pid" || fault "it did not come back"
	printf '  back after %s\n' "$(took)"
	insert "65e7133a3242653c58d7${way}2"
	until_ 20 is_done "65e7133a3242653c58d7${way}2" || fault "not done after"
done

title "A drain that takes longer than the watchdog's patience"
for n in 4 5 6 7; do insert "65e7133a3242653c0000${n}b16"; done
until_ 20 uploads_are_open || fault "no upload in parts has begun"
start_clock
systemctl stop $unit
printf '  stopped in %s, pending: %s\n' "$(took)" "$(pending)"
is "result" success "$(property Result)"
no_drop_in watchdog
systemctl restart $unit

title "The journal"
sleep 1
journalctl --no-pager -o short-precise KORE_SESSION_ID=65e7133a3242653c58d70001 | head -n 12 | sed 's/^/  | /'
log_since "$(($(now) - 20000))" -n 15 | sed 's/^/  | /'
printf '  fields: %s\n' "$(journalctl -t kore-archiver --no-pager -o json | grep -o '"KORE_[A-Z0-9_]*"' | sort | uniq -c | sort -rn | awk '{printf "%s ", $2}')"
is "stopped watchdogs apart, errors in the journal" "" "$(journalctl -t kore-archiver --no-pager -p err -o cat | head -n 5)"

title "Backup while it runs, restore"
sqlite3 $queue ".backup $put_by/backup.db"
insert 65e7133a3242653c58d70006
until_ 20 is_done 65e7133a3242653c58d70006 || fault "not done after the backup"
systemctl stop $unit
rm -f $queue $queue-wal $queue-shm
install -o kore-archiver -g kore-archiver -m 0660 "$put_by/backup.db" $queue
systemctl start $unit || fault "it does not start on a restored queue"
is "a row of after the backup is gone" "" "$(state 65e7133a3242653c58d70006)"
insert 65e7133a3242653c58d70006
until_ 20 is_done 65e7133a3242653c58d70006 || fault "not done after it was enqueued again"
is "its recording was adopted; objects overwritten, deleted" "0 0" "$(seen overwrites) $(seen deletes)"
is "sessions done, and sidecars in the bucket" "$(sql "SELECT count(*) FROM sessions WHERE state = 'done'")" "$(seen sidecars)"

title "Upgrade while it runs"
for n in $(seq 300 319); do echo "INSERT INTO sessions (session_id) VALUES ('65e7133a3242653c58d70$n');"; done | as alice sqlite3 $queue
pid=$(property MainPID)
settings=$(sha256sum /etc/kore-archiver/config.toml)
start_clock
apt-get install -y "$here/kore-archiver-next.deb" >/tmp/upgrade.log 2>&1 || fault "upgrade: $(cat /tmp/upgrade.log)"
printf '  upgraded in %s to %s\n' "$(took)" "$(dpkg-query -W -f '${Version}' kore-archiver)"
holds "it runs, anew" main_pid_is_not "$pid"
is "edited settings are kept" "$settings" "$(sha256sum /etc/kore-archiver/config.toml)"
is "settings" "640 root:kore-archiver" "$(mode /etc/kore-archiver/config.toml)"
until_ 60 none_pending || fault "still pending: $(pending)"
is "sessions done, and sidecars in the bucket" "$(sql "SELECT count(*) FROM sessions WHERE state = 'done'")" "$(seen sidecars)"
systemctl stop $unit
apt-get install -y --reinstall "$here/kore-archiver-next.deb" >/tmp/upgrade.log 2>&1 || fault "reinstall: $(cat /tmp/upgrade.log)"
is "one that was stopped stays so" inactive "$(systemctl is-active $unit)"
systemctl start $unit

title "Remove, purge"
rows=$(sql "SELECT count(*) FROM sessions")
apt-get remove -y kore-archiver >/tmp/remove.log 2>&1 || fault "remove: $(cat /tmp/remove.log)"
is "stopped" inactive "$(systemctl is-active $unit)"
holds "queue and settings are there" test -f $queue -a -f /etc/kore-archiver/config.toml
apt-get purge -y kore-archiver >/tmp/purge.log 2>&1 || fault "purge: $(cat /tmp/purge.log)"
grep '^kore-archiver:' /tmp/purge.log | sed 's/^/  /'
holds "the settings are gone" test ! -e /etc/kore-archiver/config.toml
is "the queue is there, with its rows" "$rows" "$(sqlite3 $queue "SELECT count(*) FROM sessions")"
is "no unit is left" "" "$(systemctl list-unit-files --no-legend 'kore-archiver*')"
apt-get install -y "$here/kore-archiver-next.deb" >/tmp/again.log 2>&1 || fault "again: $(cat /tmp/again.log)"
is "installed again, the queue is the account's still" "660 kore-archiver:kore-archiver" "$(mode $queue)"

title "The .rpm"
if [ ! -f "$here/kore-archiver.rpm" ] || ! command -v rpm >/dev/null; then
	printf '  SKIPPED: no rpm, or no kore-archiver.rpm\n'
else
	apt-get purge -y kore-archiver >/tmp/purge.log 2>&1
	rm -rf /var/lib/kore-archiver /etc/kore-archiver
	userdel kore-archiver
	getent group kore-archiver >/dev/null && groupdel -f kore-archiver
	mkdir -p /var/lib/rpm
	# What it requires is known by its names on other systems.
	with_rpm() { rpm --force-debian --dbpath /var/lib/rpm --nodeps "$@"; }
	is "rpm -i says" "" "$(with_rpm -i "$here/kore-archiver.rpm" 2>&1)"
	is "rpm -V says" "" "$(with_rpm -V kore-archiver 2>&1)"
	is "settings" "640 root:kore-archiver" "$(mode /etc/kore-archiver/config.toml)"
	is "enabled, not started" "enabled inactive" "$(systemctl is-enabled $unit) $(systemctl is-active $unit)"
	is "account" "kore-archiver:/:/usr/sbin/nologin" "$(getent passwd kore-archiver | cut -d: -f1,6,7)"
	sed -i "s/^bot_id = .*/bot_id = \"$(cat "$here/world.d/bot_id")\"/; s/^client_id = .*/client_id = \"$(cat "$here/world.d/client_id")\"/" /etc/kore-archiver/config.toml
	install -m 0600 "$here/world.d/environment" /etc/kore-archiver/environment
	install -o kore-archiver -g kore-archiver -m 0400 "$here/world.d/secret" /etc/kore-archiver/client-secret
	systemctl start $unit || fault "it does not start"
	usermod -aG kore-archiver alice
	insert 65e7133a3242653c58d70400
	until_ 20 is_done 65e7133a3242653c58d70400 || fault "not done"
	pid=$(property MainPID)
	settings=$(sha256sum /etc/kore-archiver/config.toml)
	is "rpm -U says" "" "$(with_rpm -U "$here/kore-archiver-next.rpm" 2>&1)"
	holds "it runs, anew" until_ 10 main_pid_is_not "$pid"
	is "edited settings are kept" "$settings" "$(sha256sum /etc/kore-archiver/config.toml)"
	is "and nothing is put beside them" "" "$(find /etc/kore-archiver -name '*.rpm*')"
	insert 65e7133a3242653c58d70401
	until_ 20 is_done 65e7133a3242653c58d70401 || fault "not done after the upgrade"
	systemctl stop $unit
	with_rpm -U --force "$here/kore-archiver-next.rpm" || fault "rpm -U --force"
	is "one that was stopped stays so" inactive "$(systemctl is-active $unit)"
	systemctl start $unit
	printf '  rpm -e says: %s\n' "$(with_rpm -e kore-archiver 2>&1)"
	is "stopped" inactive "$(systemctl is-active $unit)"
	is "edited settings are saved" "$settings" "$(sha256sum /etc/kore-archiver/config.toml.rpmsave | sed 's/\.rpmsave//')"
	is "the queue is there, with its rows" 2 "$(sqlite3 $queue "SELECT count(*) FROM sessions")"
	is "no unit is left" "" "$(systemctl list-unit-files --no-legend 'kore-archiver*')"
	holds "no binary is left" test ! -e /usr/bin/kore-archiver
fi

printf '\n%s\n' "$([ $faults = 0 ] && echo "All as it must be." || echo "$faults faults.")"
exit $((faults > 0))
