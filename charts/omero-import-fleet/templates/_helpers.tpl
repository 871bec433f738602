{{- define "fleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "fleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "fleet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fleet.name" .) | trunc 40 | trimSuffix "-" -}}
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

{{/* Takes a dictionary: root, image (its values). */}}
{{- define "fleet.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "fleet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fleet.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
Every class of workers by its component, as JSON: `worker` with the lanes of the top, and one for each of workerClasses,
which has from `worker` what it does not say. Read it with fromJson.
*/}}
{{- define "fleet.classes" -}}
{{- $classes := dict -}}
{{- if .Values.lanes -}}
{{- $_ := set $classes "worker" (merge (dict "name" (include "fleet.fullname" .) "lanes" .Values.lanes) .Values.worker) -}}
{{- end -}}
{{- range $name, $class := .Values.workerClasses -}}
{{- if not $class.lanes }}{{ fail (printf "workerClasses.%s.lanes: name at least one lane with its allow-list" $name) }}{{ end -}}
{{- $own := dict "name" (printf "%s-%s" (include "fleet.fullname" $) $name) -}}
{{- $_ := set $classes (printf "worker-%s" $name) (mergeOverwrite (deepCopy $.Values.worker) $class $own) -}}
{{- end -}}
{{- if not $classes }}{{ fail "lanes: name at least one lane with its allow-list, see values.yaml" }}{{ end -}}
{{- $classes | toJson -}}
{{- end -}}

{{/* The lanes of all classes, as JSON. A lane may be served by several classes; the first one's allow-list stands here. */}}
{{- define "fleet.lanes" -}}
{{- $lanes := dict -}}
{{- range $class := include "fleet.classes" . | fromJson -}}
{{- $lanes = merge $lanes $class.lanes -}}
{{- end -}}
{{- $lanes | toJson -}}
{{- end -}}

{{/* Whether a class of workers writes to volumes that are not the fleet's; empty when not. Takes its values. */}}
{{- define "fleet.writes" -}}
{{- range .extraMounts }}{{ if not (dig "readOnly" true .) }}yes{{ end }}{{ end -}}
{{- end -}}

{{/*
What every pod has: Pod Security "restricted". Takes a dictionary: root, groups (more of them), token (of the cluster),
writes (see fleet.writes): storage drivers would give all files of such a volume to the fsGroup of the pod.
*/}}
{{- define "fleet.podSecurity" -}}
{{- $security := .root.Values.security -}}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $security.userId | int64 }}
  runAsGroup: {{ $security.groupId | int64 }}
  {{- if not .writes }}
  fsGroup: {{ $security.groupId | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  {{- with concat $security.supplementalGroups (.groups | default list) }}
  supplementalGroups:
    {{- range . }}
    - {{ . | int64 }}
    {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod runs and what it goes before. Takes the values of its component. */}}
{{- define "fleet.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
A container of the fleet. Takes a dictionary: root, name, args, resources, and optional: image, command, env and mounts
(YAML), probes (whether it serves health).
*/}}
{{- define "fleet.container" -}}
{{- $values := .root.Values -}}
- name: {{ .name }}
  image: {{ include "fleet.image" (dict "root" .root "image" (.image | default $values.image)) | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- with .command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  args:
    {{- toYaml .args | nindent 4 }}
  env:
    - name: OMERO_FLEET_CONFIG
      value: /etc/omero-import-fleet/fleet.toml
    {{- with .env }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- if .probes }}
  ports:
    - name: metrics
      containerPort: {{ $values.metrics.port | int64 }}
  # Alive means that its loops tick. It never depends on RabbitMQ or OMERO: a restart would kill running imports.
  livenessProbe:
    httpGet:
      path: /healthz
      port: metrics
    periodSeconds: 30
    timeoutSeconds: 10
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 10
    timeoutSeconds: 5
  startupProbe:
    httpGet:
      path: /healthz
      port: metrics
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 60
  {{- end }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop:
        - ALL
  volumeMounts:
    - name: settings
      mountPath: /etc/omero-import-fleet
      readOnly: true
    - name: secrets
      mountPath: /run/secrets/omero-import-fleet
      readOnly: true
    - name: tmp
      mountPath: /tmp
    {{- with .mounts }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
The volumes with settings and passwords. Takes a dictionary: root, settings (name of the ConfigMap), secret and key (of
the broker's password), asked (what to say when the Secret is not named), omero (whether it logs in there), writes (see
fleet.writes).
*/}}
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
    # Readable by the group of the container, which is the volume's; by all in the container of a pod without fsGroup.
    defaultMode: {{ if .writes }}0444{{ else }}0440{{ end }}
    sources:
      - secret:
          name: {{ required .asked .secret }}
          items:
            - key: {{ .key }}
              path: broker/password
      {{- if .omero }}
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
      {{- if and $values.omero.caSecret .omero }}
      - secret:
          name: {{ $values.omero.caSecret }}
          items:
            - key: {{ $values.omero.caKey }}
              path: omero/ca.crt
      {{- end }}
      {{- with .more }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}

{{- define "fleet.workerVolumes" -}}
{{- $asked := "broker.existingSecret: name the Secret with the password of broker.user" -}}
{{- $broker := .root.Values.broker -}}
{{- include "fleet.volumes" (dict "root" .root "settings" .settings "secret" $broker.existingSecret "key" $broker.passwordKey "asked" $asked "omero" true "writes" .writes) -}}
{{- end -}}

{{- define "fleet.topologyVolumes" -}}
{{- $asked := "topology.existingSecret: name the Secret with the password of topology.user, or set topology.enabled=false" -}}
{{- $topology := .root.Values.topology -}}
{{- include "fleet.volumes" (dict "root" .root "settings" .settings "secret" $topology.existingSecret "key" $topology.passwordKey "asked" $asked "omero" false) -}}
{{- end -}}

{{/* Where shares are mounted, read-only. */}}
{{- define "fleet.shareMounts" -}}
{{- range $share, $volume := .Values.shares }}
- name: share-{{ $share | replace "_" "-" }}
  mountPath: /shares/{{ $share }}
  readOnly: true
  {{- with $volume.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "fleet.shareVolumes" -}}
{{- range $share, $volume := .Values.shares }}
- name: share-{{ $share | replace "_" "-" }}
  persistentVolumeClaim:
    claimName: {{ $volume.existingClaim }}
    readOnly: true
{{- end }}
{{- end -}}

{{/* What a short-lived container asks for. */}}
{{- define "fleet.smallResources" -}}
requests:
  cpu: 100m
  memory: 128Mi
limits:
  memory: 512Mi
{{- end -}}
