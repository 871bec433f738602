{{/* A pod of `helm test`. Takes a dictionary: root, name, args, volumes (YAML), and optional: command, env, mounts, groups, placement,
resources. */}}
{{- define "fleet.testPod" -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ printf "%s-test-%s" (include "fleet.fullname" .root) .name }}
  labels:
    {{- include "fleet.labels" .root | nindent 4 }}
    app.kubernetes.io/component: test
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 300
  {{- include "fleet.podSecurity" (dict "root" .root "groups" .groups) | nindent 2 }}
  {{- include "fleet.placement" (.placement | default dict) | indent 2 }}
  containers:
    {{- include "fleet.container" (dict "root" .root "name" .name "command" .command "args" .args "env" .env "mounts" .mounts "resources" (.resources | default (include "fleet.smallResources" .root | fromYaml))) | nindent 4 }}
  volumes:
    {{- .volumes | nindent 4 }}
{{- end -}}
