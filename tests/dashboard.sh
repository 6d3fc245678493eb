#!/usr/bin/env bash
# Asks a real Prometheus, which scrapes a running daemon, every query of the dashboard and of the alerts:
#   tests/dashboard.sh 127.0.0.1:9464
# A query that is an error, or names a metric that the daemon does not have, is a fault; one without data is told.
# Needs prometheus, promtool, curl and jq. Takes about half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
daemon=${1:?usage: tests/dashboard.sh ADDRESS of a daemon that has archived something}
prometheus=127.0.0.1:${PROMETHEUS_PORT:-19090}
folder=$(mktemp -d)
faults=0

fault() {
	faults=$((faults + 1))
	echo "FAULT: $*"
}
get() { curl --silent --show-error --noproxy '*' "$@"; }

echo "promtool check metrics"
get "http://$daemon/metrics" >"$folder/metrics"
promtool check metrics <"$folder/metrics" || fault "the page of metrics"
promtool check rules deploy/prometheus/rules.yml
(cd deploy/prometheus && promtool test rules rules_test.yml)

cat >"$folder/prometheus.yml" <<YAML
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [$PWD/deploy/prometheus/rules.yml]
scrape_configs: [{ job_name: kore-archiver, static_configs: [{ targets: ["$daemon"] }] }]
YAML
prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
	--web.listen-address="$prometheus" --log.level=error &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT
until get --fail "http://$prometheus/-/ready" >/dev/null 2>&1; do sleep 0.2; done
sleep 20

# What Grafana would put in place of its variables.
filled() {
	# shellcheck disable=SC2016
	sed -e 's/\$__rate_interval/15s/g; s/\$__range/1m/g; s/\$instance/.*/g; s/\$bot/.*/g'
}
jq -r '.panels[] | .title as $title | .targets[] | $title + "\t" + .expr' deploy/grafana/dashboard.json | filled >"$folder/queries"
while IFS=$'\t' read -r title query; do
	answer=$(get --get --data-urlencode "query=$query" "http://$prometheus/api/v1/query")
	if [ "$(jq -r .status <<<"$answer")" != success ]; then
		fault "$title: $(jq -r .error <<<"$answer"): $query"
	else
		printf '  %3d series: %s\n' "$(jq '.data.result | length' <<<"$answer")" "$title"
	fi
	while read -r metric; do
		grep -q "^${metric}[{ ]" "$folder/metrics" || fault "$title: the daemon has no $metric"
	done < <(grep -o 'kore_archiver_[a-z_]*' <<<"$query")
done <"$folder/queries"

rules=$(get "http://$prometheus/api/v1/rules")
jq -r '.data.groups[].rules[] | "  \(.health) \(.state): \(.name)"' <<<"$rules"
[ "$(jq '[.data.groups[].rules[] | select(.health != "ok")] | length' <<<"$rules")" = 0 ] || fault "a rule is not well"

echo "$faults faults"
exit $((faults > 0))
