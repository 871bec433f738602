{{- define "fleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "fleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "fleet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fleet.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fleet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fleet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fleet.labels" -}}
{{ include "fleet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: omero-import-fleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "fleet.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "fleet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fleet.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What every pod has: Pod Security "restricted", no token. */}}
{{- define "fleet.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.security.userId | int64 }}
  runAsGroup: {{ .Values.security.groupId | int64 }}
  fsGroup: {{ .Values.security.groupId | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  {{- with .Values.security.supplementalGroups }}
  supplementalGroups:
    {{- range . }}
    - {{ . | int64 }}
    {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fleet.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- end -}}

{{/* The volumes with settings and passwords. Takes a dictionary: root, settings (name of the ConfigMap), topology. */}}
{{- define "fleet.volumes" -}}
{{- $values := .root.Values -}}
- name: settings
  configMap:
    name: {{ .settings }}
- name: tmp
  emptyDir:
    sizeLimit: 512Mi
- name: secrets
  projected:
    # Readable by the group of the container, which is the volume's.
    defaultMode: 0440
    sources:
      - secret:
          {{- if .topology }}
          name: {{ required "topology.existingSecret: name the Secret with the password of topology.user, or set topology.enabled=false" $values.topology.existingSecret }}
          items:
            - key: {{ $values.topology.passwordKey }}
              path: broker/password
          {{- else }}
          name: {{ required "broker.existingSecret: name the Secret with the password of broker.user" $values.broker.existingSecret }}
          items:
            - key: {{ $values.broker.passwordKey }}
              path: broker/password
          {{- end }}
      {{- if not .topology }}
      - secret:
          name: {{ required "omero.existingSecret: name the Secret with the password of omero.user" $values.omero.existingSecret }}
          items:
            - key: {{ $values.omero.passwordKey }}
              path: omero/password
      {{- end }}
      {{- if $values.broker.caSecret }}
      - secret:
          name: {{ $values.broker.caSecret }}
          items:
            - key: {{ $values.broker.caKey }}
              path: broker/ca.crt
      {{- end }}
      {{- if and $values.omero.caSecret (not .topology) }}
      - secret:
          name: {{ $values.omero.caSecret }}
          items:
            - key: {{ $values.omero.caKey }}
              path: omero/ca.crt
      {{- end }}
{{- end -}}

{{- define "fleet.mounts" -}}
- name: settings
  mountPath: /etc/omero-import-fleet
  readOnly: true
- name: secrets
  mountPath: /run/secrets/omero-import-fleet
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end -}}
