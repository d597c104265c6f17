{{/* Names and labels. */}}

{{- define "warren.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "warren.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "warren.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "warren.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "warren.scaler.name" -}}{{ include "warren.fullname" . }}-scaler{{- end -}}

{{- define "warren.server.name" -}}{{ include "warren.fullname" . }}-server{{- end -}}

{{/* dict root, name: the name of a worker set's objects. */}}
{{- define "warren.worker.name" -}}{{ include "warren.fullname" .root }}-worker-{{ .name }}{{- end -}}

{{- define "warren.authSecret" -}}
{{- .Values.server.auth.existingSecret.name | default (printf "%s-tokens" (include "warren.fullname" .)) -}}
{{- end -}}

{{/* dict root, component, set (optional) */}}
{{- define "warren.selector" -}}
app.kubernetes.io/name: {{ include "warren.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- with .set }}
warren.dev/worker-set: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Labels of pods: without the chart's version, which is no reason to replace them. */}}
{{- define "warren.podLabels" -}}
{{ include "warren.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
app.kubernetes.io/part-of: warren
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "warren.labels" -}}
{{ include "warren.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* dict root, image: the whole reference; a digest beats tags. */}}
{{- define "warren.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .root.Values.image.registry -}}
{{- $path := compact (list $registry .root.Values.image.repositoryPrefix .image.repository) | join "/" -}}
{{- $tag := .image.tag | default .root.Values.image.tag -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $path .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path $tag -}}
{{- end -}}
{{- end -}}

{{/* dict component, root: the service account's name. */}}
{{- define "warren.serviceAccount" -}}
{{- if .account.create -}}{{ .account.name | default .name }}{{- else -}}{{ .account.name | default "default" }}{{- end -}}
{{- end -}}
