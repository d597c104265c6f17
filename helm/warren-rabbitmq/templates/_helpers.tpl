{{- define "warren-rabbitmq.labels" -}}
app.kubernetes.io/name: {{ .Values.clusterName | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: broker
app.kubernetes.io/part-of: warren
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels the operator gives to the brokers' pods and Service. */}}
{{- define "warren-rabbitmq.selector" -}}
app.kubernetes.io/name: {{ .Values.clusterName | quote }}
app.kubernetes.io/component: rabbitmq
{{- end }}

{{- define "warren-rabbitmq.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- with $image.tag }}:{{ . }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "warren-rabbitmq.scheme" -}}
{{- if .Values.tls.disableNonTLS }}https{{ else }}http{{ end }}
{{- end }}
