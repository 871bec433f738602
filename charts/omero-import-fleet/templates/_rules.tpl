{{/*
The thresholds of metrics.rules.thresholds: the words of the alert's expression before the number, and the number in the
file. The words are there once, so that two numbers that become equal are not taken for each other.
*/}}
{{- define "fleet.thresholds" -}}
- {value: requestAgeSeconds, alert: OmeroImportRequestTooOld, words: "oldest_waiting_seconds) > ", number: "14400"}
- {value: silenceSeconds, alert: OmeroImportStalled, words: 'annotate"}) > ', number: "3600"}
- {value: serverSilenceSeconds, alert: OmeroImportStalled, words: 'thumbnails"}) > ', number: "36000"}
- {value: failureRatio, alert: OmeroImportFailureRatioHigh, words: "ratio_increase1h > ", number: "0.2"}
- {value: failureRequests, alert: OmeroImportFailureRatioHigh, words: "ended:increase1h >= ", number: "10"}
- {value: producerSilentSeconds, alert: OmeroImportProducerSilent, words: "timestamp_seconds) > ", number: "900"}
- {value: producerSilentSeconds, alert: OmeroImportScanStalled, words: "timestamp_seconds) > ", number: "900"}
- {value: scanSeconds, alert: OmeroImportScanStalled, words: "since_scan) > ", number: "7200"}
- {value: spoolSeconds, alert: OmeroImportSpoolGrowing, words: "unconfirmed_seconds) > ", number: "3600"}
- {value: freeBytes, alert: OmeroImportSpaceLow, words: "free_bytes) < ", number: "50000000000"}
{{- end -}}

{{/* A number as Prometheus' file has it, without an exponent. */}}
{{- define "fleet.number" -}}
{{- if eq (float64 .) (float64 (int64 .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* The groups of a rule file as the values want them, as YAML. Takes a dictionary: values (metrics.rules), groups. */}}
{{- define "fleet.rules" -}}
{{- $values := .values -}}
{{- range $group := .groups }}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- if not (has ($rule.alert | default "") $values.disabled) -}}
{{- $rules = append $rules (include "fleet.rule" (dict "values" $values "rule" $rule) | fromYaml) -}}
{{- end -}}
{{- end }}
- {{- toYaml (merge (dict "rules" $rules) $group) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* One rule as the values want it, as YAML. Takes a dictionary: values (metrics.rules), rule. */}}
{{- define "fleet.rule" -}}
{{- $rule := .rule -}}
{{- $values := .values -}}
{{- range include "fleet.thresholds" . | fromYamlArray -}}
{{- if eq .alert ($rule.alert | default "") -}}
{{- $wanted := printf "%s%s" .words (include "fleet.number" (get $values.thresholds .value)) -}}
{{- $_ := set $rule "expr" (replace (print .words .number) $wanted $rule.expr) -}}
{{- end -}}
{{- end -}}
{{- $page := dig "annotations" "runbook_url" "" $rule -}}
{{- if and $values.runbookBase $page -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" $values.runbookBase) $page) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
