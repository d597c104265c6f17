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

{{/* A quantity of memory in MiB, rounded down. */}}
{{- define "warren-rabbitmq.mebibytes" -}}
{{- $units := dict "" 1 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 "T" 1000000000000 "Ti" 1099511627776 -}}
{{- $text := ternary (toString .) (int64 . | toString) (kindIs "string" .) -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if not (hasKey $units $unit) }}{{ fail (printf "resources.limits.memory is %v: the unit must be one of Ki, Mi, Gi, Ti, k, M, G, T" .) }}{{ end -}}
{{- divf (mulf (trimSuffix $unit $text | float64) (get $units $unit)) 1048576 | floor | int64 -}}
{{- end }}
