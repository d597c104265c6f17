{{/* Parts that all pods have. */}}

{{/* dict root, token (whether the pod asks Kubernetes for something): head of a pod's spec. */}}
{{- define "warren.pod.head" -}}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* dict values: where a component's pods may run, and other fields that Kubernetes takes as they are. */}}
{{- define "warren.pod.placement" -}}
{{- with .values }}
{{- if not .hostUsers }}
hostUsers: false
{{- end }}
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
{{- if .topologySpread.enabled }}
topologySpreadConstraints:
  - maxSkew: {{ .topologySpread.maxSkew }}
    topologyKey: {{ .topologySpread.topologyKey | quote }}
    whenUnsatisfiable: {{ .topologySpread.whenUnsatisfiable | quote }}
    labelSelector:
      matchLabels:
        {{- $.selector | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}

{{/* dict probes, port, host (optional): the three probes. */}}
{{- define "warren.probes" -}}
{{- $patience := dict "startup" (toYaml .probes.startup) "readiness" (toYaml .probes.readiness) "liveness" (toYaml .probes.liveness) -}}
{{- range $kind, $path := dict "startup" .startup "readiness" "/readyz" "liveness" "/healthz" }}
{{ $kind }}Probe:
  httpGet:
    path: {{ $path | quote }}
    port: {{ $.port }}
    {{- with $.host }}
    httpHeaders:
      - name: Host
        value: {{ . | quote }}
    {{- end }}
  {{- get $patience $kind | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "warren.tmp" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .sizeLimit | quote }}
    {{- with .medium }}
    medium: {{ . | quote }}
    {{- end }}
{{- end -}}

{{- define "warren.logEnv" -}}
- name: WARREN_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
- name: WARREN_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end -}}

{{/* Whether /tasks is mounted: not empty for yes. */}}
{{- define "warren.tasks.mounted" -}}
{{- if or .Values.tasks.files .Values.tasks.existingConfigMap (include "warren.checkTask" .) -}}yes{{- end -}}
{{- end -}}

{{- define "warren.tasks.volume" -}}
{{- if include "warren.tasks.mounted" . -}}
- name: tasks
  projected:
    sources:
      {{- if or .Values.tasks.files (include "warren.checkTask" .) }}
      - configMap:
          name: {{ printf "%s-tasks" (include "warren.fullname" .) | quote }}
      {{- end }}
      {{- with .Values.tasks.existingConfigMap }}
      - configMap:
          name: {{ . | quote }}
      {{- end }}
{{- end -}}
{{- end -}}

{{/* A checksum of what the chart's ConfigMap of tasks holds, so that pods are replaced when it changes. */}}
{{- define "warren.tasks.checksum" -}}
{{- if or .Values.tasks.files (include "warren.checkTask" .) -}}
checksum/tasks: {{ include (print .Template.BasePath "/configmap-tasks.yaml") . | sha256sum }}
{{- end -}}
{{- end -}}
