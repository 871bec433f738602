{{/*
The settings of a pod as TOML; docs/reference/settings.md explains the fields. Takes a dictionary: root, user (of the
broker), lanes, worker (the values of its class), omero (whether it has the password). JSON strings and lists are valid
TOML. No password is here: they are files of a Secret.
*/}}
{{- define "fleet.settings" -}}
{{- $values := .root.Values -}}
{{- $secrets := "/run/secrets/omero-import-fleet" -}}
{{ include "fleet.brokerSettings" . }}

[omero]
host = {{ $values.omero.host | toJson }}
port = {{ $values.omero.port | int64 }}
verify_tls = {{ $values.omero.verifyTls }}
tls = {{ $values.omero.tls }}
user = {{ $values.omero.user | toJson }}
{{- if .omero }}
password_file = {{ printf "%s/omero/password" $secrets | toJson }}
{{- end }}
{{- if and .omero $values.omero.caSecret }}
ca_file = {{ printf "%s/omero/ca.crt" $secrets | toJson }}
{{- end }}
name = {{ $values.omero.name | toJson }}
import_slots = {{ $values.omero.importSlots | int64 }}
create_slots = {{ $values.omero.createSlots | int64 }}
upload_slots = {{ $values.omero.uploadSlots | int64 }}
min_free_bytes = {{ $values.omero.minFreeBytes | int64 }}
{{- with $values.omero.webUrl }}
web_url = {{ . | toJson }}
{{- end }}

[worker]
parallel_filesets = {{ .worker.parallelFilesets | int64 }}
parallel_upload = {{ .worker.parallelUpload | int64 }}
fleet_users = {{ .worker.fleetUsers | toJson }}
grace_seconds = {{ .worker.graceSeconds | int64 }}
import_deadline_seconds = {{ .worker.importDeadlineSeconds | int64 }}
retry_jitter = {{ .worker.retryJitter }}
sweep_seconds = {{ .worker.sweepSeconds | int64 }}
pod_deletion_cost = {{ .worker.podDeletionCost }}
sampled_planes = {{ .worker.sampledPlanes | int64 }}
{{- range $lane, $rule := .lanes }}

[worker.lanes.{{ $lane | toJson }}]
users = {{ $rule.users | default list | toJson }}
groups = {{ $rule.groups | default list | toJson }}
targets = {{ $rule.targets | default (list "*") | toJson }}
[worker.lanes.{{ $lane | toJson }}.shares]
{{- range $share, $prefixes := $rule.shares }}
{{ $share | toJson }} = {{ $prefixes | toJson }}
{{- end }}
{{- end }}
{{- with .worker.scan }}
{{- if .jar }}

[scan]
jar = {{ .jar | toJson }}
memory_mb = {{ .memoryMb | int64 }}
answer_seconds = {{ .answerSeconds | int64 }}
network = {{ .network | toJson }}
{{- end }}
{{- end }}
{{- with .worker.inPlace }}
{{- if .shares }}

{{ toToml (dict "in_place" (dict "repository" (required "inPlace.repository: say where OMERO's managed repository is mounted" .repository) "shares" .shares)) | trim }}
{{- end }}
{{- end }}

[exporter]
interval_seconds = {{ $values.exporter.intervalSeconds | int64 }}
history_seconds = {{ $values.exporter.historySeconds | int64 }}

{{ include "fleet.commonSettings" . }}
{{ end -}}

{{/* The settings of a producer. Takes a dictionary: root, user (of the broker), name, producer (its values). */}}
{{- define "fleet.producerSettings" -}}
{{ include "fleet.brokerSettings" . }}

[producer]
lane = {{ .producer.lane | default .user | toJson }}
host = {{ .name | toJson }}
{{- with .producer.instrument }}
instrument = {{ . | toJson }}
{{- end }}
spool = "/var/spool/omero-fleet/spool"
{{- with .producer.spoolQuotaBytes }}
spool_quota_bytes = {{ . | int64 }}
{{- end }}

{{ toToml (dict "watch" (merge (dict "state" "/var/spool/omero-fleet/watch") .producer.watch)) | trim }}

{{ include "fleet.commonSettings" . }}
{{ end -}}

{{/* The settings of notifications. Takes a dictionary: root, user (of the broker). */}}
{{- define "fleet.notifySettings" -}}
{{- $notify := .root.Values.notify -}}
{{- $secrets := "/run/secrets/omero-import-fleet/notify" -}}
{{- $files := dict "state_file" "/var/spool/omero-fleet/notify.json" -}}
{{- if $notify.smtpPasswordKey }}{{ $_ := set $files "smtp_password_file" (printf "%s/smtp-password" $secrets) }}{{ end -}}
{{- if $notify.webhookUrlKey }}{{ $_ := set $files "webhook_url_file" (printf "%s/webhook-url" $secrets) }}{{ end -}}
{{- if $notify.webhookTokenKey }}{{ $_ := set $files "webhook_token_file" (printf "%s/webhook-token" $secrets) }}{{ end -}}
{{ include "fleet.brokerSettings" . }}

{{ toToml (dict "notify" (merge $files $notify.settings)) | trim }}

{{ include "fleet.commonSettings" . }}
{{ end -}}

{{- define "fleet.brokerSettings" -}}
{{- $broker := .root.Values.broker -}}
[broker]
host = {{ $broker.host | toJson }}
port = {{ $broker.port | int64 }}
vhost = {{ $broker.vhost | toJson }}
tls = {{ $broker.tls }}
user = {{ .user | toJson }}
password_file = "/run/secrets/omero-import-fleet/broker/password"
retry_tiers_seconds = {{ $broker.retryTiersSeconds | toJson }}
{{- if $broker.caSecret }}
ca_file = "/run/secrets/omero-import-fleet/broker/ca.crt"
{{- end }}
{{- with $broker.managementUrl }}
management_url = {{ . | toJson }}
{{- end }}
{{- end -}}

{{- define "fleet.commonSettings" -}}
{{- $values := .root.Values -}}
[metrics]
host = "0.0.0.0"
port = {{ $values.metrics.port | int64 }}

[log]
level = {{ $values.log.level | toJson }}
format = {{ $values.log.format | toJson }}

[shares]
{{- range $share, $_ := $values.shares }}
{{ $share | toJson }} = {{ printf "/shares/%s" $share | toJson }}
{{- end }}
{{- end -}}
