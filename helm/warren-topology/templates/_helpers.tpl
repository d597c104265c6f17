{{- define "warren-topology.labels" -}}
app.kubernetes.io/name: warren-topology
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: topology
app.kubernetes.io/part-of: warren
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Metadata of an object; `kept` ones outlive the release. */}}
{{- define "warren-topology.metadata" -}}
metadata:
  name: {{ .name | quote }}
  labels:
    {{- include "warren-topology.labels" .root | nindent 4 }}
  {{- if and .kept .root.Values.keepOnUninstall }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
{{- end }}

{{- define "warren-topology.cluster" -}}
rabbitmqClusterReference:
  {{- if .Values.cluster.connectionSecret }}
  connectionSecret:
    name: {{ .Values.cluster.connectionSecret | quote }}
  {{- else }}
  name: {{ .Values.cluster.name | quote }}
  {{- with .Values.cluster.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The name of the object for a thing on the broker: `warren.q.mail` is `warren-q-mail`. What Kubernetes does not take
     in a name is replaced, and told apart by a digest. */}}
{{- define "warren-topology.name" -}}
{{- $short := .of | trimPrefix "warren." | trimPrefix "warren-" | replace "." "-" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $short) -}}
{{- $short = printf "%s-%s" (regexReplaceAll "[^a-z0-9]+" $short "-" | trimSuffix "-") (sha256sum .of | trunc 8) -}}
{{- end -}}
{{ .root.Values.namePrefix }}-{{ $short }}
{{- end }}

{{/* All things of a kind, as a list under `items`: the fixed ones, those of each queue, those of each limited queue. */}}
{{- define "warren-topology.things" -}}
{{- $data := .root.Files.Get "files/topology.yaml" | fromYaml -}}
{{- $items := dig "fixed" .kind list $data -}}
{{- range $queue, $settings := .root.Values.queues -}}
{{- $parts := list "queue" -}}
{{- if dig "limited" false ($settings | default dict) -}}
{{- $parts = append $parts "limited" -}}
{{- end -}}
{{- range $part := $parts -}}
{{- range $item := dig $part $.kind list $data -}}
{{- $items = append $items ($item | toJson | replace "{queue}" $queue | fromJson) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end }}

{{/* A number stays one: what comes from a file is a float, which YAML would write as 2.097152e+09. */}}
{{- define "warren-topology.value" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ quote . }}{{ end }}
{{- end }}
